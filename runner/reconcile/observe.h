/* observe.h - what is there now, for every node: records first (one readdir a kind), then reality.
 *
 * Changes nothing and starts nothing. Nodes that have no record and need no cache look-up cost no
 * file I/O, so a fleet of 100,000 clones that do not exist yet is planned in memory. */
#ifndef FCVM_RECONCILE_OBSERVE_H
#define FCVM_RECONCILE_OBSERVE_H

#include "err.h"
#include "graph.h"
#include "resource.h"

/* Adds recorded-only nodes to g, digests to its wanted nodes. *ret has g->n entries; free with
 * observe_free(). skipped: as record_each(). */
int observe_all(const struct resource_ctx *ctx, struct graph *g, struct buf *skipped,
		struct seen **ret, struct err *err);
void observe_free(struct seen *seen, size_t n);
/* Digest and key of one node, once what it needs is known. */
void observe_digest(const struct resource_ctx *ctx, struct graph *g, const struct seen *seen,
		    size_t node);

#endif
