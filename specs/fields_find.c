/* fields_find.c - looking things up in the field tables, and saying them in words. */
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "fields.h"
#include "parse.h"
#include "strv.h"
#include "xalloc.h"

#define KEYS_MAX 64 /* no group has more rows */

const struct field *fields_find(const struct field_group *group, const char *key)
{
	for (size_t i = 0; i < group->n; i++) {
		if (strcmp(group->fields[i].key, key) == 0)
			return &group->fields[i];
	}
	return NULL;
}

const char *fields_nearest(const struct field_group *group, const char *key)
{
	const char *keys[KEYS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < group->n && n < KEYS_MAX; i++) {
		if (group->fields[i].type != FIELD_MISPLACED)
			keys[n++] = group->fields[i].key;
	}
	return strv_nearest(key, keys, n);
}

const struct field *fields_at(const char *path, enum field_class *ret_class)
{
	const struct field_group *group = &fields_top;
	enum field_class class = CLASS_CASCADE;
	const struct field *f = NULL;
	bool named = false; /* the next word is an entry's name */

	for (const char *p = path; *p;) {
		auto_free char *key = xstrndup(p, strcspn(p, "."));

		p += strlen(key);
		p += *p == '.';
		if (named) {
			named = false;
			continue;
		}
		f = group ? fields_find(group, key) : NULL;
		if (!f)
			return NULL;
		if (f->class < class)
			class = f->class;
		group = f->group;
		named = f->shape == FIELD_EACH;
	}
	if (f && ret_class)
		*ret_class = class;
	return f;
}

const char *fields_default(const char *path)
{
	const struct field *f = fields_at(path, NULL);

	return f && f->shape != FIELD_EACH ? f->dflt : NULL;
}

static const char *const type_names[FIELD_TYPES] = {
	[FIELD_TEXT] = "text",
	[FIELD_BOOL] = "true or false",
	[FIELD_INT] = "whole number",
	[FIELD_NUMBER] = "number",
	[FIELD_SIZE] = "size",
	[FIELD_DURATION] = "duration",
	[FIELD_CHOICE] = "choice",
	[FIELD_NAME] = "name",
	[FIELD_REF] = "reference",
	[FIELD_NETWORK] = "network",
	[FIELD_PATH] = "path",
	[FIELD_URL] = "URL",
	[FIELD_SHA256] = "SHA-256 digest",
	[FIELD_PERCENT] = "number or percentage",
	[FIELD_IMAGE] = "image or source",
	[FIELD_SOURCE] = "image source",
	[FIELD_HTTP] = "URL",
	[FIELD_TCP] = "address",
	[FIELD_PORT] = "port",
	[FIELD_ADDRESS] = "IP address",
	[FIELD_EGRESS] = "destination",
	[FIELD_CLONE_NAME] = "name template",
	[FIELD_CLONE_PATH] = "path template",
	[FIELD_METADATA] = "text template",
	[FIELD_ARGV] = "command",
	[FIELD_HOOK] = "hook",
	[FIELD_MOUNT] = "mount",
	[FIELD_VAR] = "text, whole number or true/false",
	[FIELD_MAP] = "map",
	[FIELD_MISPLACED] = "nothing",
};

const char *fields_type_name(const struct field *f)
{
	return type_names[f->type];
}

void fields_type_phrase(const struct field *f, struct buf *out)
{
	const char *name = fields_type_name(f);

	if (strncmp(name, "text", 4) != 0 && strncmp(name, "true", 4) != 0)
		buf_add_str(out, strchr("aeioI", name[0]) ? "an " : "a ");
	buf_add_str(out, name);
}

const char *fields_class_name(enum field_class class)
{
	static const char *const names[] = {
		[CLASS_FIXED] = "fixed",
		[CLASS_IN_PLACE] = "in place",
		[CLASS_DISTURBS] = "in place, disturbs",
		[CLASS_REPLACE] = "replace",
		[CLASS_CASCADE] = "replace with everything below",
	};

	return names[class];
}

static void add_size(uint64_t bytes, struct buf *out)
{
	char text[32];

	buf_add_str(out, format_size(bytes, text, sizeof(text)));
}

/* In the units a spec takes: 24h, not 24h0m. */
static void add_duration(uint64_t ms, struct buf *out)
{
	static const struct {
		uint64_t ms;
		const char *unit;
	} units[] = {{3600000, "h"}, {60000, "m"}, {1000, "s"}};

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (ms && ms % units[i].ms == 0) {
			buf_addf(out, "%llu%s", (unsigned long long)(ms / units[i].ms),
				 units[i].unit);
			return;
		}
	}
	buf_addf(out, "%llu%s", (unsigned long long)ms, ms ? "ms" : "s");
}

void fields_bound(const struct field *f, uint64_t value, struct buf *out)
{
	if (f->type == FIELD_SIZE)
		add_size(value, out);
	else if (f->type == FIELD_DURATION)
		add_duration(value, out);
	else if (f->type == FIELD_NUMBER)
		buf_addf(out, "%g", (double)value / 1000);
	else
		buf_addf(out, "%llu", (unsigned long long)value);
}

bool fields_has_choice(const char *choices, const char *text, size_t *ret_index)
{
	size_t len = strlen(text), index = 0;

	for (const char *p = choices; *p; index++) {
		size_t n = strcspn(p, "|");

		if (n == len && memcmp(p, text, n) == 0) {
			if (ret_index)
				*ret_index = index;
			return true;
		}
		p += p[n] ? n + 1 : n;
	}
	return false;
}

void fields_list_choices(const char *choices, struct buf *out)
{
	for (const char *p = choices; *p;) {
		size_t n = strcspn(p, "|");

		buf_add(out, p, n);
		p += n;
		if (*p && strchr(p + 1, '|'))
			buf_add_str(out, ", ");
		else if (*p)
			buf_add_str(out, " or ");
		p += *p != '\0';
	}
}

void fields_limits(const struct field *f, struct buf *out)
{
	if (f->type == FIELD_REF) {
		buf_add_str(out, "an entry of ");
		fields_list_choices(f->choices, out);
	} else if (f->type == FIELD_NETWORK) {
		fields_list_choices(f->choices, out);
		buf_add_str(out, ", or an entry of networks");
	} else if (f->choices) {
		fields_list_choices(f->choices, out);
	} else if (f->max) {
		fields_bound(f, f->min, out);
		buf_add_str(out, " to ");
		fields_bound(f, f->max, out);
	} else if (f->type == FIELD_NAME || f->type == FIELD_CLONE_NAME) {
		buf_add_str(out, "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?");
	}
}

static void visit_group(const struct field_group *group, const char *prefix, fields_visit_fn *visit,
			void *arg)
{
	for (size_t i = 0; i < group->n; i++) {
		const struct field *f = &group->fields[i];
		char path[256];
		size_t len = strlen(prefix);

		(void)snprintf(path, sizeof(path), "%s%s%s", prefix, len ? "." : "", f->key);
		if (f->shape == FIELD_EACH && f->entry) {
			len = strlen(path);
			(void)snprintf(path + len, sizeof(path) - len, ".%s", f->entry);
		}
		visit(path, f, arg);
		if (f->group && !(f->flags & FIELD_PARTIAL))
			visit_group(f->group, path, visit, arg);
	}
}

void fields_visit(fields_visit_fn *visit, void *arg)
{
	visit_group(&fields_top, "", visit, arg);
}
