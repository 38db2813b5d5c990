/* graph.h - nodes and who needs whom: wanted ones from the spec, others because a record exists.
 *
 * Pure. nodes[0..n_wanted) are wanted; recorded-only nodes follow. `order` lists wanted nodes so
 * that each comes after what it needs. */
#ifndef FCVM_RECONCILE_GRAPH_H
#define FCVM_RECONCILE_GRAPH_H

#include <stddef.h>

#include "err.h"
#include "fleet.h"
#include "map.h"
#include "resource.h"

struct graph {
	const struct resource_ops *const *ops; /* kind -> verbs; tests put fakes here */
	struct node *nodes;
	size_t n, cap;
	size_t n_wanted;
	size_t *order;
	struct map index; /* address -> node number + 1; filled by graph_index() */
};
#define auto_graph __attribute__((cleanup(graph_free)))

void graph_free(struct graph *g);
/* fleet NULL: nothing is wanted. ERR_SPEC when two VMs would have one name. */
int graph_build(const struct fleet *fleet, const struct resource_choice *choice, struct graph *ret,
		struct err *err);
/* A wanted node by hand (tests, imperative verbs); needs and users are filled by graph_need(). */
size_t graph_add(struct graph *g, enum resource_kind kind, const char *name, const void *spec,
		 uint32_t index);
void graph_need(struct graph *g, size_t node, size_t need);
/* Fills order; a cycle is named: "a needs b needs a". */
int graph_sort(struct graph *g, struct err *err);
/* A node that only a record speaks of. Not before graph_sort(). */
size_t graph_add_recorded(struct graph *g, enum resource_kind kind, const char *name,
			  uint32_t index);
/* Makes graph_find() possible; linear, once. Nodes added later are found too. */
void graph_index(struct graph *g);
/* -1 when there is none. */
ssize_t graph_find(const struct graph *g, const char *address);
/* What a node needs, with what is known of it. */
struct need_list graph_needs(const struct graph *g, const struct seen *seen, size_t node);

#endif
