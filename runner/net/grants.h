/* grants.h - addresses that answers to allowed names opened, until they time out; pure but for the
 * time it is given. */
#ifndef FCVM_NET_GRANTS_H
#define FCVM_NET_GRANTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net_config.h"

#define GRANTS_MAX 4096u
/* A guest may use an address as long as the answer says; short times get some more, since a
 * connection is made after the answer. */
#define GRANT_MIN_S 60u
#define GRANT_MAX_S 86400u
#define GRANT_GRACE_S 30u

struct net_grant {
	struct net_allow to; /* an address; name: the entry's, owned */
	uint64_t until_ms;   /* now_ms() */
};

struct grants {
	struct net_grant *v;
	size_t n, cap;
};

void grants_free(struct grants *g);
#define auto_grants __attribute__((cleanup(grants_free)))

/* The entry and an address; ret gets it when the kernel has to be told. False: there are too many.
 */
bool grants_add(struct grants *g, const struct net_allow *entry, uint32_t addr, uint32_t ttl_s,
		uint64_t now_ms, struct grants *ret);
/* Drops what has timed out, and what `c` does not allow any more (NULL: does not matter). */
void grants_prune(struct grants *g, const struct net_config *c, uint64_t now_ms);

#endif
