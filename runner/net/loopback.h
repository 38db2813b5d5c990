/* loopback.h - a VM's own address out of 127.64.0.0/10, the same way in every mode. In the host's
 * namespace. */
#ifndef FCVM_NET_LOOPBACK_H
#define FCVM_NET_LOOPBACK_H

#include "err.h"
#include "host.h"
#include "net_config.h"

struct loopback {
	char ip[NET_IP4_SIZE]; /* "": none */
	int claim;             /* while open, no other fcvm of this host takes the address */
};
#define LOOPBACK_NONE       \
	{                   \
		.claim = -1 \
	}

/* Takes one for the instance directory `owner`, out of the ledger; addresses that another user or
 * data directory has are passed over. Taking it again gives the same. */
int loopback_take(const struct host *host, const char *owner, struct loopback *ret,
		  struct err *err);
/* Gone already is fine. */
void loopback_release(const struct host *host, const char *owner, struct loopback *l);

#endif
