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

struct hold {
	size_t node;
	size_t next; /* of the same name: number plus one */
};

struct holds {
	struct map first; /* name -> number plus one */
	struct hold *v;
	size_t n, cap;
};

static void holds_free(struct holds *h)
{
	map_free(&h->first);
	free(h->v);
}
#define auto_holds __attribute__((cleanup(holds_free)))

static void remember(struct holds *h, const char *name, size_t node)
{
	h->v = xgrow(h->v, &h->cap, h->n + 1, sizeof(*h->v));
	h->v[h->n++] = (struct hold){node, (size_t)(uintptr_t)map_get(&h->first, name)};
	map_set(&h->first, name, (void *)(uintptr_t)h->n);
}

static void add_all(struct claims *c, const struct holds *h, const char *name, size_t user)
{
	size_t at = (size_t)(uintptr_t)map_get(&h->first, name);

	for (; at > 0; at = h->v[at - 1].next)
		add(c, h->v[at - 1].node, user);
}

void claims_find(const struct resource_ctx *ctx, const struct graph *g, const struct seen *seen,
		 const size_t *makes, const size_t *goes, struct claims *ret)
{
	auto_holds struct holds all = {0};

	for (size_t i = 0; i < g->n; i++) {
		auto_strv struct strv wants = {0}, holds = {0};

		if ((makes[i] || goes[i]) && seen[i].record)
			ask(ctx, g, seen, i, &wants, &holds);
		for (size_t k = 0; k < holds.n; k++)
			remember(&all, holds.v[k], i);
	}
	for (size_t i = 0; all.n && i < g->n; i++) {
		auto_strv struct strv wants = {0}, holds = {0};

		if (makes[i])
			ask(ctx, g, seen, i, &wants, &holds);
		for (size_t k = 0; k < wants.n; k++)
			add_all(ret, &all, wants.v[k], i);
	}
}
