/* ports.h - the published ports of a VM with their addresses resolved, each held by a socket of the
 * host's namespace so that nobody else takes it. */
#ifndef FCVM_NET_PORTS_H
#define FCVM_NET_PORTS_H

#include <stdbool.h>

#include "err.h"
#include "net_config.h"

struct held_port {
	struct net_port port; /* host_ip is never empty */
	int fd;               /* -1: held by the claim of the VM's own address alone */
};

struct ports {
	struct held_port *v;
	size_t n;
};

void ports_close(struct ports *p);
#define auto_ports __attribute__((cleanup(ports_close)))

/* Whether one of them wants the VM's own address. */
bool ports_want_loopback(const struct net_config *c);
/* Whether packets for 127/8 will have to leave through the VM's link. */
bool ports_use_loopback(const struct ports *p);
/* Holds what `c` publishes; what `have` (may be NULL) holds already is taken over from it. On
 * failure *have is as it was. */
int ports_hold(const struct net_config *c, const char *loopback, struct ports *have,
	       struct ports *ret, struct err *err);
/* The change is off: *have holds again what it held before ports_hold(), and *p nothing. */
void ports_give_back(struct ports *p, struct ports *have);
/* NULL: it is not there with the same guest port. */
const struct held_port *ports_find(const struct ports *p, const struct net_port *port);
uint8_t ports_protocol(const struct net_port *port); /* IPPROTO_TCP or _UDP */
/* For net_view. */
void ports_copy(const struct ports *p, struct net_port **ret, size_t *ret_n);

#endif
