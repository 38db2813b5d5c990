/* decode_template.c - variables, and what is expanded for each clone: names, metadata, ports. */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "decode.h"
#include "fields_tables.h"
#include "xalloc.h"

/* They are expanded for every clone whenever the spec is read. */
#define NAME_TEXT_MAX 1024
#define NAME_COST_MAX 24
#define PORTS_MAX 64 /* of one clone */

/* The environment is not read while checking: 1 stands for the value and fits wherever one does. */
static void add_env_var(struct decode *d, const char *name, struct ynode *node)
{
	const struct ynode *value = ynode_get(node, "default");
	bool given = value && value->kind == YNODE_SCALAR;

	(void)vars_add(&d->vars, name, given ? value->text : "1", !given || value->plain);
}

static void decode_var(struct decode *d, const struct field *f, struct ypair *pair)
{
	struct ynode *node = pair->value;

	d->at = pair->key_at;
	if (decode_check_key(d, f, pair) < 0)
		return;
	if (node->kind == YNODE_MAP) {
		if (!ynode_pair(node, "from_env"))
			(void)decode_fail_at(d, pair->key_at, "give a value, or from_env");
		(void)decode_group(d, &group_var, node, NULL);
		add_env_var(d, pair->key, node);
		return;
	}
	auto_free char *text = decode_text(d, f, node);

	/* A broken variable still exists: its uses are not wrong as well. */
	struct var *var = vars_add(&d->vars, pair->key, text ? text : "1", !text || node->plain);

	var->at = pair->key_at;
	var->set = node->set;
	var->added = node->added;
}

int decode_vars(struct decode *d, const struct field *f, struct ynode *node, void *dst)
{
	(void)dst;
	if (ynode_is_empty(node))
		return 0;
	if (node->kind != YNODE_MAP)
		return decode_expected(d, node, "a map");
	for (size_t i = 0; i < node->n; i++) {
		struct ypair *pair = &node->pairs[i];
		size_t before = path_push(&d->path, pair->key);

		if (strncmp(pair->key, "x-", 2) != 0 && !ynode_is_null(pair->value) &&
		    pair->value->kind != YNODE_BAD)
			decode_var(d, f, pair);
		path_pop(&d->path, before);
	}
	return 0;
}

/* A template that is cheap to expand. */
static int decode_cheap(struct decode *d, struct ynode *node, const char *what, unsigned int names,
			struct template **ret)
{
	auto_template struct template *t = NULL;

	if (node->kind != YNODE_SCALAR || ynode_is_empty(node))
		return decode_expected(d, node, what);
	if (decode_template(d, node, names, &t) < 0)
		return -1;
	if (template_cost(t) > NAME_COST_MAX || strlen(template_text(t)) > NAME_TEXT_MAX)
		return decode_fail(d, node,
				   "expected at most %d bytes and %d operations, with variables "
				   "written out",
				   NAME_TEXT_MAX, NAME_COST_MAX);
	*ret = TAKE_PTR(t);
	return 0;
}

int decode_clone_name(struct decode *d, const struct field *f, struct ynode *node, void *dst)
{
	struct fleet_spec *fleet = dst;
	auto_template struct template *t = NULL;

	(void)f;
	if (decode_cheap(d, node, "a name template", TEMPLATE_INDEX | TEMPLATE_FLEET, &t) < 0)
		return -1;
	if (!fleet)
		return 0;
	fleet->name_template = decode_keep(d, template_text(t));
	fleet->name_compiled = TAKE_PTR(t);
	return 0;
}

int decode_clone_path(struct decode *d, const struct field *f, struct ynode *node, void *dst)
{
	struct volume_spec *volume = dst;
	auto_template struct template *t = NULL;

	(void)f;
	if (decode_cheap(d, node, "a path", TEMPLATE_INDEX | TEMPLATE_FLEET | TEMPLATE_CLONE, &t) <
	    0)
		return -1;
	if (!volume)
		return 0;
	volume->source = decode_keep(d, template_text(t));
	volume->source_compiled = TAKE_PTR(t);
	return 0;
}

struct metadata_item {
	const char *key;
	struct ynode *value;
};

static int by_key(const void *a, const void *b)
{
	const struct metadata_item *x = a, *y = b;

	return strcmp(x->key, y->key);
}

static void decode_metadata_item(struct decode *d, const struct metadata_item *item,
				 struct fleet_spec *fleet)
{
	auto_template struct template *t = NULL;
	struct ynode *node = item->value;

	if (node->kind == YNODE_BAD)
		return;
	if (node->kind != YNODE_SCALAR || ynode_is_empty(node)) {
		(void)decode_expected(d, node, "text");
		return;
	}
	if (decode_template(d, node, TEMPLATE_INDEX | TEMPLATE_FLEET | TEMPLATE_CLONE, &t) < 0 ||
	    !fleet)
		return;
	size_t n = fleet->metadata_keys.n;

	strv_add_take(&fleet->metadata_keys, decode_keep(d, item->key));
	strv_add_take(&fleet->metadata_values, decode_keep(d, template_text(t)));
	fleet->metadata_compiled[n] = TAKE_PTR(t);
}

int decode_metadata(struct decode *d, const struct field *f, struct ynode *node, void *dst)
{
	struct fleet_spec *fleet = dst;
	size_t n = 0;

	if (ynode_is_empty(node))
		return 0;
	if (node->kind != YNODE_MAP)
		return decode_expected(d, node, "a map");
	auto_free struct metadata_item *items = xcalloc(node->n + 1, sizeof(*items));

	for (size_t i = 0; i < node->n; i++) {
		struct ypair *pair = &node->pairs[i];
		size_t before = path_push(&d->path, pair->key);

		if (decode_check_key(d, f, pair) >= 0 && !ynode_is_null(pair->value))
			items[n++] = (struct metadata_item){pair->key, pair->value};
		path_pop(&d->path, before);
	}
	qsort(items, n, sizeof(*items), by_key);
	if (fleet)
		fleet->metadata_compiled = xcalloc(n + 1, sizeof(struct template *));
	for (size_t i = 0; i < n; i++) {
		size_t before = path_push(&d->path, items[i].key);

		decode_metadata_item(d, &items[i], fleet);
		path_pop(&d->path, before);
	}
	return 0;
}

static int decode_port(struct decode *d, struct ynode *node, struct port_spec *ret)
{
	auto_template struct template *t = NULL;
	auto_free char *text = NULL;
	struct port first;
	struct err err = {0};

	if (node->kind == YNODE_BAD ||
	    decode_cheap(d, node, "a port", TEMPLATE_INDEX | TEMPLATE_FLEET | TEMPLATE_CLONE, &t) <
		    0)
		return -1;
	/* The others are looked at once it is known how many there are: check_ports(). */
	if (template_expand(t, &decode_sample, &text, &err) < 0 ||
	    port_parse(text, &first, &err) < 0)
		return decode_fail(d, node, "%s", err.msg);
	*ret = (struct port_spec){.at = node->at, .text = decode_keep(d, template_text(t))};
	ret->compiled = TAKE_PTR(t);
	return 0;
}

int decode_ports(struct decode *d, const struct field *f, struct ynode *node, void *dst)
{
	struct fleet_spec *fleet = dst;
	size_t n = 0;

	(void)f;
	if (ynode_is_empty(node))
		return 0;
	if (node->kind != YNODE_LIST)
		return decode_expected(d, node, "a list");
	if (node->n > PORTS_MAX)
		return decode_fail(d, node, "expected at most %d ports, got %zu", PORTS_MAX,
				   node->n);
	struct port_spec *ports = xcalloc(node->n + 1, sizeof(*ports));

	for (size_t i = 0; i < node->n; i++) {
		size_t before = path_push_index(&d->path, i);

		n += decode_port(d, node->items[i], &ports[n]) >= 0;
		path_pop(&d->path, before);
	}
	if (!fleet) {
		fleet_free_ports(ports, n);
		return 0;
	}
	fleet->ports = ports;
	fleet->n_ports = n;
	return 0;
}
