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

/* --- circles: depth first along "waits for", without recursion --- */

enum mark { UNSEEN, OPEN, DONE };

struct walk {
	struct claims *c;
	size_t *first, *next; /* claims of a user, as numbers plus one */
	size_t *stack;
	unsigned char *marks;
};

/* A claim on somebody who waits for us, in the end, is dropped: its holder becomes its user. */
static void visit(struct walk *w, size_t start)
{
	size_t depth = 0;

	w->stack[depth++] = start;
	w->marks[start] = OPEN;
	while (depth > 0) {
		size_t user = w->stack[depth - 1], at = w->first[user];

		if (at == 0) {
			w->marks[user] = DONE;
			depth--;
			continue;
		}
		struct claim *claim = &w->c->v[at - 1];
		w->first[user] = w->next[at];
		if (w->marks[claim->holder] == OPEN) {
			claim->holder = user;
		} else if (w->marks[claim->holder] == UNSEEN) {
			w->marks[claim->holder] = OPEN;
			w->stack[depth++] = claim->holder;
		}
	}
}

static void cut_circles(struct claims *c, size_t n_nodes)
{
	auto_free size_t *first = xcalloc(n_nodes + 1, sizeof(*first));
	auto_free size_t *next = xcalloc(c->n + 1, sizeof(*next));
	auto_free size_t *stack = xcalloc(n_nodes + 1, sizeof(*stack));
	auto_free unsigned char *marks = xcalloc(n_nodes + 1, 1);
	struct walk w = {.c = c, .first = first, .next = next, .stack = stack, .marks = marks};
	size_t kept = 0;

	for (size_t i = c->n; i-- > 0;) {
		next[i + 1] = first[c->v[i].user];
		first[c->v[i].user] = i + 1;
	}
	for (size_t i = 0; i < n_nodes; i++)
		if (marks[i] == UNSEEN)
			visit(&w, i);
	for (size_t i = 0; i < c->n; i++)
		if (c->v[i].holder != c->v[i].user)
			c->v[kept++] = c->v[i];
	c->n = kept;
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
	cut_circles(ret, g->n);
}
