/* set.c - `--set PATH=VALUE`: any path of the spec, typed by the field tables like the file. */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "decode.h"
#include "xalloc.h"

struct setter {
	struct decode *d;
	const char *arg; /* PATH=VALUE */
	const char *value;
	char *rest;      /* what is left of PATH */
	struct place at; /* of the nearest thing in the file */
};

static char *next_key(struct setter *s)
{
	return s->rest ? strsep(&s->rest, ".") : NULL;
}

static void fail_unknown(struct setter *s, const struct field_group *group, const char *key)
{
	struct decode *d = s->d;
	const char *near = fields_nearest(group, key);
	size_t before = path_push(&d->path, key);
	char *parent = xstrndup(d->path.text, before);

	(void)decode_fail_at(d, s->at, "--set %s: unknown path%s%s%s%s%s", s->arg,
			     near ? "; did you mean '" : "", near ? parent : "",
			     near && before ? "." : "", near ? near : "", near ? "'?" : "");
	path_pop(&d->path, before);
	free(parent);
}

/* The value as a node; lists and maps are written as YAML. */
static struct ynode *make_value(struct setter *s, const struct field *f, bool whole)
{
	struct decode *d = s->d;
	bool is_yaml = whole && (f->shape != FIELD_ONE || f->type == FIELD_MAP);
	struct ynode *node = NULL;
	struct err err = {0};

	if (f->type == FIELD_ARGV && s->value[0] == '[')
		is_yaml = true;
	if (!is_yaml) {
		node = ynode_scalar(d->tree, s->value, s->at);
		node->plain = s->value[0] != '\0';
		node->set = s->arg;
		return node;
	}
	if (ytree_parse_value(d->tree, s->value, s->at, s->arg, &node, &err) < 0)
		(void)decode_fail_at(d, s->at, "--set %s: %s", s->arg, err.msg);
	return node;
}

static void put_value(struct setter *s, struct ynode *map, const char *key, const struct field *f,
		      bool whole)
{
	struct ypair *pair = ynode_pair(map, key);

	if (pair)
		s->at = pair->value->at;
	struct ynode *node = make_value(s, f, whole);

	if (!node)
		return;
	node->added = !pair;
	if (pair)
		pair->value = node;
	else
		ynode_add_pair(map, key, s->at, node);
}

/* The map below key, made when it is not there; NULL when something else is. */
static struct ynode *step_into(struct setter *s, struct ynode *map, const char *key)
{
	struct ypair *pair = ynode_pair(map, key);

	if (pair)
		s->at = pair->key_at;
	if (pair && !ynode_is_null(pair->value) && !ynode_is_empty(pair->value))
		return pair->value->kind == YNODE_MAP ? pair->value : NULL;
	struct ynode *made = ynode_new(s->d->tree, YNODE_MAP, s->at);

	if (pair)
		pair->value = made;
	else
		ynode_add_pair(map, key, s->at, made);
	return made;
}

static bool entry_exists(struct setter *s, const struct field *f, const struct ynode *map,
			 const char *key)
{
	struct decode *d = s->d;
	auto_buf struct buf list = BUF_INIT(400);
	bool is_section = d->path.len == strlen(f->key);

	if (!ynode_is_null(ynode_get(map, key)) || (is_section && decode_exists(d, f->key, key)))
		return true;
	for (size_t i = 0; i < map->n; i++)
		buf_addf(&list, "%s%s", i ? ", " : "there are: ", map->pairs[i].key);
	(void)decode_fail_at(d, s->at, "--set %s: no '%.100s' here; %s", s->arg, key,
			     map->n ? buf_str(&list) : "there are none");
	return false;
}

static void walk(struct setter *s, const struct field_group *group, struct ynode *map);

/* A map of any keys: the rest of the path is the key when texts are in it. */
static void walk_each(struct setter *s, const struct field *f, struct ynode *map)
{
	if (f->type != FIELD_MAP) {
		put_value(s, map, s->rest, f, false);
		return;
	}
	const char *key = next_key(s);

	if (!entry_exists(s, f, map, key))
		return;
	struct ynode *entry = step_into(s, map, key);
	size_t before = path_push(&s->d->path, key);

	if (entry && s->rest)
		walk(s, f->group, entry);
	else if (entry)
		(void)decode_fail_at(s->d, s->at, "--set %s: name one of its fields", s->arg);
	path_pop(&s->d->path, before);
}

static void walk(struct setter *s, const struct field_group *group, struct ynode *map)
{
	struct decode *d = s->d;
	const char *key = next_key(s);
	const struct field *f = fields_find(group, key);

	if (!f) {
		fail_unknown(s, group, key);
		return;
	}
	size_t before = path_push(&d->path, key);

	if (!s->rest) {
		put_value(s, map, key, f, true);
	} else if (f->shape == FIELD_EACH || (f->type == FIELD_MAP && f->shape == FIELD_ONE)) {
		struct ynode *inside = step_into(s, map, key);

		if (inside && f->shape == FIELD_EACH)
			walk_each(s, f, inside);
		else if (inside)
			walk(s, f->group, inside);
	} else {
		auto_buf struct buf what = BUF_INIT(100);

		fields_type_phrase(f, &what);
		(void)decode_fail_at(d, s->at, "--set %s: nothing is below it: it is %s%s", s->arg,
				     f->shape == FIELD_LIST ? "a list, set it as a whole: " : "",
				     f->shape == FIELD_LIST ? "[...]" : buf_str(&what));
	}
	path_pop(&d->path, before);
}

static void set_one(struct decode *d, const char *arg)
{
	const char *equals = strchr(arg, '=');
	struct setter s = {.d = d, .arg = arg, .at = d->root->at};

	size_t before = path_push(&d->path, "--set");

	if (!diag_is_clean(arg) || strlen(arg) > DECODE_TEXT_MAX)
		(void)decode_fail_at(d, s.at, "expected at most %d bytes of UTF-8 text",
				     DECODE_TEXT_MAX);
	else if (!equals || equals == arg)
		(void)decode_fail_at(d, s.at, "expected PATH=VALUE, got '%.100s'", arg);
	path_pop(&d->path, before);
	if (!equals || equals == arg || !diag_is_clean(arg) || strlen(arg) > DECODE_TEXT_MAX)
		return;
	auto_free char *path = xstrndup(arg, (size_t)(equals - arg));

	s.rest = path;
	s.value = equals + 1;
	walk(&s, &fields_top, d->root);
}

void set_apply(struct decode *d, const struct strv *sets)
{
	for (size_t i = 0; sets && i < sets->n; i++)
		set_one(d, sets->v[i]);
}

/* A variable that only --set knows and nothing uses is a typing mistake. */
void set_check_used(struct decode *d)
{
	for (size_t i = 0; i < d->vars.n; i++) {
		const struct var *var = &d->vars.v[i];
		auto_buf struct buf list = BUF_INIT(400);

		if (!var->added || var->used)
			continue;
		for (size_t k = 0; k < d->vars.n; k++) {
			if (k != i)
				buf_addf(&list, "%s%s", list.len ? ", " : "", d->vars.v[k].name);
		}
		size_t before = path_push(&d->path, "vars");

		(void)path_push(&d->path, var->name);
		(void)decode_fail_at(d, var->at, "--set %s: no template uses it; %s%s", var->set,
				     list.len ? "there are: " : "there are no others",
				     buf_str(&list));
		path_pop(&d->path, before);
	}
}
