/* udpfwd.h - UDP ports of the host, handed on to the guest by the supervisor itself. slirp4netns
 * could, but with --disable-host-loopback it drops the guest's answers to callers on the host.
 *
 * The guest sees its callers as the relay's address, one source port a caller; who is silent
 * longest makes room when there are too many. */
#ifndef FCVM_NET_UDPFWD_H
#define FCVM_NET_UDPFWD_H

#include <stdint.h>

#include "err.h"
#include "loop.h"
#include "net_config.h"
#include "outside.h"

#define UDPFWD_CALLERS_MAX 512u

struct udpfwd;

/* In the VM's namespace; outside is borrowed. */
struct udpfwd *udpfwd_new(struct outside *outside);
void udpfwd_free(struct udpfwd *u); /* NULL is fine */
/* Binds the port on the host; host_ip is an address. -EADDRINUSE, -EADDRNOTAVAIL and -EACCES say
 * why not, with the sentence of rootless_ports.h. *ret_id names it. */
int udpfwd_add(struct udpfwd *u, const struct net_port *port, uint64_t *ret_id, struct err *err);
void udpfwd_remove(struct udpfwd *u, uint64_t id); /* gone already is fine */
/* What comes in is handed on from now on, for ports added later, too. */
int udpfwd_serve(struct udpfwd *u, struct loop *loop, struct err *err);

#endif
