/* nfsock.h - a netfilter netlink socket and one request on it. It works in the namespace it was
 * opened in, wherever the process is. The kernel answers within the call. */
#ifndef FCVM_NET_NFSOCK_H
#define FCVM_NET_NFSOCK_H

#include <libmnl/libmnl.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct mnl_socket;

void nfsock_close_p(struct mnl_socket **nl);
#define auto_nfsock __attribute__((cleanup(nfsock_close_p)))

int nfsock_open(struct mnl_socket **ret, struct err *err);
/* Sends what there is and reads every answer; fn (may be NULL) gets each message. 0, or the first
 * error the kernel names. */
int nfsock_talk(struct mnl_socket *nl, const void *data, size_t len, mnl_cb_t fn, void *data_of_fn);
uint32_t nfsock_sequence(void);

#endif
