#include "yaml_tree.h"

#include <errno.h>
#include <string.h>
#include <yaml.h>

#include "cleanup.h"
#include "map.h"
#include "path.h"
#include "xalloc.h"

#define STANDARD_TAG "tag:yaml.org,2002:" /* what !! stands for */
#define DIRECTIVES_MAX 100                /* libyaml compares each with all others */

struct reader {
	yaml_parser_t parser;
	struct ytree *tree;
	struct diag *diag;
	struct spec_path path;
	struct map anchors;     /* name -> struct ynode */
	uint32_t template_line; /* a problem with an unquoted template was reported on it */
};

/* One event with its place; released when it goes out of scope. */
struct event {
	yaml_event_t e;
	struct place at;
};

static void event_clear(struct event *ev)
{
	yaml_event_delete(&ev->e);
}
#define auto_event __attribute__((cleanup(event_clear)))

static struct place mark_place(yaml_mark_t mark)
{
	return (struct place){(uint32_t)mark.line + 1, (uint32_t)mark.column + 1};
}

__attribute__((format(printf, 4, 5))) static int problem(struct reader *r, struct place at,
							 const char *hint, const char *fmt, ...)
{
	auto_buf struct buf text = BUF_INIT(1024);
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	struct diag_problem p = {.class = ERR_SPEC,
				 .at = at,
				 .path = r->path.len ? r->path.text : "yaml",
				 .hint = hint};

	diag_add(r->diag, &p, "%s", buf_str(&text));
	return -EINVAL;
}

static const char quote_hint[] = "put quotes around it: \"{{...}}\"";

/* libyaml's own complaint. An unquoted template is the usual cause of strange ones. */
static int syntax_problem(struct reader *r)
{
	const yaml_parser_t *p = &r->parser;
	const char *what = p->problem ? p->problem : "cannot read it";
	struct place at = mark_place(p->problem_mark);

	r->path.len = 0;
	if (p->error == YAML_MEMORY_ERROR)
		return problem(r, at, NULL, "out of memory");
	if (p->error == YAML_READER_ERROR)
		return problem(r, diag_place(r->diag, p->problem_offset), NULL,
			       "not UTF-8 text: %s", what);
	if (r->template_line == at.line)
		return -EINVAL;
	if (diag_line_has(r->diag, at.line, "{{"))
		return problem(r, at, quote_hint, "%s; is a template not quoted?", what);
	return problem(r, at, NULL, "%s", what);
}

static int next_event(struct reader *r, struct event *ret)
{
	if (!yaml_parser_parse(&r->parser, &ret->e))
		return syntax_problem(r);
	ret->at = mark_place(ret->e.start_mark);
	return 0;
}

static int count_node(struct reader *r, struct place at, size_t text_len)
{
	r->tree->n_counted++;
	r->tree->n_text += text_len;
	if (r->tree->n_counted > YAML_NODES_MAX)
		return problem(r, at, NULL, "more than %d values, aliases expanded",
			       YAML_NODES_MAX);
	if (r->tree->n_text > YAML_TEXT_MAX)
		return problem(r, at, NULL, "more than %u bytes of text, aliases expanded",
			       YAML_TEXT_MAX);
	return 0;
}

/* Tags and anchors of an event, whichever kind it is. */
static void event_marks(const struct event *ev, const char **ret_tag, const char **ret_anchor)
{
	const yaml_event_t *e = &ev->e;

	*ret_tag = *ret_anchor = NULL;
	if (e->type == YAML_SCALAR_EVENT) {
		*ret_tag = (const char *)e->data.scalar.tag;
		*ret_anchor = (const char *)e->data.scalar.anchor;
	} else if (e->type == YAML_MAPPING_START_EVENT) {
		*ret_tag = (const char *)e->data.mapping_start.tag;
		*ret_anchor = (const char *)e->data.mapping_start.anchor;
	} else if (e->type == YAML_SEQUENCE_START_EVENT) {
		*ret_tag = (const char *)e->data.sequence_start.tag;
		*ret_anchor = (const char *)e->data.sequence_start.anchor;
	}
}

static void apply_marks(struct reader *r, const struct event *ev, struct ynode *node)
{
	static const char *const names[] = {
		[YTAG_RESET] = "!reset", [YTAG_OVERRIDE] = "!override", [YTAG_APPEND] = "!append"};
	const char *tag, *anchor;

	event_marks(ev, &tag, &anchor);
	if (anchor)
		map_set(&r->anchors, anchor, node);
	if (!tag)
		return;
	for (size_t i = YTAG_RESET; i < ARRAY_SIZE(names); i++) {
		if (strcmp(tag, names[i]) == 0)
			node->tag = (enum ynode_tag)i;
	}
	bool standard = strncmp(tag, STANDARD_TAG, strlen(STANDARD_TAG)) == 0;

	if (node->tag == YTAG_NONE)
		(void)problem(r, ev->at, NULL,
			      "tag '%s%s' is not known; there are !reset, !override and !append",
			      standard ? "!!" : "", tag + (standard ? strlen(STANDARD_TAG) : 0));
}

static int read_node(struct reader *r, const struct event *ev, int depth, struct ynode **ret);

static int read_scalar(struct reader *r, const struct event *ev, struct ynode **ret)
{
	const char *text = (const char *)ev->e.data.scalar.value;
	size_t len = ev->e.data.scalar.length;
	int err = count_node(r, ev->at, len);

	if (err < 0)
		return err;
	struct ynode *node = ynode_scalar(r->tree, text, ev->at);

	node->plain = ev->e.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	apply_marks(r, ev, node);
	if (node->len != len) {
		(void)problem(r, ev->at, NULL, "text with a NUL byte is not possible");
		node->kind = YNODE_BAD;
	}
	*ret = node;
	return 0;
}

/* The node an alias names, NULL with a problem when there is none or it is not complete. */
static struct ynode *find_anchor(struct reader *r, const struct event *ev)
{
	const char *name = (const char *)ev->e.data.alias.anchor;
	struct ynode *node = map_get(&r->anchors, name);

	if (!node)
		(void)problem(r, ev->at, NULL, "alias '*%s' has no anchor '&%s' before it", name,
			      name);
	else if (node->open)
		(void)problem(r, ev->at, NULL, "alias '*%s' stands inside its own anchor: a cycle",
			      name);
	return node && !node->open ? node : NULL;
}

static int read_alias(struct reader *r, const struct event *ev, struct ynode **ret)
{
	struct ynode *from = find_anchor(r, ev);

	if (!from) {
		*ret = ynode_new(r->tree, YNODE_BAD, ev->at);
		return count_node(r, ev->at, 0);
	}
	struct ynode *copy = ynode_copy(r->tree, from);

	if (!copy)
		return count_node(r, ev->at, 0);
	*ret = copy;
	return 0;
}

static int read_list(struct reader *r, const struct event *ev, int depth, struct ynode **ret)
{
	struct ynode *list = ynode_new(r->tree, YNODE_LIST, ev->at);
	int err = count_node(r, ev->at, 0);

	list->open = true;
	apply_marks(r, ev, list);
	while (err >= 0) {
		auto_event struct event item = {0};
		struct ynode *node;

		err = next_event(r, &item);
		if (err < 0 || item.e.type == YAML_SEQUENCE_END_EVENT)
			break;
		size_t before = path_push_index(&r->path, list->n);

		err = read_node(r, &item, depth + 1, &node);
		if (err < 0)
			break;
		path_pop(&r->path, before);
		ynode_add_item(list, node);
	}
	list->open = false;
	*ret = list;
	return err;
}

/* A key that is no scalar: usually "{{name}}" without quotes, which YAML reads as a map in a map.
 */
static int read_complex_key(struct reader *r, const struct event *map_ev, const struct event *key,
			    int depth, struct ynode *map)
{
	struct ynode *ignored;
	bool is_template = key->at.line == map_ev->at.line &&
			   strncmp(diag_source(r->diag, map_ev->at), "{{", 2) == 0;

	map->kind = YNODE_BAD;
	if (is_template && r->template_line != key->at.line)
		(void)problem(r, map_ev->at, quote_hint,
			      "'{{' without quotes is a YAML map, not a template");
	else if (!is_template)
		(void)problem(r, key->at, NULL, "a key must be plain text");
	if (is_template)
		r->template_line = key->at.line;
	auto_event struct event value = {0};
	int err = read_node(r, key, depth + 1, &ignored);

	if (err >= 0)
		err = next_event(r, &value);
	return err < 0 ? err : read_node(r, &value, depth + 1, &ignored);
}

/* Text of a key, from the event or the scalar its alias names; NULL with a problem. */
static const char *key_text(struct reader *r, const struct event *key)
{
	if (key->e.type == YAML_SCALAR_EVENT) {
		const char *text = (const char *)key->e.data.scalar.value;

		if (key->e.data.scalar.tag || key->e.data.scalar.anchor)
			(void)problem(r, key->at, NULL, "a key takes no tag and no anchor");
		return text;
	}
	struct ynode *node = find_anchor(r, key);

	if (!node)
		return "";
	if (node->kind != YNODE_SCALAR)
		(void)problem(r, key->at, NULL, "a key must be plain text");
	return node->kind == YNODE_SCALAR ? node->text : "";
}

static void add_pair(struct reader *r, struct ynode *map, const char *key, struct place at,
		     struct ynode *value)
{
	const struct ypair *first = ynode_pair(map, key);

	if (first)
		(void)problem(r, at, NULL, "duplicate key '%s', first given at %u:%u", key,
			      first->key_at.line, first->key_at.col);
	else if (map->kind == YNODE_MAP)
		ynode_add_pair(map, key, at, value);
}

static int read_pair(struct reader *r, const struct event *key, int depth, struct ynode *map,
		     struct ynode *merges)
{
	auto_free char *name = xstrdup(key_text(r, key));
	bool is_merge = key->e.type == YAML_SCALAR_EVENT && strcmp(name, "<<") == 0 &&
			key->e.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	int err = count_node(r, key->at, strlen(name));

	if (err < 0)
		return err;
	auto_event struct event value = {0};
	size_t before = path_push(&r->path, name);
	struct ynode *node = NULL;

	err = next_event(r, &value);
	if (err >= 0)
		err = read_node(r, &value, depth + 1, &node);
	if (err < 0)
		return err;
	path_pop(&r->path, before);
	add_pair(r, is_merge ? merges : map, name, key->at, node);
	return 0;
}

static void merge_map(struct reader *r, struct ynode *map, const struct ynode *from)
{
	if (from->kind == YNODE_BAD)
		return;
	if (from->kind != YNODE_MAP) {
		(void)problem(r, from->at, NULL, "'<<' wants a map or a list of maps");
		return;
	}
	for (size_t i = 0; i < from->n; i++) {
		const struct ypair *pair = &from->pairs[i];

		if (!ynode_pair(map, pair->key))
			ynode_add_pair(map, pair->key, pair->key_at, pair->value);
	}
}

/* What the map says itself wins over what is merged, earlier merges over later ones. */
static void apply_merges(struct reader *r, struct ynode *map, const struct ynode *merges)
{
	const struct ynode *from = ynode_get(merges, "<<");

	if (!from || map->kind != YNODE_MAP)
		return;
	if (from->kind != YNODE_LIST) {
		merge_map(r, map, from);
		return;
	}
	for (size_t i = 0; i < from->n; i++)
		merge_map(r, map, from->items[i]);
}

static int read_map(struct reader *r, const struct event *ev, int depth, struct ynode **ret)
{
	struct ynode *map = ynode_new(r->tree, YNODE_MAP, ev->at);
	struct ynode *merges = ynode_new(r->tree, YNODE_MAP, ev->at);
	int err = count_node(r, ev->at, 0);

	map->open = true;
	apply_marks(r, ev, map);
	while (err >= 0) {
		auto_event struct event key = {0};

		err = next_event(r, &key);
		if (err < 0 || key.e.type == YAML_MAPPING_END_EVENT)
			break;
		if (key.e.type == YAML_SCALAR_EVENT || key.e.type == YAML_ALIAS_EVENT)
			err = read_pair(r, &key, depth, map, merges);
		else
			err = read_complex_key(r, ev, &key, depth, map);
	}
	map->open = false;
	if (err >= 0)
		apply_merges(r, map, merges);
	*ret = map;
	return err;
}

static int read_node(struct reader *r, const struct event *ev, int depth, struct ynode **ret)
{
	if (depth > YAML_DEPTH_MAX)
		return problem(r, ev->at, NULL, "nested deeper than %d levels", YAML_DEPTH_MAX);
	if (ev->e.type == YAML_ALIAS_EVENT)
		return read_alias(r, ev, ret);
	if (ev->e.type == YAML_SCALAR_EVENT)
		return read_scalar(r, ev, ret);
	if (ev->e.type == YAML_SEQUENCE_START_EVENT)
		return read_list(r, ev, depth, ret);
	return read_map(r, ev, depth, ret);
}

/* Everything between the first document's start and the end of the stream. */
static int read_stream(struct reader *r)
{
	bool seen_document = false;

	for (;;) {
		auto_event struct event ev = {0};
		int err = next_event(r, &ev);

		if (err < 0 || ev.e.type == YAML_STREAM_END_EVENT)
			return err;
		if (ev.e.type == YAML_DOCUMENT_START_EVENT && seen_document)
			return problem(r, ev.at, NULL,
				       "a second document starts here; a spec is one document");
		if (ev.e.type == YAML_STREAM_START_EVENT ||
		    ev.e.type == YAML_DOCUMENT_START_EVENT || ev.e.type == YAML_DOCUMENT_END_EVENT)
			continue;
		seen_document = true;
		err = read_node(r, &ev, 1, &r->tree->root);
		if (err < 0)
			return err;
	}
}

static bool has_too_many_directives(const char *text, size_t len)
{
	size_t n = 0;

	for (const char *p = text, *end = text + len; p < end; p++) {
		n += *p == '%';
		p = memchr(p, '\n', (size_t)(end - p));
		if (!p)
			break;
	}
	return n > DIRECTIVES_MAX;
}

int ytree_parse(struct ytree *t, const char *text, size_t len, struct diag *diag)
{
	struct reader r = {.tree = t, .diag = diag};

	if (len > YAML_BYTES_MAX)
		return problem(&r, (struct place){1, 1}, NULL,
			       "the file is larger than %u bytes (1 MiB)", YAML_BYTES_MAX);
	if (has_too_many_directives(text, len))
		return problem(&r, (struct place){1, 1}, NULL, "more than %d lines begin with '%%'",
			       DIRECTIVES_MAX);
	if (!yaml_parser_initialize(&r.parser))
		return problem(&r, (struct place){1, 1}, NULL, "out of memory");
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
	int err = read_stream(&r);

	yaml_parser_delete(&r.parser);
	map_free(&r.anchors);
	if (err < 0)
		t->root = NULL;
	return err;
}

static void move_nodes(struct ytree *t, size_t first, struct place at, const char *set)
{
	for (size_t i = first; i < t->n; i++) {
		t->nodes[i]->at = at;
		t->nodes[i]->set = set;
		for (size_t k = 0; t->nodes[i]->pairs && k < t->nodes[i]->n; k++)
			t->nodes[i]->pairs[k].key_at = at;
	}
}

int ytree_parse_value(struct ytree *t, const char *text, struct place at, const char *set,
		      struct ynode **ret, struct err *err)
{
	auto_diag struct diag *diag = diag_new("--set", text, strlen(text));
	struct ynode *root = t->root;
	size_t first = t->n;

	t->root = NULL;
	int r = ytree_parse(t, text, strlen(text), diag);
	struct ynode *value = t->root;

	t->root = root;
	move_nodes(t, first, at, set);
	if (r < 0 || diag_errors(diag) || !value)
		return err_set(err, ERR_SPEC, -EINVAL, "'%.200s' is not a YAML value", text);
	*ret = value;
	return 0;
}
