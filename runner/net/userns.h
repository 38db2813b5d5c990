/* userns.h - the user namespace in which an ordinary user may make a network of their own.
 *
 * One uid and one gid are mapped, each to itself: who is asked inside (geteuid, SO_PEERCRED, the
 * owner of a file) gives the same answer as outside, and no setuid helper (newuidmap) is needed. */
#ifndef FCVM_NET_USERNS_H
#define FCVM_NET_USERNS_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

/* Moves the calling process (it must have one thread) into a fresh user namespace with every
 * capability in it and none outside. What it executes from then on has none (its uid is not 0).
 * There is no way back, nor into another namespace of the host. Refused: class ERR_HOST. */
int userns_enter(struct err *err);

/* Whether userns_enter() would work and a network namespace be had then, tried in a child; `why`
 * (may be NULL) gets the reason when not. */
bool userns_permitted(char *why, size_t size);

#endif
