#include "graph.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "buf.h"
#include "cleanup.h"
#include "xalloc.h"

void graph_free(struct graph *g)
{
	for (size_t i = 0; i < g->n; i++)
		free(g->nodes[i].name);
	free(g->nodes);
	free(g->order);
	map_free(&g->index);
	*g = (struct graph){0};
}

static size_t push(struct graph *g, enum resource_kind kind, const char *name, const void *spec,
		   uint32_t index)
{
	g->nodes = xgrow(g->nodes, &g->cap, g->n + 1, sizeof(*g->nodes));
	g->nodes[g->n] = (struct node){
		.kind = kind,
		.name = xstrdup(name),
		.spec = spec,
		.index = index,
	};
	return g->n++;
}

size_t graph_add(struct graph *g, enum resource_kind kind, const char *name, const void *spec,
		 uint32_t index)
{
	g->n_wanted = g->n + 1;
	return push(g, kind, name, spec, index);
}

void graph_need(struct graph *g, size_t node, size_t need)
{
	struct node *n = &g->nodes[node];

	if (n->n_needs == NODE_NEEDS_MAX)
		abort(); /* our own mistake: no kind needs that many */
	n->needs[n->n_needs++] = need;
	g->nodes[need].n_users++;
}

/* The walk below stands on `at`; the nodes from there up to the top of the stack are the cycle. */
static int name_cycle(const struct graph *g, const size_t *stack, size_t depth, size_t at,
		      struct err *err)
{
	auto_buf struct buf b = BUF_INIT(800);
	size_t i = 0;

	while (i < depth && stack[i] != at)
		i++;
	for (; i < depth; i++) {
		auto_free char *a =
			resource_address(g->nodes[stack[i]].kind, g->nodes[stack[i]].name);
		buf_addf(&b, "%s needs ", a);
	}
	auto_free char *a = resource_address(g->nodes[at].kind, g->nodes[at].name);
	return err_set(err, ERR_SPEC, -ELOOP, "%s%s: nothing can come first", buf_str(&b), a);
}

enum mark { UNSEEN, OPEN, DONE };

struct walk {
	size_t *stack;
	size_t *next; /* per node: which need comes next */
	unsigned char *marks;
	size_t n_ordered;
};

/* Depth first without recursion: a hostile depth costs memory we have, not our stack. */
static int visit(struct graph *g, struct walk *w, size_t start, struct err *err)
{
	size_t depth = 0;

	w->stack[depth++] = start;
	w->marks[start] = OPEN;
	while (depth > 0) {
		size_t at = w->stack[depth - 1];
		const struct node *n = &g->nodes[at];

		if (w->next[at] == n->n_needs) {
			w->marks[at] = DONE;
			g->order[w->n_ordered++] = at;
			depth--;
			continue;
		}
		size_t need = n->needs[w->next[at]++];
		if (w->marks[need] == OPEN)
			return name_cycle(g, w->stack, depth, need, err);
		if (w->marks[need] == UNSEEN) {
			w->marks[need] = OPEN;
			w->stack[depth++] = need;
		}
	}
	return 0;
}

int graph_sort(struct graph *g, struct err *err)
{
	auto_free size_t *stack = xcalloc(g->n + 1, sizeof(*stack));
	auto_free size_t *next = xcalloc(g->n + 1, sizeof(*next));
	auto_free unsigned char *marks = xcalloc(g->n + 1, 1);
	struct walk w = {.stack = stack, .next = next, .marks = marks};

	free(g->order);
	g->order = xcalloc(g->n + 1, sizeof(*g->order));
	for (size_t i = 0; i < g->n; i++) {
		int r = marks[i] == UNSEEN ? visit(g, &w, i, err) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

size_t graph_add_recorded(struct graph *g, enum resource_kind kind, const char *name,
			  uint32_t index)
{
	size_t i = push(g, kind, name, NULL, index);

	if (g->index.cap) {
		auto_free char *address = resource_address(kind, name);
		map_set(&g->index, address, (void *)(uintptr_t)(i + 1));
	}
	return i;
}

void graph_index(struct graph *g)
{
	for (size_t i = 0; i < g->n; i++) {
		auto_free char *a = resource_address(g->nodes[i].kind, g->nodes[i].name);

		map_set(&g->index, a, (void *)(uintptr_t)(i + 1));
	}
}

ssize_t graph_find(const struct graph *g, const char *address)
{
	return (ssize_t)(uintptr_t)map_get(&g->index, address) - 1;
}

struct need_list graph_needs(const struct graph *g, const struct seen *seen, size_t node)
{
	struct need_list list = {0};
	const struct node *n = &g->nodes[node];

	for (; list.n < n->n_needs; list.n++) {
		list.v[list.n].node = &g->nodes[n->needs[list.n]];
		list.v[list.n].seen = &seen[n->needs[list.n]];
	}
	return list;
}

/* --- from the spec --- */

/* Spec entry -> node, for entries that several others name. Few: linear is fine, and clones, of
 * which there are many, come last. */
static size_t node_of(const struct graph *g, const void *spec, enum resource_kind kind)
{
	for (size_t i = 0; i < g->n && g->nodes[i].kind <= kind; i++)
		if (g->nodes[i].spec == spec && g->nodes[i].kind == kind)
			return i;
	return SIZE_MAX;
}

/* Images written in place: the same source is the same image. */
static size_t image_of(const struct graph *g, const struct image_spec *image)
{
	for (size_t i = 0; i < g->n && g->nodes[i].kind <= RESOURCE_IMAGE; i++)
		if (g->nodes[i].kind == RESOURCE_IMAGE &&
		    strcmp(g->nodes[i].name, image->name) == 0)
			return i;
	return SIZE_MAX;
}

static void ensure(struct graph *g, enum resource_kind kind, const char *name, const void *spec)
{
	if (node_of(g, spec, kind) == SIZE_MAX)
		graph_add(g, kind, name, spec, 0);
}

/* Only what a baseline uses is wanted: an image nobody runs is not unpacked. */
static void add_assets(struct graph *g, const struct fleet *f)
{
	for (size_t i = 0; i < f->n_baselines; i++)
		ensure(g, RESOURCE_KERNEL, f->baselines[i].kernel->name, f->baselines[i].kernel);
	for (size_t i = 0; i < f->n_baselines; i++)
		ensure(g, RESOURCE_ROOTFS, f->baselines[i].rootfs->name, f->baselines[i].rootfs);
	for (size_t i = 0; i < f->n_baselines; i++) {
		const struct image_spec *image = f->baselines[i].container.image;

		if (image_of(g, image) == SIZE_MAX)
			graph_add(g, RESOURCE_IMAGE, image->name, image, 0);
	}
}

static void need_assets(struct graph *g, size_t node, const struct baseline_spec *b)
{
	graph_need(g, node, node_of(g, b->kernel, RESOURCE_KERNEL));
	graph_need(g, node, node_of(g, b->rootfs, RESOURCE_ROOTFS));
	graph_need(g, node, image_of(g, b->container.image));
}

static void add_baselines(struct graph *g, const struct fleet *f, struct map *vm_names)
{
	for (size_t i = 0; i < f->n_baselines; i++) {
		const struct baseline_spec *b = &f->baselines[i];

		need_assets(g, graph_add(g, RESOURCE_BASELINE, b->name, b, 0), b);
		map_set(vm_names, b->name, (void *)(uintptr_t)1);
	}
}

static void add_snapshots(struct graph *g, const struct fleet *f)
{
	for (size_t i = 0; i < f->n_snapshots; i++) {
		const struct snapshot_spec *s = &f->snapshots[i];
		size_t node = graph_add(g, RESOURCE_SNAPSHOT, s->name, s, 0);

		/* Taken by hand: nothing is booted for it. */
		if (s->when != WHEN_MANUAL)
			graph_need(g, node, node_of(g, s->from, RESOURCE_BASELINE));
	}
}

static bool has_clones(const struct fleet *f, const struct snapshot_spec *s)
{
	for (size_t i = 0; i < f->n_fleets; i++)
		if (f->fleets[i].from == s && f->fleets[i].count > 0)
			return true;
	return false;
}

/* One server a snapshot, when its clones are fed by one. */
static void add_memservers(struct graph *g, const struct fleet *f,
			   const struct resource_choice *choice)
{
	for (size_t i = 0; i < f->n_snapshots; i++) {
		const struct snapshot_spec *s = &f->snapshots[i];

		if (strcmp(resource_backend(choice, s), "uffd") != 0 || !has_clones(f, s))
			continue;
		auto_free char *name = xasprintf("%s/0", s->name);
		size_t node = graph_add(g, RESOURCE_MEMSERVER, name, s, 0);
		graph_need(g, node, node_of(g, s, RESOURCE_SNAPSHOT));
	}
}

static int add_clone(struct graph *g, const struct fleet *fleet, const struct fleet_spec *f,
		     uint32_t index, const struct map *vm_names, size_t *ret, struct err *err)
{
	auto_free char *name = NULL;
	int r = fleet_clone_name(f, index, &name, err);

	if (r < 0)
		return r;
	if (map_has(vm_names, name)) {
		auto_free char *path = xasprintf("fleets.%s", f->name);

		(void)err_set(err, ERR_SPEC, -EEXIST,
			      "clone '%s' has the name of a baseline; give the fleet another name "
			      "or a name template",
			      name);
		return fleet_refuse(fleet, f->at, path, err);
	}
	*ret = graph_add(g, RESOURCE_CLONE, name, f, index);
	return 0;
}

static int add_fleet(struct graph *g, const struct fleet *fleet, const struct fleet_spec *f,
		     const struct map *vm_names, struct err *err)
{
	size_t snapshot = node_of(g, f->from, RESOURCE_SNAPSHOT);
	size_t server = node_of(g, f->from, RESOURCE_MEMSERVER);
	const struct baseline_spec *b = f->from->from;
	const size_t assets[] = {
		node_of(g, b->kernel, RESOURCE_KERNEL),
		node_of(g, b->rootfs, RESOURCE_ROOTFS),
		image_of(g, b->container.image),
	};

	for (uint32_t i = 0; i < f->count; i++) {
		size_t node = 0;
		int r = add_clone(g, fleet, f, i, vm_names, &node, err);

		if (r < 0)
			return r;
		graph_need(g, node, snapshot);
		if (server != SIZE_MAX)
			graph_need(g, node, server);
		/* A restored VM opens the same read-only disks. */
		for (size_t a = 0; a < ARRAY_SIZE(assets); a++)
			graph_need(g, node, assets[a]);
	}
	return 0;
}

int graph_build(const struct fleet *fleet, const struct resource_choice *choice, struct graph *ret,
		struct err *err)
{
	auto_graph struct graph g = {.ops = resource_table};
	auto_map struct map vm_names = {0};
	int r = 0;

	if (fleet) {
		add_assets(&g, fleet);
		add_baselines(&g, fleet, &vm_names);
		add_snapshots(&g, fleet);
		add_memservers(&g, fleet, choice);
		for (size_t i = 0; r >= 0 && i < fleet->n_fleets; i++)
			r = add_fleet(&g, fleet, &fleet->fleets[i], &vm_names, err);
	}
	if (r >= 0)
		r = graph_sort(&g, err);
	if (r < 0)
		return r;
	*ret = g;
	g = (struct graph){0};
	return 0;
}
