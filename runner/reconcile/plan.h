/* plan.h - from differences to steps: what is done, in which order, and what caused it.
 *
 * Pure and linear: edges say which steps wait for which. They are listed for people: creates come
 * first, each after what it needs; then what is taken away, users before what they stand on; then
 * what replaces left beside the new. Only who takes over a port waits for a step listed later. */
#ifndef FCVM_RECONCILE_PLAN_H
#define FCVM_RECONCILE_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "diff.h"
#include "graph.h"
#include "resource.h"

/* VERB_YIELD: lets go of what another node takes over, ahead of the node's own step. */
enum verb { VERB_CREATE, VERB_UPDATE, VERB_RELEASE, VERB_DESTROY, VERB_PRUNE, VERB_YIELD };

struct step {
	size_t node;
	enum verb verb;
	enum change action; /* what people are told; NONE: part of another step, not listed */
	bool stays;         /* VERB_YIELD: what yields is changed in place afterwards */
	struct reasons why;
	size_t caused_by;  /* node, or NO_NODE */
	size_t first_edge; /* into plan->edges: steps that wait for this one */
	size_t n_edges;
	size_t n_waits; /* steps this one waits for */
};

struct plan {
	struct step *steps;
	size_t n, cap;
	size_t *edges;
	size_t n_edges;
	size_t count[CHANGE_DESTROY + 1]; /* listed steps by action */
	size_t work;                      /* nodes and edges looked at: for tests of linearity */
};
#define auto_plan __attribute__((cleanup(plan_free)))

void plan_free(struct plan *p);
/* Makes wanted nodes as wanted; with `prune` takes the recorded-only ones away. */
void plan_build(const struct resource_ctx *ctx, const struct graph *g, const struct seen *seen,
		bool prune, struct plan *ret);
/* Takes away whatever has a record. */
void plan_destroy(const struct graph *g, const struct seen *seen, struct plan *ret);
/* No step at all. */
static inline bool plan_is_empty(const struct plan *p)
{
	return p->n == 0;
}
const char *plan_action_name(enum change action);

#endif
