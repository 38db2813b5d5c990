#include "observe.h"

#include <stdlib.h>

#include "cleanup.h"
#include "record.h"
#include "xalloc.h"

struct gather {
	struct graph *g;
	struct seen *seen;
	size_t cap;
};

void observe_free(struct seen *seen, size_t n)
{
	for (size_t i = 0; seen && i < n; i++)
		seen_clear(&seen[i]);
	free(seen);
}

/* Zeroed room for every node of the graph. */
static void fit(struct gather *ga)
{
	size_t had = ga->cap;

	if (ga->g->n <= had)
		return;
	ga->seen = xgrow(ga->seen, &ga->cap, ga->g->n, sizeof(*ga->seen));
	for (size_t i = had; i < ga->cap; i++)
		ga->seen[i] = (struct seen){0};
}

static int take_record(void *data, enum resource_kind kind, const char *name,
		       struct json_object *record, struct err *err)
{
	struct gather *ga = data;
	auto_free char *address = resource_address(kind, name);

	(void)err;
	if (!ga->g->index.cap)
		graph_index(ga->g);
	ssize_t i = graph_find(ga->g, address);
	if (i < 0)
		i = (ssize_t)graph_add_recorded(ga->g, kind, name,
						(uint32_t)json_opt_u64(record, "index", 0));
	fit(ga);
	struct seen *seen = &ga->seen[i];
	seen->record = record;
	snprintf(seen->digest, sizeof(seen->digest), "%s", json_opt_str(record, "digest", ""));
	return 0;
}

void observe_digest(const struct resource_ctx *ctx, struct graph *g, const struct seen *seen,
		    size_t node)
{
	auto_field_list struct field_list want = {0};
	struct need_list needs = graph_needs(g, seen, node);
	struct node *n = &g->nodes[node];

	g->ops[n->kind]->describe(ctx, n, &want);
	resource_digest(n, &want, &seen[node], &needs);
}

/* A clone that does not exist is made, whatever its digest; nobody stands on it. */
static bool needs_digest(const struct node *node, const struct seen *seen)
{
	return node->n_users > 0 || seen->record;
}

/* What is wrong with the spec is told of all nodes; anything else ends it. */
static int observe_each(const struct resource_ctx *ctx, struct gather *ga, struct err *err)
{
	struct graph *g = ga->g;
	struct err why = {0}, told = {0};

	for (size_t i = 0; i < g->n; i++) {
		const struct resource_ops *ops = g->ops[g->nodes[i].kind];
		size_t before = ctx->fleet ? fleet_problems(ctx->fleet) : 0;

		if (ops->observe(ctx, &g->nodes[i], &ga->seen[i], &why) >= 0)
			continue;
		told = why;
		if (!ctx->fleet || fleet_problems(ctx->fleet) == before)
			break;
	}
	if (told.code < 0 && err)
		*err = told;
	return told.code;
}

static int observe_nodes(const struct resource_ctx *ctx, struct gather *ga, struct err *err)
{
	struct graph *g = ga->g;
	int r = observe_each(ctx, ga, err);

	if (r < 0)
		return r;
	for (size_t k = 0; k < g->n_wanted; k++) {
		size_t i = g->order[k];

		if (needs_digest(&g->nodes[i], &ga->seen[i]))
			observe_digest(ctx, g, ga->seen, i);
	}
	return 0;
}

int observe_all(const struct resource_ctx *ctx, struct graph *g, struct buf *skipped,
		struct seen **ret, struct err *err)
{
	struct gather ga = {.g = g};
	int r = 0;

	fit(&ga);
	for (int k = 0; r == 0 && k < RESOURCE_KINDS; k++)
		r = record_each(ctx->set_dir, (enum resource_kind)k, take_record, &ga, skipped,
				err);
	if (r == 0)
		r = observe_nodes(ctx, &ga, err);
	if (r < 0) {
		observe_free(ga.seen, ga.g->n < ga.cap ? ga.g->n : ga.cap);
		return r;
	}
	*ret = ga.seen;
	return 0;
}
