/* netlink.h - one netlink socket, requests answered within the call (the kernel answers at once).
 */
#ifndef FCVM_AGENT_NETLINK_H
#define FCVM_AGENT_NETLINK_H

#include <linux/netlink.h>
#include <stddef.h>

#include "err.h"

int netlink_open(int protocol, int *ret_fd, struct err *err);
/* Sends msg and waits for its acknowledgement. Returns 0 or the kernel's negative errno. */
int netlink_ack(int fd, struct nlmsghdr *msg);
/* Sends a dump request; each answer goes to fn. Returns 0 or a negative errno. */
int netlink_dump(int fd, struct nlmsghdr *msg, void (*fn)(void *data, const struct nlmsghdr *m),
		 void *data);
/* Appends an attribute; msg has room for size bytes in all. */
void netlink_attr(struct nlmsghdr *msg, size_t size, unsigned short type, const void *value,
		  size_t len);

#endif
