#include "field_list.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "fields.h"
#include "xalloc.h"

/* Sections of a record, and what a difference in each means. */
static const struct section {
	const char *name;
	enum change change;
} sections[] = {
	{"note", CHANGE_NONE},
	{"update", CHANGE_UPDATE},
	{"own", CHANGE_REPLACE},
	{"replace", CHANGE_REPLACE},
};

static const char *section_of(const struct want_field *f)
{
	if (f->own)
		return "own";
	return f->change == CHANGE_REPLACE  ? "replace"
	       : f->change == CHANGE_UPDATE ? "update"
					    : "note";
}

void field_list_free(struct field_list *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->v[i].path);
		free(f->v[i].value);
	}
	free(f->v);
	*f = (struct field_list){0};
}

void field_list_add(struct field_list *f, const char *entry, const char *leaf, enum change change,
		    struct place at, const char *value)
{
	if (!value || !*value)
		return;
	f->v = xgrow(f->v, &f->cap, f->n + 1, sizeof(*f->v));
	f->v[f->n++] = (struct want_field){
		.path = xasprintf("%s.%s", entry, leaf),
		.value = xstrdup(value),
		.change = change,
		.at = at,
	};
}

void field_list_add_own(struct field_list *f, const char *entry, const char *leaf, struct place at,
			const char *value)
{
	size_t n = f->n;

	field_list_add(f, entry, leaf, CHANGE_REPLACE, at, value);
	if (f->n > n)
		f->v[n].own = true;
}

void field_list_add_disturbing(struct field_list *f, const char *entry, const char *leaf,
			       struct place at, const char *value, const char *disturbs)
{
	size_t n = f->n;

	field_list_add(f, entry, leaf, CHANGE_UPDATE, at, value);
	if (f->n > n)
		f->v[n].disturbs = disturbs;
}

void field_list_add_u64(struct field_list *f, const char *entry, const char *leaf,
			enum change change, struct place at, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	field_list_add(f, entry, leaf, change, at, text);
}

void field_list_add_ms(struct field_list *f, const char *entry, const char *leaf,
		       enum change change, struct place at, uint64_t ms)
{
	auto_free char *text = field_list_ms(ms);

	field_list_add(f, entry, leaf, change, at, text);
}

char *field_list_ms(uint64_t ms)
{
	static const struct {
		uint64_t ms;
		const char *unit;
	} units[] = {{3600000, "h"}, {60000, "m"}, {1000, "s"}};

	for (size_t i = 0; ms && i < ARRAY_SIZE(units); i++)
		if (ms % units[i].ms == 0)
			return xasprintf("%" PRIu64 "%s", ms / units[i].ms, units[i].unit);
	return xasprintf("%" PRIu64 "%s", ms, ms ? "ms" : "s");
}

void field_list_add_size(struct field_list *f, const char *entry, const char *leaf,
			 enum change change, struct place at, uint64_t bytes)
{
	bool whole = bytes % (1u << 20) == 0;
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64 "%s", whole ? bytes >> 20 : bytes,
		 whole ? "MiB" : "");
	field_list_add(f, entry, leaf, change, at, text);
}

void field_list_add_strv(struct field_list *f, const char *entry, const char *leaf,
			 enum change change, struct place at, const struct strv *value)
{
	if (value->n == 0)
		return;
	auto_json struct json_object *arr = json_strv(value);
	auto_free char *text = json_line(arr);

	field_list_add(f, entry, leaf, change, at, text);
}

struct json_object *field_list_to_json(const struct field_list *f)
{
	struct json_object *o = json_object_new_object();

	for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
		json_add(o, sections[i].name, json_object_new_object());
	for (size_t i = 0; i < f->n; i++)
		json_add_str(json_opt_obj(o, section_of(&f->v[i])), f->v[i].path, f->v[i].value);
	return o;
}

void field_list_digest(const struct field_list *f, enum change least, struct digest *d)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->v[i].change >= least && !(f->v[i].own && least == CHANGE_REPLACE))
			digest_add_field(d, f->v[i].path, f->v[i].value);
}

static void reason_free(struct reason *r)
{
	free(r->path);
	free(r->old);
	free(r->new);
}

void reasons_free(struct reasons *r)
{
	for (size_t i = 0; i < r->n; i++)
		reason_free(&r->v[i]);
	free(r->v);
	*r = (struct reasons){0};
}

void reasons_drop(struct reasons *r, const char *prefix)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->n; i++) {
		if (strncmp(r->v[i].path, prefix, strlen(prefix)) == 0)
			reason_free(&r->v[i]);
		else
			r->v[kept++] = r->v[i];
	}
	r->n = kept;
}

void reasons_add(struct reasons *r, const char *path, struct place at, const char *old,
		 const char *new)
{
	r->v = xgrow(r->v, &r->cap, r->n + 1, sizeof(*r->v));
	r->v[r->n++] = (struct reason){
		.path = xstrdup(path),
		.at = at,
		.old = old ? xstrdup(old) : NULL,
		.new = new ? xstrdup(new) : NULL,
	};
}

static const struct want_field *find_field(const struct field_list *f, const char *path)
{
	for (size_t i = 0; i < f->n; i++)
		if (strcmp(f->v[i].path, path) == 0)
			return &f->v[i];
	return NULL;
}

static const char *recorded_value(struct json_object *recorded, const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		const char *value =
			json_opt_str(json_opt_obj(recorded, sections[i].name), path, NULL);

		if (value)
			return value;
	}
	return NULL;
}

/* What is not written has its default, and that is what a reader knows it by. */
static void add_reason(struct reasons *why, const char *path, struct place at, const char *old,
		       const char *new)
{
	const char *dflt = fields_default(path);
	const char *was = old ? old : dflt, *is = new ? new : dflt;
	bool same = was && is && strcmp(was, is) == 0;

	reasons_add(why, path, at, same ? old : was, same ? new : is);
}

static enum change vanished(const struct field_list *want, struct json_object *section,
			    enum change change, struct reasons *why)
{
	enum change worst = CHANGE_NONE;

	if (!section)
		return CHANGE_NONE;
	json_object_object_foreach(section, path, value)
	{
		if (find_field(want, path))
			continue;
		add_reason(why, path, (struct place){0}, json_object_get_string(value), NULL);
		worst = change;
	}
	return worst;
}

enum change field_list_diff(const struct field_list *want, struct json_object *recorded,
			    struct reasons *why)
{
	enum change worst = CHANGE_NONE;

	for (size_t i = 0; i < want->n; i++) {
		const struct want_field *f = &want->v[i];
		const char *old = recorded_value(recorded, f->path);

		if (old && strcmp(old, f->value) == 0)
			continue;
		add_reason(why, f->path, f->at, old, f->value);
		if (old && strcmp(old, "[]") != 0)
			why->v[why->n - 1].disturbs = f->disturbs;
		if (f->change > worst)
			worst = f->change;
	}
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		const struct section *s = &sections[i];
		enum change c = CHANGE_NONE;

		if (s->change != CHANGE_NONE)
			c = vanished(want, json_opt_obj(recorded, s->name), s->change, why);
		if (c > worst)
			worst = c;
	}
	return worst;
}
