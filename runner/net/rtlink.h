/* rtlink.h - links, addresses and routes over libnl-route. A socket works in the namespace it was
 * opened in, wherever the process is. */
#ifndef FCVM_NET_RTLINK_H
#define FCVM_NET_RTLINK_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "slot.h"

struct nl_sock;

void rtlink_close_p(struct nl_sock **sock);
#define auto_rtlink __attribute__((cleanup(rtlink_close_p)))

int rtlink_open(struct nl_sock **ret, struct err *err);
/* A veth, `name` here and `peer` in the namespace peer_ns, both down. -EEXIST: a name is taken. */
int rtlink_add_veth(struct nl_sock *sock, const char *name, const char *peer, int peer_ns,
		    struct err *err);
/* 1: there, 0: not there. */
int rtlink_exists(struct nl_sock *sock, const char *name, struct err *err);
int rtlink_add_address(struct nl_sock *sock, const char *link, uint32_t addr, unsigned int prefix,
		       struct err *err);
/* How a link forwards, all at once, before it is up. Not by sysctl: there the kernel does not wait
 * for its lock but tries again and again, and a hundred VMs at once burn a processor. IPv6 gets no
 * address on it. */
struct rtlink_conf {
	bool forwarding;
	bool route_localnet;
};
int rtlink_configure(struct nl_sock *sock, const char *link, const struct rtlink_conf *conf,
		     struct err *err);
int rtlink_set_up(struct nl_sock *sock, const char *link, struct err *err);
int rtlink_add_default_route(struct nl_sock *sock, uint32_t gateway, struct err *err);

/* Which route the kernel would take. */
struct rtlink_match {
	uint32_t dst; /* host byte order */
	unsigned int prefix;
	unsigned int link; /* index; 0: none */
};
/* 1 and *ret, or 0 when nothing leads there. */
int rtlink_match_route(struct nl_sock *sock, uint32_t addr, struct rtlink_match *ret,
		       struct err *err);

#endif
