#include "schema.h"

#include <string.h>

#include "buf.h"
#include "cleanup.h"
#include "fields.h"
#include "fields_tables.h"
#include "json.h"
#include "xalloc.h"

#define NAME_PATTERN "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
#define KEY_PATTERN "^x-|^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
#define SOURCE_PATTERN "^(oci-archive:|docker-archive:|oci:|dir:|containers-storage:|docker://).+"
#define TEMPLATE_PATTERN "\\{\\{.*\\}\\}"

static struct json_object *typed(const char *type, const char *pattern)
{
	struct json_object *o = json_object_new_object();

	json_add_str(o, "type", type);
	if (pattern)
		json_add_str(o, "pattern", pattern);
	return o;
}

static void add_types(struct json_object *o, const char *const *types)
{
	struct json_object *list = json_object_new_array();

	for (; *types; types++)
		json_object_array_add(list, json_object_new_string(*types));
	json_add(o, "type", list);
}

/* What plain YAML scalars arrive as: the language takes their text. */
static struct json_object *scalar(void)
{
	static const char *const types[] = {"string", "number", "boolean", NULL};
	struct json_object *o = json_object_new_object();

	add_types(o, types);
	return o;
}

static struct json_object *any_of(struct json_object *a, struct json_object *b)
{
	struct json_object *o = json_object_new_object();
	struct json_object *list = json_object_new_array();

	json_object_array_add(list, a);
	json_object_array_add(list, b);
	json_add(o, "anyOf", list);
	return o;
}

/* What is null counts as not written. */
static struct json_object *or_null(struct json_object *o)
{
	struct json_object *list = NULL, *type = NULL;

	if (json_object_object_get_ex(o, "anyOf", &list)) {
		json_object_array_add(list, typed("null", NULL));
	} else if (json_object_object_get_ex(o, "enum", &list)) {
		json_object_array_add(list, NULL);
	} else if (!json_object_object_get_ex(o, "type", &type)) {
		return any_of(o, typed("null", NULL));
	} else if (json_object_is_type(type, json_type_array)) {
		json_object_array_add(type, json_object_new_string("null"));
	} else {
		const char *const types[] = {json_object_get_string(type), "null", NULL};
		add_types(o, types);
	}
	return o;
}

static struct json_object *reference(const char *def)
{
	struct json_object *o = json_object_new_object();
	auto_free char *path = xasprintf("#/$defs/%s", def);

	json_add_str(o, "$ref", path);
	return o;
}

static struct json_object *list_of(struct json_object *items)
{
	struct json_object *o = typed("array", NULL);

	json_add(o, "items", items);
	return o;
}

/* A program and its arguments: not nothing. */
static struct json_object *words(void)
{
	struct json_object *o = typed("array", NULL);

	json_add(o, "items", scalar());
	json_add_u64(o, "minItems", 1);
	return o;
}

static struct json_object *schema_bool(const struct field *f)
{
	(void)f;
	return typed("boolean", NULL);
}

static struct json_object *schema_text(const struct field *f)
{
	(void)f;
	return scalar();
}

static struct json_object *schema_string(const struct field *f)
{
	static const char *const patterns[FIELD_TYPES] = {
		[FIELD_NAME] = NAME_PATTERN,
		[FIELD_SHA256] = "^[0-9a-f]{64}$",
		[FIELD_URL] = "^(https://|file:///)",
		[FIELD_HTTP] = "^http://",
		[FIELD_TCP] = ":[0-9]+$",
		[FIELD_DURATION] = "^([0-9]+(ms|s|m|h)|0)$",
		[FIELD_SOURCE] = SOURCE_PATTERN,
	};

	/* Names and paths may look like numbers: nothing is typed by how it looks. */
	if (patterns[f->type] && f->type != FIELD_NAME)
		return typed("string", patterns[f->type]);
	struct json_object *o = scalar();
	if (patterns[f->type])
		json_add_str(o, "pattern", patterns[f->type]);
	return o;
}

static struct json_object *schema_duration(const struct field *f)
{
	struct json_object *zero = json_object_new_object();

	json_add_u64(zero, "const", 0); /* the one number that needs no unit */
	return any_of(schema_string(f), zero);
}

static struct json_object *schema_int(const struct field *f)
{
	struct json_object *o = typed("integer", NULL);

	json_add_u64(o, "minimum", f->min);
	json_add_u64(o, "maximum", f->max);
	/* Quotes make no difference. */
	return any_of(o, typed("string", f->flags & FIELD_TEMPLATE ? "^[0-9]+$|" TEMPLATE_PATTERN
								   : "^[0-9]+$"));
}

static struct json_object *schema_number(const struct field *f)
{
	struct json_object *o = typed("number", NULL);

	json_add(o, "minimum", json_object_new_double((double)f->min / 1000));
	json_add(o, "maximum", json_object_new_double((double)f->max / 1000));
	return any_of(o, typed("string", "^[0-9]+(\\.[0-9]+)?$"));
}

static struct json_object *schema_size(const struct field *f)
{
	(void)f;
	return any_of(typed("string", "^[0-9]+([KMGT]i?B)?$"), typed("integer", NULL));
}

static struct json_object *schema_percent(const struct field *f)
{
	(void)f;
	return any_of(typed("string", "^[0-9]+%?$"), typed("integer", NULL));
}

/* `no` is a boolean to editors of YAML 1.1. */
static struct json_object *schema_choice(const struct field *f)
{
	struct json_object *o = json_object_new_object();
	struct json_object *values = json_object_new_array();

	for (const char *p = f->choices; *p;) {
		size_t n = strcspn(p, "|");

		json_object_array_add(values, json_object_new_string_len(p, (int)n));
		p += p[n] ? n + 1 : n;
	}
	if (fields_has_choice(f->choices, "no", NULL))
		json_object_array_add(values, json_object_new_boolean(0));
	json_add(o, "enum", values);
	return o;
}

static struct json_object *schema_argv(const struct field *f)
{
	(void)f;
	return any_of(scalar(), words());
}

static struct json_object *schema_hook(const struct field *f)
{
	(void)f;
	return any_of(words(), reference(group_hook.name));
}

static struct json_object *schema_var(const struct field *f)
{
	return any_of(scalar(), reference(f->group->name));
}

static struct json_object *schema_map(const struct field *f)
{
	return reference(f->group->name);
}

static struct json_object *(*const makers[FIELD_TYPES])(const struct field *) = {
	[FIELD_TEXT] = schema_text,         [FIELD_BOOL] = schema_bool,
	[FIELD_INT] = schema_int,           [FIELD_NUMBER] = schema_number,
	[FIELD_SIZE] = schema_size,         [FIELD_DURATION] = schema_duration,
	[FIELD_CHOICE] = schema_choice,     [FIELD_NAME] = schema_string,
	[FIELD_REF] = schema_string,        [FIELD_NETWORK] = schema_string,
	[FIELD_PATH] = schema_string,       [FIELD_URL] = schema_string,
	[FIELD_SHA256] = schema_string,     [FIELD_PERCENT] = schema_percent,
	[FIELD_IMAGE] = schema_string,      [FIELD_SOURCE] = schema_string,
	[FIELD_HTTP] = schema_string,       [FIELD_TCP] = schema_string,
	[FIELD_PORT] = schema_text,         [FIELD_ADDRESS] = schema_string,
	[FIELD_EGRESS] = schema_string,     [FIELD_CLONE_NAME] = schema_string,
	[FIELD_CLONE_PATH] = schema_string, [FIELD_METADATA] = schema_text,
	[FIELD_ARGV] = schema_argv,         [FIELD_HOOK] = schema_hook,
	[FIELD_MOUNT] = schema_string,      [FIELD_VAR] = schema_var,
	[FIELD_MAP] = schema_map,
};

static const char *key_pattern(const struct field *f)
{
	static const char *const patterns[] = {
		[KEY_NAME] = KEY_PATTERN,      [KEY_VAR] = "^x-|^[a-z][a-z0-9_]*$",
		[KEY_ENVIRONMENT] = "^[^=]+$", [KEY_TEXT] = ".",
		[KEY_INDEX] = "^x-|^[0-9]+$",
	};

	return patterns[f->key_rule];
}

static struct json_object *map_of(struct json_object *values, const struct field *f)
{
	struct json_object *o = typed("object", NULL), *names = json_object_new_object();

	json_add_str(names, "pattern", key_pattern(f));
	json_add(o, "propertyNames", names);

	if (f->type == FIELD_MAP && f->key_rule == KEY_NAME) {
		struct json_object *patterns = json_object_new_object();

		/* x-* is anything. */
		json_add(patterns, "^x-", json_object_new_object());
		json_add(o, "patternProperties", patterns);
	}
	json_add(o, "additionalProperties", or_null(values));
	return o;
}

static struct json_object *schema_field(const struct field *f)
{
	struct json_object *o = makers[f->type](f);

	if (f->shape == FIELD_LIST)
		o = f->flags & FIELD_MAP_TOO ? any_of(list_of(o), map_of(scalar(), f)) : list_of(o);
	else if (f->shape == FIELD_EACH)
		o = map_of(o, f);
	if (!(f->flags & FIELD_REQUIRED))
		o = or_null(o);
	json_add_str(o, "description", f->doc);
	if (f->dflt && f->shape == FIELD_ONE)
		json_add_str(o, "x-default", f->dflt);
	if (f->by != BY_MAIN)
		json_add_str(o, "x-available", "not in this version");
	return o;
}

static struct json_object *requires(const char *key, size_t len)
{
	struct json_object *o = json_object_new_object();
	struct json_object *keys = json_object_new_array();

	/* Of what is no map everything holds. */
	json_add_str(o, "type", "object");
	json_object_array_add(keys, json_object_new_string_len(key, (int)len));
	json_add(o, "required", keys);
	return o;
}

/* One of the rule's keys, or at most one: then having none is a case of its own. */
static void add_rule(struct json_object *o, const struct field_group *group, bool required)
{
	struct json_object *cases = json_object_new_array();
	struct json_object *any = json_object_new_array();

	for (const char *p = group->rule.keys; *p;) {
		size_t n = strcspn(p, "|");

		json_object_array_add(cases, requires(p, n));
		json_object_array_add(any, requires(p, n));
		p += p[n] ? n + 1 : n;
	}
	if (required) {
		json_object_put(any);
	} else {
		struct json_object *some = json_object_new_object(),
				   *none = json_object_new_object();

		json_add(some, "anyOf", any);
		json_add(none, "not", some);
		json_object_array_add(cases, none);
	}
	json_add(o, "oneOf", cases);
}

/* FIELD_PARTIAL groups are used where nothing is required, so that is left to fcvm. */
static void fill_group(struct json_object *o, const struct field_group *group)
{
	struct json_object *properties = json_object_new_object();
	struct json_object *patterns = json_object_new_object();
	struct json_object *required = json_object_new_array();

	for (size_t i = 0; i < group->n; i++) {
		const struct field *f = &group->fields[i];

		if (f->type == FIELD_MISPLACED)
			continue;
		json_add(properties, f->key, schema_field(f));
		if ((f->flags & FIELD_REQUIRED) && group != &group_fleet)
			json_object_array_add(required, json_object_new_string(f->key));
	}
	json_add_str(o, "type", "object");
	json_add(o, "properties", properties);
	json_add(patterns, "^x-", json_object_new_object());
	json_add(o, "patternProperties", patterns);
	json_add_bool(o, "additionalProperties", false);
	json_add(o, "required", required);
	if (group->rule.keys)
		add_rule(o, group, group->rule.required && group != &group_baseline);
}

static struct json_object *schema_group(const struct field_group *group)
{
	struct json_object *o = json_object_new_object();

	fill_group(o, group);
	return o;
}

static void add_groups(struct json_object *defs, const struct field_group *group)
{
	for (size_t i = 0; i < group->n; i++) {
		const struct field *f = &group->fields[i];

		if (!f->group || json_object_object_get_ex(defs, f->group->name, NULL))
			continue;
		json_add(defs, f->group->name, schema_group(f->group));
		add_groups(defs, f->group);
	}
}

char *schema_fleet(void)
{
	auto_json struct json_object *o = json_object_new_object();
	struct json_object *defs = json_object_new_object();

	json_add_str(o, "$schema", "https://json-schema.org/draft/2020-12/schema");
	json_add_str(o, "title", "fcvm fleet spec v1");
	fill_group(o, &fields_top);
	json_add(defs, group_hook.name, schema_group(&group_hook));
	add_groups(defs, &fields_top);
	json_add(o, "$defs", defs);
	const char *text = json_object_to_json_string_ext(
		o,
		JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE);

	return xasprintf("%s\n", text);
}
