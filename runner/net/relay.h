/* relay.h - the VM's resolver: DNS over UDP and TCP, from sockets in the VM's namespace to the
 * host's resolvers, on the supervisor's loop. Under default deny it answers allowed names only, and
 * opens the way to an answer's addresses before the guest sees them. What guests and resolvers send
 * is hostile: everything is bounded, what is malformed is dropped. */
#ifndef FCVM_NET_RELAY_H
#define FCVM_NET_RELAY_H

#include "err.h"
#include "grants.h"
#include "loop.h"
#include "net_config.h"

#define RELAY_QUERIES_MAX 256u
#define RELAY_CLIENTS_MAX 16u
#define RELAY_PORT 53

struct relay;

struct relay_spec {
	struct loop *loop;
	/* A non-blocking socket of the host's namespace, or a negative errno. */
	int (*host_socket)(void *data, int family, int type);
	/* Opens the way; negative errno: it stays closed, and the guest gets no answer. */
	int (*grant)(void *data, const struct grants *fresh);
	void *data;
	const char *resolv_conf, *resolved_conf; /* NULL: the host's */
};

/* Binds NET_DNS_IP:53, or the address of `ip`, in the namespace the process is in. */
int relay_new(const struct relay_spec *spec, const char *ip, const struct net_config *config,
	      struct relay **ret, struct err *err);
/* What is under way is answered by the old rules. */
void relay_configure(struct relay *r, const struct net_config *config);
/* What answers have opened and `config` still allows; borrowed until the next call on r. */
const struct grants *relay_grants(struct relay *r, const struct net_config *config);
void relay_free(struct relay *r); /* NULL is fine */

#endif
