#include "diff.h"

#include <string.h>

#include "cleanup.h"
#include "record.h"

/* The first need whose key is not the one this node was made with. */
static size_t changed_need(const struct graph *g, const struct seen *seen, size_t node)
{
	const struct node *n = &g->nodes[node];
	struct json_object *recorded = json_opt_obj(seen[node].record, "needs");

	for (size_t i = 0; i < n->n_needs; i++) {
		const struct node *need = &g->nodes[n->needs[i]];
		auto_free char *address = resource_address(need->kind, need->name);
		const char *key = recorded ? json_opt_str(recorded, address, "") : "";

		if (!need->key[0] || strcmp(key, need->key) != 0)
			return n->needs[i];
	}
	return NO_NODE;
}

/* What a record says of the very thing it stands on, which a key does not: made again from the same
 * spec it has the same key, and is another. */
static const struct stand {
	enum resource_kind need;
	const char *own, *needs;
} stands[] = {
	{RESOURCE_SNAPSHOT, "snapshot_dir", "dir"},
	{RESOURCE_MEMSERVER, "serve_pid", "pid"},
};

static bool stands_elsewhere(const struct stand *stand, struct json_object *own,
			     struct json_object *need)
{
	struct json_object *on = NULL, *is = NULL;

	return json_object_object_get_ex(own, stand->own, &on) && on &&
	       json_object_object_get_ex(need, stand->needs, &is) && is &&
	       !json_object_equal(on, is);
}

/* A run that ended between a need and its users: the first need that was made again since. */
static size_t moved_need(const struct graph *g, const struct seen *seen, size_t node)
{
	const struct node *n = &g->nodes[node];

	for (size_t i = 0; i < n->n_needs; i++)
		for (size_t k = 0; k < ARRAY_SIZE(stands); k++)
			if (stands[k].need == g->nodes[n->needs[i]].kind &&
			    stands_elsewhere(&stands[k], seen[node].record,
					     seen[n->needs[i]].record))
				return n->needs[i];
	return NO_NODE;
}

static void add_place_reason(const struct node *node, struct reasons *why, const char *old,
			     const char *new)
{
	struct place at = {0};
	auto_free char *path = resource_spec_path(node, &at);

	reasons_add(why, path ? path : node->name, at, old, new);
}

/* New, or known but not there (a reaped baseline): then its record still tells what changed. */
static struct difference missing(const struct resource_ctx *ctx, const struct graph *g,
				 const struct seen *seen, size_t node)
{
	const struct node *n = &g->nodes[node];
	struct json_object *recorded = json_opt_obj(seen[node].record, "spec");
	struct difference d = {.change = CHANGE_CREATE, .caused_by = NO_NODE};
	auto_field_list struct field_list want = {0};

	if (recorded) {
		g->ops[n->kind]->describe(ctx, n, &want);
		(void)field_list_diff(&want, recorded, &d.why);
		d.caused_by = changed_need(g, seen, node);
	}
	if (d.why.n == 0 && d.caused_by == NO_NODE)
		add_place_reason(n, &d.why, NULL, n->name);
	return d;
}

static struct difference unhealthy(const struct seen *seen)
{
	struct difference d = {.change = CHANGE_REPLACE, .caused_by = NO_NODE};

	reasons_add(&d.why, REASON_STATE, (struct place){0}, seen->why ? seen->why : "gone",
		    "ready");
	return d;
}

static struct difference moved(size_t need)
{
	struct difference d = {.change = CHANGE_REPLACE, .caused_by = need};

	reasons_add(&d.why, REASON_STATE, (struct place){0}, "on an older one",
		    "on the one there is");
	return d;
}

struct difference diff_node(const struct resource_ctx *ctx, const struct graph *g,
			    const struct seen *seen, size_t node)
{
	const struct node *n = &g->nodes[node];
	const struct seen *s = &seen[node];
	struct difference d = {.change = CHANGE_NONE, .caused_by = NO_NODE};
	auto_field_list struct field_list want = {0};

	if (!s->exists)
		return missing(ctx, g, seen, node);
	if (!s->healthy)
		return unhealthy(s);
	size_t need = moved_need(g, seen, node);
	if (need != NO_NODE)
		return moved(need);
	if (n->digest[0] && strcmp(n->digest, s->digest) == 0)
		return d;
	g->ops[n->kind]->describe(ctx, n, &want);
	d.change = g->ops[n->kind]->diff(n, &want, s, &d.why);
	d.caused_by = changed_need(g, seen, node);
	if (d.caused_by != NO_NODE)
		d.change = CHANGE_REPLACE;
	if (d.change == CHANGE_REPLACE && d.why.n == 0 && d.caused_by == NO_NODE)
		add_place_reason(n, &d.why, "made by another fcvm", "this one");
	return d;
}
