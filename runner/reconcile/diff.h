/* diff.h - one node: does what is there match what is wanted, and if not, why? Pure. */
#ifndef FCVM_RECONCILE_DIFF_H
#define FCVM_RECONCILE_DIFF_H

#include "graph.h"
#include "resource.h"

#define NO_NODE SIZE_MAX
/* The path of a reason that is no field: what is there is not as it was left. */
#define REASON_STATE "state"

struct difference {
	enum change change;
	struct reasons why;
	size_t caused_by; /* the need that changed, or NO_NODE */
};

/* State and digest say whether; fields, state and needs say what and why. The caller frees why. */
struct difference diff_node(const struct resource_ctx *ctx, const struct graph *g,
			    const struct seen *seen, size_t node);

#endif
