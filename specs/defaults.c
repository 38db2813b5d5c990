/* defaults.c - `defaults.baseline` and `defaults.fleet` under each entry: the entry wins, maps are
 * merged, lists are not. Nodes are shared, so that many entries cost little. */
#include <string.h>

#include "decode.h"
#include "fields_tables.h"

static const char short_keys[] = "image|command|entrypoint|environment|user|workdir|healthcheck";

/* Whether the entry has made a choice that the default would contradict. */
static bool is_settled(const struct field_group *group, const struct ynode *entry, const char *key)
{
	const char *keys = group->rule.keys;

	if (keys && fields_has_choice(keys, key, NULL)) {
		for (size_t i = 0; i < entry->n; i++) {
			if (fields_has_choice(keys, entry->pairs[i].key, NULL))
				return true;
		}
	}
	return group == &group_baseline && ynode_pair(entry, "containers") &&
	       fields_has_choice(short_keys, key, NULL);
}

static void add_pair(struct decode *d, struct ynode *entry, const struct ypair *pair)
{
	if (++d->tree->n_merged <= YAML_MERGED_MAX)
		ynode_add_pair(entry, pair->key, pair->key_at, pair->value);
}

static void merge_group(struct decode *d, const struct field_group *group, struct ynode *entry,
			const struct ynode *from);

/* A map of any keys, texts or whole entries. */
static void merge_each(struct decode *d, const struct field *f, struct ynode *entry,
		       const struct ynode *from)
{
	for (size_t i = 0; i < from->n; i++) {
		struct ynode *own = ynode_get(entry, from->pairs[i].key);

		if (!own)
			add_pair(d, entry, &from->pairs[i]);
		else if (f->type == FIELD_MAP && own->kind == YNODE_MAP &&
			 from->pairs[i].value->kind == YNODE_MAP)
			merge_group(d, f->group, own, from->pairs[i].value);
	}
}

static void merge_pair(struct decode *d, const struct field *f, struct ynode *entry,
		       const struct ypair *pair)
{
	struct ypair *own = ynode_pair(entry, pair->key);
	bool is_map = f->shape == FIELD_EACH || (f->type == FIELD_MAP && f->shape == FIELD_ONE);

	if (!own)
		add_pair(d, entry, pair);
	else if (is_map && ynode_is_empty(own->value))
		own->value = pair->value;
	else if (is_map && own->value->kind == YNODE_MAP && pair->value->kind == YNODE_MAP &&
		 f->shape == FIELD_EACH)
		merge_each(d, f, own->value, pair->value);
	else if (is_map && own->value->kind == YNODE_MAP && pair->value->kind == YNODE_MAP)
		merge_group(d, f->group, own->value, pair->value);
}

static void merge_group(struct decode *d, const struct field_group *group, struct ynode *entry,
			const struct ynode *from)
{
	bool settled[64] = {false}; /* before anything is added */

	for (size_t i = 0; i < group->n; i++)
		settled[i] = is_settled(group, entry, group->fields[i].key);
	for (size_t i = 0; i < from->n; i++) {
		const struct ypair *pair = &from->pairs[i];
		const struct field *f = fields_find(group, pair->key);

		if (f && !ynode_is_null(pair->value) && pair->value->kind != YNODE_BAD &&
		    (!settled[f - group->fields] || ynode_pair(entry, pair->key)))
			merge_pair(d, f, entry, pair);
	}
}

static void merge_section(struct decode *d, const char *section, const struct field_group *group,
			  const struct ynode *from)
{
	struct ynode *map = ynode_get(d->root, section);

	if (!map || map->kind != YNODE_MAP || !from || from->kind != YNODE_MAP)
		return;
	for (size_t i = 0; i < map->n; i++) {
		struct ynode *entry = map->pairs[i].value;

		if (strncmp(map->pairs[i].key, "x-", 2) == 0 || ynode_is_null(entry))
			continue;
		if (ynode_is_empty(entry))
			entry->kind = YNODE_MAP;
		if (entry->kind == YNODE_MAP)
			merge_group(d, group, entry, from);
	}
}

/* defaults.engine is short for defaults.baseline.engine. */
static void merge_engine(struct decode *d, const struct ynode *defaults)
{
	struct ypair *engine = ynode_pair(defaults, "engine");
	struct ynode *only = ynode_new(d->tree, YNODE_MAP, d->root->at);

	if (!engine)
		return;
	ynode_add_pair(only, engine->key, engine->key_at, engine->value);
	merge_section(d, "baselines", &group_baseline, only);
}

void defaults_merge(struct decode *d)
{
	struct ynode *defaults = ynode_get(d->root, "defaults");

	merge_section(d, "baselines", &group_baseline, ynode_get(defaults, "baseline"));
	merge_section(d, "fleets", &group_fleet, ynode_get(defaults, "fleet"));
	merge_engine(d, defaults);
	if (d->tree->n_merged > YAML_MERGED_MAX)
		(void)decode_fail_at(d, ynode_pair(d->root, "defaults")->key_at,
				     "more than %d values once defaults are merged",
				     YAML_MERGED_MAX);
}
