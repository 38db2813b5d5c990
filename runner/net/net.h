/* net.h - a VM's network as its supervisor holds it: one table of functions per mode
 * (docs/network.md). The guest sees the same world in every mode: 172.16.0.100/24, gateway .2, DNS
 * .3. What differs lies in the VM's namespace and on the host.
 *
 * One struct net per process, which must have one thread: net_up() moves it into the VM's
 * namespace, for good. All calls block for milliseconds at most. */
#ifndef FCVM_NET_NET_H
#define FCVM_NET_NET_H

#include <sys/types.h>

#include "err.h"
#include "host.h"
#include "loop.h"
#include "net_config.h"

#define NET_GUEST_IP "172.16.0.100"
#define NET_GATEWAY_IP "172.16.0.2"
#define NET_DNS_IP "172.16.0.3"
#define NET_LOCK "net.lock" /* in the instance directory; held for as long as the network is up */

struct net;

/* What `ps` shows. Empty strings: there is none. */
struct net_view {
	enum net_mode mode;
	char ip[NET_IP4_SIZE];       /* where the host reaches the guest, without publishing */
	char loopback[NET_IP4_SIZE]; /* the VM's own 127.x.y.z, once a port wants it */
	struct net_port *ports;      /* host_ip is never empty here */
	size_t n_ports;
};

struct net_spec {
	const struct host *host;
	const char *dir;                 /* instance directory; owns what the ledgers give out */
	const struct net_config *config; /* NULL: mode none */
};

/* Leftovers of a supervisor that died in this directory are removed first. Mode none where the
 * host refuses /dev/net/tun: succeeds, without a tap. After any failure the process may be in
 * either namespace and should end; what was made on the host is gone again. */
int net_up(const struct net_spec *spec, struct net **ret, struct err *err);
/* DNS relay and self-repair, on the loop, until net_down(). `none` has neither. */
int net_serve(struct net *n, struct loop *loop, struct err *err);
/* Ports, egress and resolvers become those of `to`, in place; the mode must be the same. On failure
 * what was there before goes on. Connections that are not allowed any more are cut. */
int net_update(struct net *n, const struct net_config *to, struct err *err);
/* Takes back what lies on the host and lets the namespace die with its last process; never waits
 * for the kernel. NULL is fine. */
void net_down(struct net *n);

bool net_has_tap(const struct net *n); /* false: no NIC */
int net_tap_fd(const struct net *n);   /* borrowed; -1: none, or closed */
/* For a VMM that opens tap0 by its name: a tap has one holder. */
void net_close_tap(struct net *n);
uint32_t net_mtu(const struct net *n);                        /* what the guest is to use */
const struct net_view *net_look(const struct net *n);         /* valid until the next update */
struct json_object *net_ports_json(const struct net_view *v); /* the caller puts it */

/* Removes what VMs of this data directory left on the host when their supervisor is gone, and what
 * the last VM of this host needed. Cheap when there is nothing; safe at any time. In the
 * host's namespace. */
int net_sweep(const struct host *host, struct err *err);

/* Who has a port of this host. */
struct net_holder {
	pid_t pid; /* 0: not to be seen */
	char name[64];
};
/* 1: taken, *ret says by whom; 0: free, or the VM's own address, which nobody shares. An err where
 * no one could bind it: not an address of this host, or a port this user may not have. */
int net_port_holder(const struct net_port *port, struct net_holder *ret, struct err *err);

#endif
