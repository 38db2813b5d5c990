#include "claims.h"

#include <stdlib.h>

#include "cleanup.h"
#include "xalloc.h"

void claims_free(struct claims *c)
{
	free(c->v);
	*c = (struct claims){0};
}

static void ask(const struct resource_ctx *ctx, const struct graph *g, const struct seen *seen,
		size_t node, struct strv *wants, struct strv *holds)
{
	const struct node *n = &g->nodes[node];

	g->ops[n->kind]->claims(ctx, n, seen[node].record, wants, holds);
}

static void add(struct claims *c, size_t holder, size_t user)
{
	if (holder == user)
		return;
	c->v = xgrow(c->v, &c->cap, c->n + 1, sizeof(*c->v));
	c->v[c->n++] = (struct claim){holder, user};
}

void claims_find(const struct resource_ctx *ctx, const struct graph *g, const struct seen *seen,
		 const size_t *makes, const size_t *goes, struct claims *ret)
{
	auto_map struct map holders = {0};

	for (size_t i = 0; i < g->n; i++) {
		auto_strv struct strv wants = {0}, holds = {0};

		if ((makes[i] || goes[i]) && seen[i].record)
			ask(ctx, g, seen, i, &wants, &holds);
		for (size_t k = 0; k < holds.n; k++)
			(void)map_add(&holders, holds.v[k], (void *)(uintptr_t)(i + 1));
	}
	for (size_t i = 0; holders.n && i < g->n; i++) {
		auto_strv struct strv wants = {0}, holds = {0};

		if (makes[i])
			ask(ctx, g, seen, i, &wants, &holds);
		for (size_t k = 0; k < wants.n; k++) {
			void *holder = map_get(&holders, wants.v[k]);

			if (holder)
				add(ret, (size_t)(uintptr_t)holder - 1, i);
		}
	}
}
