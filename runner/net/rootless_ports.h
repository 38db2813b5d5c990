/* rootless_ports.h - the published ports of a rootless VM: TCP is forwarded by slirp4netns, UDP by
 * ourselves (udpfwd.h). */
#ifndef FCVM_NET_ROOTLESS_PORTS_H
#define FCVM_NET_ROOTLESS_PORTS_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "net_config.h"
#include "outside.h"
#include "slirp.h"
#include "udpfwd.h"

struct forward {
	struct net_port port; /* host_ip is never empty */
	uint64_t id;
};
struct forwards {
	struct forward *v;
	size_t n;
};

void forwards_free(struct forwards *f);
#define auto_forwards __attribute__((cleanup(forwards_free)))

/* What `c` publishes, "" resolved to the VM's own address; nothing is forwarded yet. */
void forwards_of(const struct net_config *c, const char *loopback, struct forwards *ret);
struct forwarders {
	struct outside *outside;
	struct slirp *slirp;
	struct udpfwd *udp;
};
/* Brings the forwarders from `have` to `want`, whose ids are set. A port in use is refused
 * (ERR_HOST). On failure what was there goes on, with new ids in `have`. */
int forwards_change(const struct forwarders *by, struct forwards *have, struct forwards *want,
		    struct err *err);
/* Those of TCP again, in a new slirp4netns. */
int forwards_renew(const struct forwarders *by, struct forwards *f, struct err *err);
/* A socket of the host bound to the port; ERR_HOST with a sentence that names it when not. */
int forwards_bind(struct outside *outside, const struct net_port *port, int *ret_fd,
		  struct err *err);

#endif
