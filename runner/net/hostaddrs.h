/* hostaddrs.h - the host's own IPv4 addresses, as they come and go. */
#ifndef FCVM_NET_HOSTADDRS_H
#define FCVM_NET_HOSTADDRS_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct hostaddrs;

/* Of the network namespace the caller is in; the descriptors stay with it, wherever the process
 * goes. */
int hostaddrs_open(struct hostaddrs **ret, struct err *err);
void hostaddrs_close(struct hostaddrs *h); /* NULL is fine */
/* Readable when an address has come or gone since the last hostaddrs_list(). Borrowed. */
int hostaddrs_fd(const struct hostaddrs *h);
/* All of them, in host byte order; *ret is the caller's to free. */
int hostaddrs_list(struct hostaddrs *h, uint32_t **ret, size_t *ret_n, struct err *err);

#endif
