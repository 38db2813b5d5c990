#include "decode.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "parse.h"
#include "xalloc.h"

__attribute__((format(printf, 5, 0))) static void report(struct decode *d, enum diag_level level,
							 struct place at, const char *set,
							 const char *fmt, va_list ap)
{
	auto_buf struct buf text = BUF_INIT(1024);
	auto_buf struct buf hint = BUF_INIT(200);
	struct diag_problem p = {.level = level, .class = ERR_SPEC, .at = at, .path = d->path.text};

	if (set) {
		buf_addf(&hint, "the value comes from --set %s", set);
		p.hint = buf_str(&hint);
	}
	buf_vaddf(&text, fmt, ap);
	diag_add(d->diag, &p, "%s", buf_str(&text));
}

int decode_fail(struct decode *d, struct ynode *node, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(d, DIAG_ERROR, node->at, node->set, fmt, ap);
	va_end(ap);
	node->kind = YNODE_BAD;
	return -1;
}

int decode_fail_at(struct decode *d, struct place at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(d, DIAG_ERROR, at, NULL, fmt, ap);
	va_end(ap);
	return -1;
}

void decode_warn(struct decode *d, struct place at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(d, DIAG_WARNING, at, NULL, fmt, ap);
	va_end(ap);
}

int decode_expected(struct decode *d, struct ynode *node, const char *wanted)
{
	static const char *const kinds[] = {
		[YNODE_SCALAR] = "text", [YNODE_MAP] = "a map", [YNODE_LIST] = "a list"};

	if (node->kind == YNODE_BAD)
		return -1;
	if (ynode_is_empty(node))
		return decode_fail(d, node, "expected %s, got nothing", wanted);
	if (node->kind == YNODE_SCALAR)
		return decode_fail(d, node, "expected %s, got '%.100s'", wanted, node->text);
	return decode_fail(d, node, "expected %s, got %s", wanted, kinds[node->kind]);
}

void decode_refuse(struct decode *d, struct ynode *node, struct place at)
{
	struct fleet *fleet = d->fleet;

	if (node->refused)
		return;
	node->refused = true;
	fleet->refusals = xgrow(fleet->refusals, &fleet->cap_refusals, fleet->n_refusals + 1,
				sizeof(*fleet->refusals));
	fleet->refusals[fleet->n_refusals++] =
		(struct refusal){.at = at, .path = xstrdup(d->path.text)};
}

static bool is_extension(const char *key)
{
	return strncmp(key, "x-", 2) == 0;
}

static void unknown_key(struct decode *d, const struct field_group *group, struct ypair *pair)
{
	const char *near = fields_nearest(group, pair->key);
	auto_free char *where = d->path.len ? xasprintf(" in %s", d->path.text)
					    : xstrdup(" at the top of the spec");
	size_t before = path_push(&d->path, pair->key);

	(void)decode_fail_at(d, pair->key_at, "unknown key '%.60s'%s%s%s%s", pair->key, where,
			     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	path_pop(&d->path, before);
}

static void *slot_of(const struct field *f, void *dst)
{
	return dst && f->offset ? (char *)dst + f->offset - 1 : NULL;
}

static void store_place(const struct field *f, struct place at, void *dst)
{
	if (dst && f->at)
		memcpy((char *)dst + f->at - 1, &at, sizeof(at));
}

/* Leaf fields of later pieces of work are noted; maps are refused by what is in them. */
static void refuse_if_later(struct decode *d, const struct field *f, struct ypair *pair)
{
	if (f->type != FIELD_MAP && (f->by != BY_MAIN || d->later))
		decode_refuse(d, pair->value, pair->key_at);
}

/* Checking such a field again, for the next entry that shares a default, finds nothing new. */
static bool stores_nothing(const struct field *f)
{
	return !f->offset && !(f->flags & FIELD_INLINE) && f->type != FIELD_METADATA &&
	       f->type != FIELD_CLONE_NAME;
}

static void decode_pair(struct decode *d, const struct field *f, struct ypair *pair, void *dst)
{
	struct ynode *node = pair->value;
	size_t before = path_push(&d->path, f->key);

	if (f->type == FIELD_MISPLACED) {
		(void)decode_fail_at(d, pair->key_at, "%s", f->doc);
	} else if (!ynode_is_null(node) && node->kind != YNODE_BAD && d->kept <= DECODE_KEPT_MAX) {
		refuse_if_later(d, f, pair);
		store_place(f, node->at, dst);
		if (!node->checked || !stores_nothing(f))
			(void)decode_value(d, f, node, dst);
		node->checked = true;
	}
	path_pop(&d->path, before);
}

/* Fields nobody wrote: required ones are missing, others get their default. */
static void decode_absent(struct decode *d, const struct field *f, struct place at, void *dst)
{
	size_t before = path_push(&d->path, f->key);

	if ((f->flags & FIELD_REQUIRED) && !d->partial)
		(void)decode_fail_at(d, at, "required, but not given");
	if (dst && f->type == FIELD_MAP && f->shape == FIELD_ONE && (f->flags & FIELD_INLINE))
		(void)decode_group(d, f->group, NULL, dst);
	else if (dst && f->type == FIELD_MAP && f->shape == FIELD_ONE && f->offset)
		(void)decode_group(d, f->group, NULL, slot_of(f, dst));
	else if (dst && f->offset && f->dflt && f->shape == FIELD_ONE) {
		struct ynode node = {.kind = YNODE_SCALAR, .plain = true};
		auto_free char *text = xstrdup(f->dflt);

		node.text = text;
		node.len = strlen(text);
		(void)decode_one(d, f, &node, slot_of(f, dst));
	}
	path_pop(&d->path, before);
}

static void check_rule(struct decode *d, const struct field_rule *rule, struct ynode *node,
		       struct place at)
{
	const char *first = NULL;
	auto_buf struct buf list = BUF_INIT(200);

	fields_list_choices(rule->keys, &list);
	for (size_t i = 0; i < node->n; i++) {
		struct ypair *pair = &node->pairs[i];

		if (ynode_is_null(pair->value) || !fields_has_choice(rule->keys, pair->key, NULL))
			continue;
		if (first) {
			size_t before = path_push(&d->path, pair->key);

			(void)decode_fail_at(d, pair->key_at,
					     "cannot stand beside '%s': give only one of %s", first,
					     buf_str(&list));
			path_pop(&d->path, before);
		}
		first = pair->key;
	}
	if (!first && rule->required && !d->partial)
		(void)decode_fail_at(d, at, "give one of %s", buf_str(&list));
}

static bool is_early(const struct decode *d, const struct field_group *group, const struct field *f)
{
	return group == &fields_top && (f->flags & FIELD_EARLY) && !d->early;
}

int decode_group(struct decode *d, const struct field_group *group, struct ynode *node, void *dst)
{
	struct ynode nothing = {.kind = YNODE_MAP};
	bool absent = !node;
	struct place at = d->at;

	if (absent)
		node = &nothing;
	else if (ynode_is_empty(node))
		node->kind = YNODE_MAP;
	if (node->kind != YNODE_MAP)
		return decode_expected(d, node, "a map");
	for (size_t i = 0; i < node->n; i++) {
		struct ypair *pair = &node->pairs[i];
		const struct field *f = fields_find(group, pair->key);

		d->at = pair->key_at;
		if (f && !is_early(d, group, f))
			decode_pair(d, f, pair, dst);
		else if (!f && !is_extension(pair->key))
			unknown_key(d, group, pair);
	}
	bool partial = d->partial;

	d->partial = partial || absent;
	for (size_t i = 0; i < group->n; i++) {
		const struct field *f = &group->fields[i];

		if (ynode_is_null(ynode_get(node, f->key)) && !is_early(d, group, f))
			decode_absent(d, f, at, dst);
	}
	if (group->rule.keys)
		check_rule(d, &group->rule, node, at);
	d->partial = partial;
	return 0;
}

static int decode_map(struct decode *d, const struct field *f, struct ynode *node, void *dst)
{
	bool partial = d->partial;
	void *inside = f->flags & FIELD_INLINE ? dst : slot_of(f, dst);

	d->partial = partial || (f->flags & FIELD_PARTIAL);
	int r = decode_group(d, f->group, node, inside);

	d->partial = partial;
	return r;
}

static int decode_list(struct decode *d, const struct field *f, struct ynode *node, void *dst)
{
	struct strv *list = slot_of(f, dst);
	int r = 0;

	if (node->kind == YNODE_MAP && (f->flags & FIELD_MAP_TOO))
		return decode_one(d, f, node, NULL);
	if (ynode_is_empty(node))
		return 0;
	if (node->kind != YNODE_LIST)
		return decode_expected(d, node, "a list");
	for (size_t i = 0; i < node->n; i++) {
		size_t before = path_push_index(&d->path, i);
		char *text = NULL;

		if (decode_one(d, f, node->items[i], list ? &text : NULL) < 0)
			r = -1;
		if (list && text)
			strv_add_take(list, text);
		path_pop(&d->path, before);
	}
	return r;
}

static bool key_is_fine(enum field_key_rule rule, const char *key)
{
	size_t len = strlen(key);

	if (rule == KEY_NAME)
		return parse_is_name(key);
	if (rule == KEY_VAR)
		return vars_is_name(key);
	if (rule == KEY_INDEX)
		return parse_u64(key, 0, 99999, &(uint64_t){0}, NULL) >= 0;
	if (rule == KEY_ENVIRONMENT && strchr(key, '='))
		return false;
	return len > 0 && len <= 256;
}

int decode_check_key(struct decode *d, const struct field *f, const struct ypair *pair)
{
	static const char *const wanted[] = {
		[KEY_NAME] = "a name of at most 63 of a-z, 0-9 and '-'",
		[KEY_VAR] = "a name of a-z, 0-9 and '_' that starts with a letter",
		[KEY_ENVIRONMENT] = "a name of 1 to 256 bytes without '='",
		[KEY_TEXT] = "a key of 1 to 256 bytes",
		[KEY_INDEX] = "the number of a clone, 0 to 99999",
	};

	if (key_is_fine(f->key_rule, pair->key))
		return 0;
	return decode_fail_at(d, pair->key_at, "expected %s, got '%.100s'", wanted[f->key_rule],
			      pair->key);
}

/* A map of texts: "K=V" sorted by key. */
static int decode_each(struct decode *d, const struct field *f, struct ynode *node, void *dst)
{
	struct strv *list = slot_of(f, dst);

	if (ynode_is_empty(node))
		return 0;
	if (node->kind != YNODE_MAP)
		return decode_expected(d, node, "a map");
	for (size_t i = 0; i < node->n; i++) {
		struct ypair *pair = &node->pairs[i];
		size_t before = path_push(&d->path, pair->key);
		char *text = NULL;

		if (decode_check_key(d, f, pair) >= 0 && !ynode_is_null(pair->value) &&
		    decode_one(d, f, pair->value, list ? &text : NULL) >= 0 && text)
			decode_keep_pair(d, list, pair->key, text);
		free(text);
		path_pop(&d->path, before);
	}
	if (list)
		strv_sort(list);
	return 0;
}

static const struct {
	decode_fn *one;
	bool whole; /* takes the struct and every shape */
} handlers[FIELD_TYPES] = {
	[FIELD_TEXT] = {decode_plain_text, false},
	[FIELD_BOOL] = {decode_bool, false},
	[FIELD_INT] = {decode_int, false},
	[FIELD_NUMBER] = {decode_number, false},
	[FIELD_SIZE] = {decode_size, false},
	[FIELD_DURATION] = {decode_duration, false},
	[FIELD_CHOICE] = {decode_choice, false},
	[FIELD_NAME] = {decode_shaped, false},
	[FIELD_REF] = {decode_ref, false},
	[FIELD_NETWORK] = {decode_network, false},
	[FIELD_PATH] = {decode_path, false},
	[FIELD_URL] = {decode_shaped, false},
	[FIELD_SHA256] = {decode_shaped, false},
	[FIELD_PERCENT] = {decode_shaped, false},
	[FIELD_IMAGE] = {decode_image, false},
	[FIELD_SOURCE] = {decode_source, false},
	[FIELD_HTTP] = {decode_shaped, false},
	[FIELD_TCP] = {decode_shaped, false},
	[FIELD_PORT] = {decode_ports, true},
	[FIELD_ADDRESS] = {decode_shaped, false},
	[FIELD_EGRESS] = {decode_shaped, false},
	[FIELD_CLONE_NAME] = {decode_clone_name, true},
	[FIELD_METADATA] = {decode_metadata, true},
	[FIELD_ARGV] = {decode_argv, false},
	[FIELD_HOOK] = {decode_hooks, true},
	[FIELD_MOUNT] = {decode_mounts, true},
	[FIELD_CLONE_PATH] = {decode_clone_path, true},
	[FIELD_VAR] = {decode_vars, true},
	[FIELD_MAP] = {decode_map, true},
};

int decode_one(struct decode *d, const struct field *f, struct ynode *node, void *slot)
{
	if (node->kind == YNODE_BAD)
		return -1;
	return handlers[f->type].one(d, f, node, slot);
}

int decode_value(struct decode *d, const struct field *f, struct ynode *node, void *dst)
{
	if (f->type == FIELD_MAP && f->shape == FIELD_EACH)
		return decode_entries(d, f, node, dst);
	if (f->type == FIELD_MAP && f->shape == FIELD_LIST)
		return decode_items(d, f, node, dst);
	if (handlers[f->type].whole)
		return decode_one(d, f, node, dst);
	if (f->shape == FIELD_LIST)
		return decode_list(d, f, node, dst);
	if (f->shape == FIELD_EACH)
		return decode_each(d, f, node, dst);
	return decode_one(d, f, node, slot_of(f, dst));
}

int decode_early(struct decode *d, const char *key)
{
	const struct field *f = fields_find(&fields_top, key);
	struct ypair *pair = ynode_pair(d->root, key);

	d->at = d->root->at;
	d->early = true;
	if (pair && !ynode_is_null(pair->value)) {
		d->at = pair->key_at;
		decode_pair(d, f, pair, d->fleet);
	} else {
		decode_absent(d, f, d->root->at, d->fleet);
	}
	d->early = false;
	return 0;
}
