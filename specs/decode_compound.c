/* decode_compound.c - types that are lists or maps in the spec: commands, hooks, entries. */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "decode.h"
#include "fields_tables.h"
#include "parse.h"
#include "xalloc.h"

static int argv_words(struct decode *d, struct ynode *node, struct strv *argv)
{
	struct err err = {0};

	if (parse_words(node->text, argv, &err) < 0)
		return decode_fail(d, node, "%s", err.msg);
	return 0;
}

/* Words of a command belong to the guest: "{{" in them is no template of ours. */
static int argv_list(struct decode *d, struct ynode *node, struct strv *argv)
{
	int r = 0;

	for (size_t i = 0; i < node->n; i++) {
		struct ynode *word = node->items[i];
		size_t before = path_push_index(&d->path, i);

		if (word->kind != YNODE_SCALAR || ynode_is_empty(word))
			r = decode_expected(d, word, "text");
		else if (word->len > DECODE_TEXT_MAX)
			r = decode_fail(d, word, "expected at most %d bytes, got %zu",
					DECODE_TEXT_MAX, word->len);
		else
			strv_add(argv, word->text);
		path_pop(&d->path, before);
	}
	return r;
}

int decode_argv(struct decode *d, const struct field *f, struct ynode *node, void *slot)
{
	auto_strv struct strv argv = {0};
	struct strv *list = slot;
	int r;

	(void)f;
	if (node->kind == YNODE_SCALAR && !ynode_is_empty(node) && node->len <= DECODE_TEXT_MAX)
		r = argv_words(d, node, &argv);
	else if (node->kind == YNODE_LIST)
		r = argv_list(d, node, &argv);
	else
		r = decode_expected(d, node, "a command: text or a list of texts");
	if (r < 0)
		return r;
	if (argv.n == 0)
		return decode_fail(d, node, "expected a command, got an empty one");
	for (size_t i = 0; list && i < argv.n; i++)
		strv_add_take(list, decode_keep(d, argv.v[i]));
	return 0;
}

static int decode_hook(struct decode *d, struct ynode *node, struct hook_spec *hook)
{
	const struct field *run = fields_find(&group_hook, "run");

	hook->at = node->at;
	if (node->kind == YNODE_MAP) {
		struct place at = d->at;

		d->at = node->at;
		int r = decode_group(d, &group_hook, node, hook);

		d->at = at;
		return r;
	}
	if (node->kind != YNODE_LIST)
		return decode_expected(d, node,
				       "a hook: [PROGRAM, ARGUMENT...] or {container, run}");
	(void)decode_group(d, &group_hook, NULL, hook);
	return decode_argv(d, run, node, &hook->argv);
}

/* dst is the struct: the array and its count go to f->offset and f->count. */
int decode_hooks(struct decode *d, const struct field *f, struct ynode *node, void *dst)
{
	if (ynode_is_empty(node))
		return 0;
	if (node->kind != YNODE_LIST)
		return decode_expected(d, node, "a list of hooks");
	struct hook_spec *hooks = xcalloc(node->n + 1, sizeof(*hooks));

	for (size_t i = 0; i < node->n; i++) {
		size_t before = path_push_index(&d->path, i);

		if (node->items[i]->kind != YNODE_BAD)
			(void)decode_hook(d, node->items[i], &hooks[i]);
		path_pop(&d->path, before);
	}
	if (dst && f->offset) {
		memcpy((char *)dst + f->offset - 1, &hooks, sizeof(struct hook_spec *));
		memcpy((char *)dst + f->count - 1, &node->n, sizeof(size_t));
		return 0;
	}
	fleet_free_hooks(hooks, node->n);
	return 0;
}

/* Entries begin with their name and place, whatever they are. */
struct entry_head {
	char *name;
	struct place at;
};

static void decode_entry(struct decode *d, const struct field *f, struct ypair *pair, void *entry)
{
	size_t before = path_push(&d->path, pair->key);
	const char *outer = d->entry;
	struct entry_head head = {.at = pair->key_at};

	d->at = pair->key_at;
	d->entry = pair->key;
	if (decode_check_key(d, f, pair) >= 0 && pair->value->kind != YNODE_BAD) {
		head.name = entry ? decode_keep(d, pair->key) : NULL;
		if (entry)
			memcpy(entry, &head, sizeof(head));
		(void)decode_group(d, f->group, pair->value, entry);
	}
	d->entry = outer;
	path_pop(&d->path, before);
}

static bool is_entry(const struct ypair *pair)
{
	return strncmp(pair->key, "x-", 2) != 0 && !ynode_is_null(pair->value);
}

static char *make_room(const struct field *f, const struct ynode *node, void *dst)
{
	char *array = xcalloc(node->n + 1, f->entry_size);
	size_t n = 0;

	for (size_t i = 0; i < node->n; i++)
		n += is_entry(&node->pairs[i]);
	memcpy((char *)dst + f->offset - 1, &array, sizeof(char *));
	memcpy((char *)dst + f->count - 1, &n, sizeof(size_t));
	return array;
}

static void *entry_slot(const struct field *f, void *dst, char *array, size_t index)
{
	if (array)
		return array + index * f->entry_size;
	/* Without a count there is room for one. */
	return dst && f->offset && index == 0 ? (char *)dst + f->offset - 1 : NULL;
}

int decode_entries(struct decode *d, const struct field *f, struct ynode *node, void *dst)
{
	bool partial = d->partial, later = d->later;
	char *array = NULL;
	size_t index = 0;

	if (ynode_is_empty(node))
		return 0;
	if (node->kind != YNODE_MAP)
		return decode_expected(d, node, "a map");
	if (dst && f->offset && f->count)
		array = make_room(f, node, dst);
	d->partial = (f->flags & FIELD_PARTIAL) != 0;
	d->later = later || (f->flags & FIELD_LATER);
	for (size_t i = 0; i < node->n; i++) {
		struct ypair *pair = &node->pairs[i];

		if (!is_entry(pair))
			continue;
		if (index > 0 && (f->flags & FIELD_SEVERAL_LATER)) {
			size_t before = path_push(&d->path, pair->key);

			decode_refuse(d, pair->value, pair->key_at);
			path_pop(&d->path, before);
		}
		decode_entry(d, f, pair, entry_slot(f, dst, array, index++));
	}
	d->partial = partial;
	d->later = later;
	return 0;
}

int decode_items(struct decode *d, const struct field *f, struct ynode *node, void *dst)
{
	(void)dst;
	if (ynode_is_empty(node))
		return 0;
	if (node->kind != YNODE_LIST)
		return decode_expected(d, node, "a list");
	for (size_t i = 0; i < node->n; i++) {
		size_t before = path_push_index(&d->path, i);

		d->at = node->items[i]->at;
		if (node->items[i]->kind != YNODE_BAD)
			(void)decode_group(d, f->group, node->items[i], NULL);
		path_pop(&d->path, before);
	}
	return 0;
}
