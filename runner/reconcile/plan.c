#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "claims.h"
#include "cleanup.h"
#include "xalloc.h"

/* While building: per node its difference and its steps (number + 1, 0 = none). */
struct build {
	const struct resource_ctx *ctx;
	const struct graph *g;
	const struct seen *seen;
	struct plan *plan;
	struct difference *diff;
	bool *demanded;
	size_t *main_step, *destroy_step, *prune_step, *yield_step;
};

void plan_free(struct plan *p)
{
	for (size_t i = 0; i < p->n; i++)
		reasons_free(&p->steps[i].why);
	free(p->steps);
	free(p->edges);
	*p = (struct plan){0};
}

const char *plan_action_name(enum change action)
{
	static const char *const names[] = {
		[CHANGE_NONE] = "none",       [CHANGE_CREATE] = "create",
		[CHANGE_UPDATE] = "update",   [CHANGE_REPLACE] = "replace",
		[CHANGE_DESTROY] = "destroy",
	};

	return names[action];
}

static const struct resource_ops *ops_of(const struct build *b, size_t node)
{
	return b->g->ops[b->g->nodes[node].kind];
}

static bool is_made(enum change c)
{
	return c == CHANGE_CREATE || c == CHANGE_REPLACE;
}

static void add_step(struct build *b, size_t node, enum verb verb, enum change action)
{
	struct plan *p = b->plan;
	struct difference *d = &b->diff[node];
	size_t *const slots[] = {
		[VERB_CREATE] = b->main_step,  [VERB_UPDATE] = b->main_step,
		[VERB_RELEASE] = b->main_step, [VERB_DESTROY] = b->destroy_step,
		[VERB_PRUNE] = b->prune_step,  [VERB_YIELD] = b->yield_step,
	};

	p->steps = xgrow(p->steps, &p->cap, p->n + 1, sizeof(*p->steps));
	p->steps[p->n++] = (struct step){
		.node = node,
		.verb = verb,
		.action = action,
		.caused_by = d->caused_by,
	};
	if (action != CHANGE_NONE) {
		p->steps[p->n - 1].why = d->why;
		d->why = (struct reasons){0};
		p->count[action]++;
	}
	slots[verb][node] = p->n;
}

/* Whoever lives on something that is made anew is made anew with it. Needs come first in order. */
static void cascade(struct build *b)
{
	const struct graph *g = b->g;

	for (size_t k = 0; k < g->n_wanted; k++) {
		size_t i = g->order[k];
		const struct node *n = &g->nodes[i];
		struct difference *d = &b->diff[i];

		for (size_t e = 0; e < n->n_needs && !is_made(d->change); e++) {
			size_t need = n->needs[e];

			b->plan->work++;
			if (!ops_of(b, need)->holds || !is_made(b->diff[need].change))
				continue;
			reasons_free(&d->why);
			d->change = CHANGE_REPLACE;
			d->caused_by = need;
		}
	}
}

/* Users first: what is only made on demand is made when a user is about to be. */
static void demand(struct build *b)
{
	const struct graph *g = b->g;

	for (size_t k = g->n_wanted; k-- > 0;) {
		size_t i = g->order[k];
		const struct node *n = &g->nodes[i];
		struct difference *d = &b->diff[i];

		b->plan->work++;
		if (ops_of(b, i)->on_demand(n) && !b->demanded[i]) {
			reasons_free(&d->why);
			d->change = CHANGE_NONE;
			d->caused_by = NO_NODE;
		}
		for (size_t e = 0; is_made(d->change) && e < n->n_needs; e++)
			b->demanded[n->needs[e]] = true;
	}
}

static void add_release(struct build *b, size_t i)
{
	struct place at = {0};
	auto_free char *path = resource_spec_path(&b->g->nodes[i], &at);

	reasons_add(&b->diff[i].why, path, at, "running", "reaped");
	add_step(b, i, VERB_RELEASE, CHANGE_UPDATE);
}

static void add_main(struct build *b, size_t i)
{
	const struct difference *d = &b->diff[i];

	if (is_made(d->change))
		add_step(b, i, VERB_CREATE, d->change);
	else if (d->change == CHANGE_UPDATE)
		add_step(b, i, VERB_UPDATE, CHANGE_UPDATE);
	else if (b->seen[i].held && !b->demanded[i])
		add_release(b, i);
}

static void add_prune(struct build *b, size_t i)
{
	const struct seen *s = &b->seen[i];

	if (!ops_of(b, i)->beside || !s->record)
		return;
	if (is_made(b->diff[i].change)) {
		add_step(b, i, VERB_PRUNE, CHANGE_NONE);
	} else if (s->old) {
		reasons_free(&b->diff[i].why);
		reasons_add(&b->diff[i].why, REASON_STATE, (struct place){0},
			    "leftovers of an interrupted replace", "removed");
		add_step(b, i, VERB_PRUNE, b->main_step[i] ? CHANGE_NONE : CHANGE_UPDATE);
	}
}

/* A clone too many: its fleet's count says so. */
static struct place place_of(const struct build *b, size_t i)
{
	const struct fleet *f = b->ctx ? b->ctx->fleet : NULL;
	const char *name = json_opt_str(b->seen[i].record, "fleet", "");

	for (size_t k = 0; f && k < f->n_fleets; k++)
		if (strcmp(f->fleets[k].name, name) == 0)
			return f->fleets[k].count_at;
	return (struct place){0};
}

/* Where the spec stopped asking for it, as far as the record remembers. */
static void add_destroy(struct build *b, size_t i)
{
	const char *path = json_opt_str(b->seen[i].record, "path", "");

	reasons_add(&b->diff[i].why, *path ? path : "record", place_of(b, i), b->g->nodes[i].name,
		    NULL);
	b->diff[i].caused_by = NO_NODE;
	add_step(b, i, VERB_DESTROY, CHANGE_DESTROY);
}

struct rank {
	size_t node;
	enum resource_kind kind;
	uint32_t index;
};

/* Users before what they stand on; the highest index goes first. */
static int by_destroy_order(const void *pa, const void *pb)
{
	const struct rank *a = pa, *b = pb;

	if (a->kind != b->kind)
		return a->kind > b->kind ? -1 : 1;
	if (a->index != b->index)
		return a->index > b->index ? -1 : 1;
	return a->node < b->node ? -1 : a->node > b->node;
}

static void add_destroys(struct build *b, bool all)
{
	const struct graph *g = b->g;
	auto_free struct rank *ranks = xcalloc(g->n + 1, sizeof(*ranks));
	size_t n = 0;

	for (size_t i = all ? 0 : g->n_wanted; i < g->n; i++)
		/* What a hand made only a hand, or the end of the set, takes away. */
		if (b->seen[i].record &&
		    (all || !json_opt_bool(b->seen[i].record, "imperative", false)))
			ranks[n++] = (struct rank){i, g->nodes[i].kind, g->nodes[i].index};
	qsort(ranks, n, sizeof(*ranks), by_destroy_order);
	for (size_t i = 0; i < n; i++)
		add_destroy(b, ranks[i].node);
}

/* --- edges: counted first, then laid out in one array --- */

struct edge {
	size_t from, to;
};

struct edges {
	struct edge *v;
	size_t n, cap;
};

static void add_edge(struct build *b, struct edges *edges, size_t from, size_t to)
{
	b->plan->work++;
	if (!from || !to || from == to)
		return;
	edges->v = xgrow(edges->v, &edges->cap, edges->n + 1, sizeof(*edges->v));
	edges->v[edges->n++] = (struct edge){from - 1, to - 1};
}

/* user goes, moves away or is made before what it stood on is taken away. Its leftovers stand only
 * on what holds: an old snapshot waits for clones to move, and its baseline, gone since, may have
 * to make room for one of them. */
static void edge_to_removal(struct build *b, struct edges *edges, size_t user, size_t need)
{
	const size_t users[] = {b->main_step[user], b->destroy_step[user],
				ops_of(b, need)->holds ? b->prune_step[user] : 0};

	for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
		add_edge(b, edges, users[i], b->destroy_step[need]);
		add_edge(b, edges, users[i], b->prune_step[need]);
	}
}

static void edges_of_record(struct build *b, struct edges *edges, size_t node)
{
	struct json_object *needs = json_opt_obj(b->seen[node].record, "needs");

	if (!needs)
		return;
	json_object_object_foreach(needs, address, key)
	{
		ssize_t need = graph_find(b->g, address);

		(void)key;
		if (need >= 0)
			edge_to_removal(b, edges, node, (size_t)need);
	}
}

static void edges_of_node(struct build *b, struct edges *edges, size_t node)
{
	const struct node *n = &b->g->nodes[node];

	for (size_t i = 0; i < n->n_needs; i++) {
		add_edge(b, edges, b->main_step[n->needs[i]], b->main_step[node]);
		edge_to_removal(b, edges, node, n->needs[i]);
	}
	if (b->seen[node].record)
		edges_of_record(b, edges, node);
	add_edge(b, edges, b->main_step[node], b->prune_step[node]);
}

/* Late, so that who is replaced runs until there is something to replace it by. */
static void add_yield(struct build *b, struct edges *edges, size_t holder, size_t step)
{
	const struct node *n = &b->g->nodes[holder];

	add_step(b, holder, VERB_YIELD, CHANGE_NONE);
	b->plan->steps[b->plan->n - 1].stays = b->plan->steps[step - 1].verb == VERB_UPDATE;
	for (size_t i = 0; i < n->n_needs; i++)
		add_edge(b, edges, b->main_step[n->needs[i]], b->yield_step[holder]);
	add_edge(b, edges, b->yield_step[holder], step);
}

/* The step by which the holder lets go. It waits for no other VM (none that publishes is stood on),
 * so nobody waits in a circle: a step that does wait has the letting go put before it. */
static size_t letting_go(struct build *b, struct edges *edges, const bool *waits, size_t holder)
{
	size_t goes = b->destroy_step[holder], step = goes ? goes : b->main_step[holder];

	if (!waits[step - 1])
		return step;
	if (!b->yield_step[holder])
		add_yield(b, edges, holder, step);
	return b->yield_step[holder];
}

/* A port is given up before another VM takes it. */
static void edges_of_claims(struct build *b, struct edges *edges)
{
	auto_free bool *waits = xcalloc(b->plan->n + 1, sizeof(*waits));
	auto_claims struct claims claims = {0};

	claims_find(b->ctx, b->g, b->seen, b->main_step, b->destroy_step, &claims);
	for (size_t i = 0; i < edges->n; i++)
		waits[edges->v[i].to] = true;
	for (size_t i = 0; i < claims.n; i++)
		waits[b->main_step[claims.v[i].user] - 1] = true;
	for (size_t i = 0; i < claims.n; i++)
		add_edge(b, edges, letting_go(b, edges, waits, claims.v[i].holder),
			 b->main_step[claims.v[i].user]);
}

/* One directory and one name for both kinds: the old VM leaves it before the new one enters. */
static void edges_of_name(struct build *b, struct edges *edges, size_t node)
{
	/* 0 is no VM. */
	static const enum resource_kind other[RESOURCE_KINDS] = {
		[RESOURCE_BASELINE] = RESOURCE_CLONE,
		[RESOURCE_CLONE] = RESOURCE_BASELINE,
	};
	const struct node *n = &b->g->nodes[node];

	if (!b->destroy_step[node] || !other[n->kind] || !b->g->index.cap)
		return;
	auto_free char *address = resource_address(other[n->kind], n->name);
	ssize_t successor = graph_find(b->g, address);

	if (successor >= 0)
		add_edge(b, edges, b->destroy_step[node], b->main_step[successor]);
}

static void lay_out(struct plan *p, const struct edges *edges)
{
	size_t at = 0;

	for (size_t i = 0; i < edges->n; i++) {
		p->steps[edges->v[i].from].n_edges++;
		p->steps[edges->v[i].to].n_waits++;
	}
	for (size_t i = 0; i < p->n; i++) {
		p->steps[i].first_edge = at;
		at += p->steps[i].n_edges;
		p->steps[i].n_edges = 0;
	}
	p->edges = xcalloc(edges->n + 1, sizeof(*p->edges));
	p->n_edges = edges->n;
	for (size_t i = 0; i < edges->n; i++) {
		struct step *s = &p->steps[edges->v[i].from];

		p->edges[s->first_edge + s->n_edges++] = edges->v[i].to;
	}
}

static void add_edges(struct build *b)
{
	struct edges edges = {0};

	for (size_t i = 0; i < b->g->n; i++) {
		edges_of_node(b, &edges, i);
		edges_of_name(b, &edges, i);
	}
	edges_of_claims(b, &edges);
	lay_out(b->plan, &edges);
	free(edges.v);
}

static void build_begin(struct build *b)
{
	size_t n = b->g->n + 1;

	*b->plan = (struct plan){0};
	b->diff = xcalloc(n, sizeof(*b->diff));
	b->demanded = xcalloc(n, sizeof(*b->demanded));
	b->main_step = xcalloc(n, sizeof(*b->main_step));
	b->destroy_step = xcalloc(n, sizeof(*b->destroy_step));
	b->prune_step = xcalloc(n, sizeof(*b->prune_step));
	b->yield_step = xcalloc(n, sizeof(*b->yield_step));
}

static void build_end(struct build *b)
{
	for (size_t i = 0; i < b->g->n; i++)
		reasons_free(&b->diff[i].why);
	free(b->diff);
	free(b->demanded);
	free(b->main_step);
	free(b->destroy_step);
	free(b->prune_step);
	free(b->yield_step);
}

void plan_build(const struct resource_ctx *ctx, const struct graph *g, const struct seen *seen,
		bool prune, struct plan *ret)
{
	struct build b = {.ctx = ctx, .g = g, .seen = seen, .plan = ret};

	build_begin(&b);
	for (size_t i = 0; i < g->n_wanted; i++)
		b.diff[i] = diff_node(ctx, g, seen, i);
	cascade(&b);
	demand(&b);
	for (size_t k = 0; k < g->n_wanted; k++)
		add_main(&b, g->order[k]);
	if (prune)
		add_destroys(&b, false);
	for (size_t k = g->n_wanted; k-- > 0;)
		add_prune(&b, g->order[k]);
	add_edges(&b);
	build_end(&b);
}

void plan_destroy(const struct graph *g, const struct seen *seen, struct plan *ret)
{
	struct build b = {.g = g, .seen = seen, .plan = ret};

	build_begin(&b);
	add_destroys(&b, true);
	add_edges(&b);
	build_end(&b);
}
