/* check_clones.c - every clone of the set has a valid name of its own, and small metadata. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "decode.h"
#include "map.h"
#include "parse.h"
#include "xalloc.h"

#define CLONES_MAX 200000       /* in one set */
#define METADATA_CHECKS 1000000 /* values expanded to find one that fails */
#define METADATA_MAX 65536

static struct place name_place(const struct fleet_spec *f)
{
	return f->name_at.line ? f->name_at : f->at;
}

struct taken {
	struct map baselines, clones; /* name -> name of the baseline or fleet */
};

/* False ends the fleet: one problem says enough. */
static bool check_name(struct decode *d, const struct fleet_spec *f, uint32_t index,
		       struct taken *taken)
{
	auto_free char *name = NULL;
	struct err err = {0};

	if (fleet_clone_name(f, index, &name, &err) < 0) {
		(void)decode_fail_at(d, name_place(f), "%s", err.msg);
		return false;
	}
	if (map_has(&taken->baselines, name)) {
		(void)decode_fail_at(d, name_place(f),
				     "clone %" PRIu32 " would be called '%s' like a baseline",
				     index, name);
		return false;
	}
	if (map_add(&taken->clones, name, f->name))
		return true;
	(void)decode_fail_at(d, name_place(f),
			     "clone %" PRIu32 " would be called '%s' like another of fleet '%s'",
			     index, name, (const char *)map_get(&taken->clones, name));
	return false;
}

static void check_names(struct decode *d, const struct fleet_spec *f, struct taken *taken)
{
	size_t before = path_push(&d->path, "name");

	for (uint32_t i = 0; i < f->count; i++) {
		if (!check_name(d, f, i, taken))
			break;
	}
	path_pop(&d->path, before);
}

static bool check_one_metadata(struct decode *d, const struct fleet_spec *f, uint32_t index)
{
	auto_free char *name = NULL, *text = NULL;
	struct err err = {0};

	if (fleet_clone_name(f, index, &name, NULL) < 0)
		return false; /* reported with the names */
	if (fleet_clone_metadata(d->fleet, f, index, name, &text, &err) < 0) {
		(void)decode_fail_at(d, f->metadata_at, "%s", err.msg);
		return false;
	}
	if (strlen(text) <= METADATA_MAX)
		return true;
	(void)decode_fail_at(d, f->metadata_at,
			     "expected at most %d bytes of JSON, got %zu for clone %" PRIu32,
			     METADATA_MAX, strlen(text), index);
	return false;
}

/* Values grow with the index: the first and the last clone stand for all, unless one divides. */
static void check_metadata(struct decode *d, const struct fleet_spec *f)
{
	size_t before = path_push(&d->path, "metadata");
	bool fragile = false;

	for (size_t i = 0; i < f->metadata_keys.n; i++)
		fragile = fragile || template_is_fragile(f->metadata_compiled[i]);
	if ((uint64_t)f->count * f->metadata_keys.n > METADATA_CHECKS)
		fragile = false;
	if (f->metadata_keys.n && f->count) {
		uint32_t step = fragile || f->count == 1 ? 1 : f->count - 1;

		for (uint32_t i = 0; i < f->count; i += step) {
			if (!check_one_metadata(d, f, i))
				break;
		}
	}
	path_pop(&d->path, before);
}

/* `names`: keyed clones; they are counted, and each name is there once. */
static void check_keys(struct decode *d, struct fleet_spec *f, const struct ynode *names)
{
	auto_map struct map seen = {0};
	size_t outer = path_push(&d->path, "names");

	for (size_t i = 0; names->kind == YNODE_LIST && i < names->n; i++) {
		struct ynode *item = names->items[i];
		size_t before = path_push_index(&d->path, i);

		if (item->kind == YNODE_SCALAR && !map_add(&seen, item->text, item))
			(void)decode_fail(d, item, "'%.100s' is there twice", item->text);
		path_pop(&d->path, before);
	}
	f->count = (uint32_t)names->n;
	path_pop(&d->path, outer);
}

static void settle_name(struct decode *d, struct fleet_spec *f)
{
	auto_free char *text = xasprintf("%s-{{index}}", f->name);
	struct template_scope scope = {.names = TEMPLATE_INDEX};
	size_t offset;

	if (template_compile(text, &scope, &f->name_compiled, &offset, NULL) >= 0)
		f->name_template = decode_keep(d, text);
}

static void check_fleet(struct decode *d, struct fleet_spec *f, const struct ynode *entry,
			struct taken *taken)
{
	const struct ynode *names = ynode_get(entry, "names");
	const struct ynode *overrides = ynode_get(entry, "overrides");

	if (ynode_is_null(ynode_get(entry, "name")))
		settle_name(d, f);
	if (names && !ynode_is_null(names))
		check_keys(d, f, names);
	else if (f->name_compiled)
		check_names(d, f, taken);
	if (f->name_compiled)
		check_metadata(d, f);
	for (size_t i = 0; overrides && overrides->kind == YNODE_MAP && i < overrides->n; i++) {
		const struct ypair *pair = &overrides->pairs[i];
		uint64_t index;
		size_t before = path_push(&d->path, "overrides");

		(void)path_push(&d->path, pair->key);
		if (parse_u64(pair->key, 0, 99999, &index, NULL) >= 0 && index >= f->count)
			(void)decode_fail_at(d, pair->key_at, "there are only %" PRIu32 " clones",
					     f->count);
		path_pop(&d->path, before);
	}
}

void check_clones(struct decode *d)
{
	struct fleet *fleet = d->fleet;
	const struct ynode *fleets = ynode_get(d->root, "fleets");
	struct taken taken = {0};
	uint64_t total = 0;

	for (size_t i = 0; i < fleet->n_baselines; i++) {
		if (fleet->baselines[i].name)
			(void)map_add(&taken.baselines, fleet->baselines[i].name,
				      fleet->baselines[i].name);
	}
	for (size_t i = 0; i < fleet->n_fleets; i++) {
		struct fleet_spec *f = &fleet->fleets[i];

		if (!f->name)
			continue;
		size_t before = path_push(&d->path, "fleets");

		(void)path_push(&d->path, f->name);
		total += f->count;
		if (total > CLONES_MAX)
			(void)decode_fail_at(d, f->at, "expected at most %d clones in the set",
					     CLONES_MAX);
		else
			check_fleet(d, f, ynode_get(fleets, f->name), &taken);
		path_pop(&d->path, before);
	}
	map_free(&taken.baselines);
	map_free(&taken.clones);
}
