/* claims.h - who must let go of something of the host's (a port) before another takes it. Pure. */
#ifndef FCVM_RECONCILE_CLAIMS_H
#define FCVM_RECONCILE_CLAIMS_H

#include "graph.h"

struct claim {
	size_t holder, user; /* nodes */
};

struct claims {
	struct claim *v;
	size_t n, cap;
};

void claims_free(struct claims *c);
#define auto_claims __attribute__((cleanup(claims_free)))
/* makes[i]: the node is made or changed; goes[i]: it is taken away. Takers may stand in a circle.
 */
void claims_find(const struct resource_ctx *ctx, const struct graph *g, const struct seen *seen,
		 const size_t *makes, const size_t *goes, struct claims *ret);

#endif
