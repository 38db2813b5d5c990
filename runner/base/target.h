/* target.h - where in a guest something may be mounted; the same rule for specs, the command line,
 * the supervisor and the agent. Pure. */
#ifndef FCVM_BASE_TARGET_H
#define FCVM_BASE_TARGET_H

#include <stdbool.h>

#include "err.h"

#define TARGET_MAX 255u /* bytes */

/* 0 for an absolute, normalized path that is neither / nor what guest and agent need for
 * themselves (/proc /sys /dev /run, Podman's storage). Else ERR_SPEC, -EINVAL; the sentence says
 * what was wanted. */
int target_check(const char *target, struct err *err);
/* Whether one lies in the other, or is it: the agent would have to wait for the outer one. */
bool target_overlaps(const char *a, const char *b);

#endif
