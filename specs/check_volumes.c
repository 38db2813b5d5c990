/* check_volumes.c - volumes: their kind decides their fields; writers must not collide. */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "decode.h"
#include "xalloc.h"

static const char host_keys[] = "source|access|create|share|trust|cache";
static const char disk_keys[] = "size|fs|per";

static const char *text_of(const struct ynode *map, const char *key, const char *dflt)
{
	const struct ynode *node = ynode_get(map, key);

	return ynode_is_null(node) || node->kind != YNODE_SCALAR ? dflt : node->text;
}

/* Runs before linking, from check_spec(): fields of the other kind, and the one that is needed. */
void check_volume(struct decode *d, const struct ypair *pair)
{
	const char *type = text_of(pair->value, "type", "");
	bool host = strcmp(type, "host") == 0;
	const char *needed = host ? "source" : "size";

	if (!host && strcmp(type, "disk") != 0)
		return;
	for (size_t i = 0; i < pair->value->n; i++) {
		const struct ypair *one = &pair->value->pairs[i];
		size_t before = path_push(&d->path, one->key);

		if (fields_has_choice(host ? disk_keys : host_keys, one->key, NULL))
			(void)decode_fail_at(d, one->key_at,
					     "a volume of type %s has no such field", type);
		path_pop(&d->path, before);
	}
	size_t before = path_push(&d->path, needed);

	if (ynode_is_null(ynode_get(pair->value, needed)))
		(void)decode_fail_at(d, pair->key_at, "required, but not given");
	path_pop(&d->path, before);
}

static uint64_t clones_of(const struct fleet *fleet, const char *baseline)
{
	uint64_t n = 0;

	for (size_t i = 0; i < fleet->n_fleets; i++) {
		if (strcmp(fleet->fleets[i].from->from->name, baseline) == 0)
			n += fleet->fleets[i].count;
	}
	return n;
}

struct writers {
	uint64_t n;        /* clones that write to the volume */
	const void *owner; /* counted last: a volume mounted twice has no more writers */
};

/* "VOLUME:/TARGET[:ro]" or a map: the volume, NULL when it is mounted read only. */
static char *written_volume(const struct ynode *list, size_t i)
{
	const char *text = list->pairs ? list->pairs[i].key : list->items[i]->text;
	size_t len = text ? strlen(text) : 0;

	if (!text)
		return NULL;
	if (list->pairs)
		return xstrdup(text);
	if (len > 3 && strcmp(text + len - 3, ":ro") == 0)
		return NULL;
	return xstrndup(text, strcspn(text, ":"));
}

static void count_writers(const struct ynode *entry, uint64_t clones, struct map *counts)
{
	const struct ynode *list = ynode_get(entry, "volumes");

	if (!list || (list->kind != YNODE_LIST && list->kind != YNODE_MAP))
		return;
	for (size_t i = 0; i < list->n; i++) {
		auto_free char *volume = written_volume(list, i);
		struct writers *w = volume ? map_get(counts, volume) : NULL;

		if (volume && !w) {
			w = xcalloc(1, sizeof(*w));
			(void)map_add(counts, volume, w);
		}
		if (w && w->owner != entry)
			w->n += clones;
		if (w)
			w->owner = entry;
	}
}

static void count_all(const struct decode *d, struct map *counts)
{
	const struct fleet *fleet = d->fleet;
	const struct ynode *baselines = ynode_get(d->root, "baselines");
	const struct ynode *fleets = ynode_get(d->root, "fleets");

	for (size_t i = 0; i < fleet->n_baselines; i++) {
		const char *name = fleet->baselines[i].name;

		count_writers(ynode_get(baselines, name), clones_of(fleet, name), counts);
	}
	for (size_t i = 0; i < fleet->n_fleets; i++)
		count_writers(ynode_get(fleets, fleet->fleets[i].name), fleet->fleets[i].count,
			      counts);
}

static void check_writers(struct decode *d, const struct ypair *pair, uint64_t writers)
{
	const struct ynode *volume = pair->value;
	const struct ypair *access = ynode_pair(volume, "access");
	const char *source = text_of(volume, "source", "");
	bool own = strstr(source, "{{") && (strstr(source, "clone") || strstr(source, "index"));
	const struct ypair *per = ynode_pair(volume, "per");

	if (access && strcmp(text_of(volume, "access", ""), "rw") == 0 && !own &&
	    strcmp(text_of(volume, "share", "false"), "true") != 0 && writers > 1) {
		(void)path_push(&d->path, "access");
		(void)decode_fail_at(d, access->key_at,
				     "several clones would write to it: put {{clone}} into source, "
				     "or say share: true");
	}
	if (per && strcmp(text_of(volume, "per", ""), "set") == 0 && writers > 0) {
		(void)path_push(&d->path, "per");
		(void)decode_fail_at(d, per->key_at,
				     "a disk for the whole set is read only: mount it with :ro, or "
				     "say per: clone");
	}
}

void check_volumes(struct decode *d)
{
	const struct ynode *volumes = ynode_get(d->root, "volumes");
	auto_map struct map counts = {.free_value = free};

	count_all(d, &counts);
	for (size_t i = 0; volumes && volumes->kind == YNODE_MAP && i < volumes->n; i++) {
		const struct ypair *pair = &volumes->pairs[i];
		const struct writers *w = map_get(&counts, pair->key);
		size_t before = path_push(&d->path, "volumes");

		(void)path_push(&d->path, pair->key);
		if (w)
			check_writers(d, pair, w->n);
		path_pop(&d->path, before);
	}
}
