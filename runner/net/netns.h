/* netns.h - the VM's own network namespace and its tap0 (docs/architecture.md, "One guest world"):
 * names, addresses and MACs are the same for every VM, uniqueness lives in the namespace. */
#ifndef FCVM_NET_NETNS_H
#define FCVM_NET_NETNS_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

#define NETNS_TAP "tap0"
#define NETNS_TAP_MAC "02:fc:00:00:00:02"

/* Moves the calling process (the supervisor; it must have one thread) into a fresh network
 * namespace, brings lo up and makes a persistent tap0 (vnet_hdr, up). *ret_tap_fd is the caller's.
 * Once only per process. -EACCES, class ERR_HOST: the namespace is entered and lo is up, but the
 * host refuses /dev/net/tun, so the VM gets no NIC and *ret_tap_fd is untouched. Any other error:
 * the process may be in either namespace and should end. */
int netns_enter(int *ret_tap_fd, struct err *err);

/* The namespace the process is in; the descriptor is the caller's. */
int netns_open(int *ret_fd, struct err *err);
int netns_join(int fd, struct err *err);

/* Whether netns_enter() would get a tap: opens /dev/net/tun and closes it. For plan and doctor;
 * `why` (may be NULL) gets the reason when not. */
bool netns_tap_permitted(char *why, size_t size);

#endif
