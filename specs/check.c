/* check.c - what one field alone cannot know: whether fields fit each other. */
#include <string.h>

#include "cleanup.h"
#include "decode.h"
#include "xalloc.h"

void check_each(struct decode *d, const struct ynode *map, const char *section,
		check_entry_fn *check)
{
	size_t outer = path_push(&d->path, section);

	for (size_t i = 0; map && map->kind == YNODE_MAP && i < map->n; i++) {
		const struct ypair *pair = &map->pairs[i];
		size_t before = path_push(&d->path, pair->key);

		if (strncmp(pair->key, "x-", 2) != 0 && pair->value->kind == YNODE_MAP &&
		    !ynode_is_null(pair->value))
			check(d, pair);
		path_pop(&d->path, before);
	}
	path_pop(&d->path, outer);
}

/* The pair, unless it has no value. */
static struct ypair *given(const struct ynode *map, const char *key)
{
	struct ypair *pair = ynode_pair(map, key);

	return pair && !ynode_is_null(pair->value) ? pair : NULL;
}

static void need_one(struct decode *d, const struct ynode *map, const char *key, const char *needs)
{
	const struct ypair *pair = given(map, key);
	auto_buf struct buf list = BUF_INIT(100);

	if (!pair)
		return;
	for (size_t i = 0; i < map->n; i++) {
		if (fields_has_choice(needs, map->pairs[i].key, NULL) &&
		    !ynode_is_null(map->pairs[i].value))
			return;
	}
	fields_list_choices(needs, &list);
	size_t before = path_push(&d->path, key);

	(void)decode_fail_at(d, pair->key_at, "needs %s beside it", buf_str(&list));
	path_pop(&d->path, before);
}

static void check_kernel(struct decode *d, const struct ypair *pair)
{
	need_one(d, pair->value, "url", "sha256");
	need_one(d, pair->value, "sha256", "path|url");
}

static void check_rootfs(struct decode *d, const struct ypair *pair)
{
	need_one(d, pair->value, "sha256", "path");
}

static void check_health(struct decode *d, const struct ynode *owner)
{
	struct ypair *none = given(ynode_get(owner, "healthcheck"), "none");
	size_t before = path_push(&d->path, "healthcheck.none");

	if (none && none->value->kind == YNODE_SCALAR && strcmp(none->value->text, "false") == 0)
		(void)decode_fail(d, none->value, "expected true, or no such key, got 'false'");
	path_pop(&d->path, before);
}

/* What a baseline bakes in, its snapshots hold in plain text. */
static void check_secrets(struct decode *d, const struct ynode *container)
{
	const struct ynode *list = ynode_get(container, "secrets");
	const struct ynode *secrets = ynode_get(d->root, "secrets");
	size_t outer = path_push(&d->path, "secrets");

	for (size_t i = 0; list && list->kind == YNODE_LIST && i < list->n; i++) {
		struct ynode *item = list->items[i];
		const struct ynode *allow =
			item->kind == YNODE_SCALAR
				? ynode_get(ynode_get(secrets, item->text), "allow_in_snapshot")
				: NULL;
		size_t before = path_push_index(&d->path, i);

		if (item->kind == YNODE_SCALAR &&
		    !(allow && allow->kind == YNODE_SCALAR && strcmp(allow->text, "true") == 0))
			(void)decode_fail(d, item,
					  "snapshots would contain secret '%.100s': give it to the "
					  "fleet, or say allow_in_snapshot: true",
					  item->text);
		path_pop(&d->path, before);
	}
	path_pop(&d->path, outer);
}

/* Depth first over depends_on: an edge back to a container on the way there closes a cycle. */
struct dependencies {
	const struct ynode *containers;
	struct spec_path path; /* of the containers */
	struct map seen;       /* name -> on_the_way or settled */
};
static char on_the_way, settled;

static void check_depends(struct decode *d, struct dependencies *deps, const struct ypair *pair);

static void check_need(struct decode *d, struct dependencies *deps, const char *name,
		       const struct ypair *need)
{
	const struct ypair *other = ynode_pair(deps->containers, need->key);

	if (!other)
		(void)decode_fail_at(d, need->key_at, "no container '%.100s' in the baseline",
				     need->key);
	else if (map_get(&deps->seen, need->key) == &on_the_way)
		(void)decode_fail_at(d, need->key_at,
				     "'%.60s' and '%.60s' wait for each other: a cycle", name,
				     need->key);
	else
		check_depends(d, deps, other);
}

static void check_depends(struct decode *d, struct dependencies *deps, const struct ypair *pair)
{
	const struct ynode *needs = ynode_get(pair->value, "depends_on");

	if (!map_add(&deps->seen, pair->key, &on_the_way))
		return;
	for (size_t i = 0; needs && needs->kind == YNODE_MAP && i < needs->n; i++) {
		d->path = deps->path;
		(void)path_push(&d->path, pair->key);
		(void)path_push(&d->path, "depends_on");
		(void)path_push(&d->path, needs->pairs[i].key);
		check_need(d, deps, pair->key, &needs->pairs[i]);
	}
	d->path = deps->path;
	map_set(&deps->seen, pair->key, &settled);
}

/* What is null, or an extension, is no container. */
static bool has_entries(const struct ynode *map)
{
	for (size_t i = 0; i < map->n; i++)
		if (strncmp(map->pairs[i].key, "x-", 2) != 0 && !ynode_is_null(map->pairs[i].value))
			return true;
	return false;
}

static void check_containers(struct decode *d, const struct ypair *pair)
{
	const struct ynode *containers = pair->value;
	size_t outer = path_push(&d->path, "containers");

	if (containers->kind == YNODE_MAP && !has_entries(containers))
		(void)decode_fail_at(d, pair->key_at, "expected at least one container");
	for (size_t i = 0; containers->kind == YNODE_MAP && i < containers->n; i++) {
		const struct ypair *one = &containers->pairs[i];
		size_t before = path_push(&d->path, one->key);

		check_health(d, one->value);
		check_secrets(d, one->value);
		path_pop(&d->path, before);
	}
	struct dependencies deps = {.containers = containers, .path = d->path};

	for (size_t i = 0; containers->kind == YNODE_MAP && i < containers->n; i++)
		check_depends(d, &deps, &containers->pairs[i]);
	map_free(&deps.seen);
	path_pop(&d->path, outer);
}

static void check_baseline(struct decode *d, const struct ypair *pair)
{
	static const char short_keys[] = "command|entrypoint|environment|user|workdir|healthcheck";
	const struct ypair *containers = given(pair->value, "containers");

	check_health(d, pair->value);
	if (!containers)
		return;
	check_containers(d, containers);
	for (size_t i = 0; i < pair->value->n; i++) {
		const struct ypair *one = &pair->value->pairs[i];

		if (!fields_has_choice(short_keys, one->key, NULL) || ynode_is_null(one->value))
			continue;
		size_t before = path_push(&d->path, one->key);

		(void)decode_fail_at(d, one->key_at,
				     "belongs to one of the containers: move it below "
				     "containers.NAME");
		path_pop(&d->path, before);
	}
}

/* The baseline a snapshot or fleet entry comes from; NULL when that is not settled. */
static const struct ynode *baseline_of(const struct decode *d, const struct ynode *entry)
{
	const struct ynode *from = ynode_get(entry, "from");
	const struct ynode *snapshots = ynode_get(d->root, "snapshots");

	if (!from || from->kind != YNODE_SCALAR)
		return NULL;
	if (ynode_get(snapshots, from->text))
		from = ynode_get(ynode_get(snapshots, from->text), "from");
	if (!from || from->kind != YNODE_SCALAR)
		return NULL;
	size_t len = strcspn(from->text, "@");
	auto_free char *name = xstrndup(from->text, len);

	return ynode_get(ynode_get(d->root, "baselines"), name);
}

static bool has_container(const struct ynode *baseline, const char *name)
{
	const struct ynode *containers = ynode_get(baseline, "containers");

	return containers ? ynode_get(containers, name) != NULL : strcmp(name, "main") == 0;
}

static void check_hooks(struct decode *d, const struct ynode *entry, const char *key)
{
	const struct ynode *hooks = ynode_get(entry, key);
	const struct ynode *baseline = baseline_of(d, entry);
	size_t outer = path_push(&d->path, key);

	for (size_t i = 0; baseline && hooks && hooks->kind == YNODE_LIST && i < hooks->n; i++) {
		struct ynode *name = ynode_get(hooks->items[i], "container");
		size_t before = path_push_index(&d->path, i);

		(void)path_push(&d->path, "container");
		if (name && name->kind == YNODE_SCALAR && !ynode_is_null(name) &&
		    !has_container(baseline, name->text))
			(void)decode_fail(d, name, "no container '%.100s' in the baseline",
					  name->text);
		path_pop(&d->path, before);
	}
	path_pop(&d->path, outer);
}

static bool has_health(const struct ynode *baseline)
{
	const struct ynode *containers = ynode_get(baseline, "containers");

	if (!ynode_is_null(ynode_get(baseline, "healthcheck")))
		return true;
	for (size_t i = 0; containers && containers->kind == YNODE_MAP && i < containers->n; i++) {
		if (!ynode_is_null(ynode_get(containers->pairs[i].value, "healthcheck")))
			return true;
	}
	return false;
}

static void check_snapshot(struct decode *d, const struct ypair *pair)
{
	const struct ynode *when = ynode_get(pair->value, "when");
	const struct ynode *baseline = baseline_of(d, pair->value);
	bool healthy = ynode_is_null(when) ||
		       (when->kind == YNODE_SCALAR && strcmp(when->text, "healthy") == 0);

	check_hooks(d, pair->value, "prepare");
	if (healthy && baseline && baseline->kind == YNODE_MAP && !has_health(baseline))
		decode_warn(
			d, pair->key_at,
			"the baseline has no healthcheck: taken when its container has started");
}

static void check_fleet(struct decode *d, const struct ypair *pair)
{
	const struct ynode *from = ynode_get(pair->value, "from");
	const struct ynode *baseline = baseline_of(d, pair->value);

	check_hooks(d, pair->value, "on_clone");
	check_hooks(d, pair->value, "on_metadata");
	check_health(d, pair->value);
	size_t before = path_push(&d->path, "from");

	if (from && baseline && baseline->kind == YNODE_MAP && !has_health(baseline) &&
	    !ynode_get(ynode_get(d->root, "snapshots"), from->text))
		decode_warn(d, from->at,
			    "the baseline has no healthcheck: its snapshot is taken when the "
			    "container has started");
	path_pop(&d->path, before);
}

static void check_name(struct decode *d)
{
	const struct fleet *fleet = d->fleet;

	if (d->by_hand || !fleet->name || strcmp(fleet->name, FLEET_BY_HAND) != 0)
		return;
	size_t before = path_push(&d->path, "name");

	(void)decode_fail_at(d, fleet->name_at,
			     "'" FLEET_BY_HAND "' is the set of VMs made by hand; choose another");
	path_pop(&d->path, before);
}

void check_spec(struct decode *d)
{
	static const struct {
		const char *section;
		check_entry_fn *check;
	} checks[] = {
		{"kernels", check_kernel},     {"rootfs", check_rootfs},
		{"volumes", check_volume},     {"networks", check_network},
		{"baselines", check_baseline}, {"snapshots", check_snapshot},
		{"fleets", check_fleet},
	};

	check_name(d);
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
		check_each(d, ynode_get(d->root, checks[i].section), checks[i].section,
			   checks[i].check);
}
