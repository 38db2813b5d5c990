/* slirp.h - slirp4netns, the uplink of a rootless VM: link slirp0 in the VM's namespace, and the
 * ports it forwards from the host. Ends with the supervisor, however that ends. */
#ifndef FCVM_NET_SLIRP_H
#define FCVM_NET_SLIRP_H

#include <stdint.h>

#include "err.h"
#include "net_config.h"
#include "outside.h"

#define SLIRP_LINK "slirp0"
#define SLIRP_MTU 65520u
#define SLIRP_SOCK "slirp.sock" /* in the instance directory */

struct slirp;

/* From inside the VM's namespace; returns when slirp0 is there, in at most ten seconds. dir is
 * borrowed until slirp_stop(). */
int slirp_start(struct outside *outside, const char *dir, struct slirp **ret, struct err *err);
/* Ends it and removes its socket. NULL is fine. */
void slirp_stop(struct slirp *s);
int slirp_pidfd(const struct slirp *s); /* borrowed; readable when it has ended */

/* Forwards a port (host_ip is an address) to the guest; *ret_id names the forward. -EADDRINUSE:
 * it is taken. */
int slirp_forward(struct slirp *s, const struct net_port *port, uint64_t *ret_id, struct err *err);
/* Gone already is success. */
int slirp_unforward(struct slirp *s, uint64_t id, struct err *err);

#endif
