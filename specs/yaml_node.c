/* yaml_node.c - nodes of a tree: making, copying, looking up, freeing. */
#include <stdlib.h>
#include <string.h>

#include "xalloc.h"
#include "yaml_tree.h"

static void node_free(struct ynode *node)
{
	if (node->pairs) {
		for (size_t i = 0; i < node->n; i++)
			free(node->pairs[i].key);
	}
	free(node->pairs);
	free(node->items);
	free(node->text);
	free(node);
}

void ytree_free(struct ytree *t)
{
	for (size_t i = 0; i < t->n; i++)
		node_free(t->nodes[i]);
	free(t->nodes);
	*t = (struct ytree){0};
}

struct ynode *ynode_new(struct ytree *t, enum ynode_kind kind, struct place at)
{
	struct ynode *node = xcalloc(1, sizeof(*node));

	node->kind = kind;
	node->at = at;
	t->nodes = xgrow(t->nodes, &t->cap, t->n + 1, sizeof(struct ynode *));
	t->nodes[t->n++] = node;
	return node;
}

struct ynode *ynode_scalar(struct ytree *t, const char *text, struct place at)
{
	struct ynode *node = ynode_new(t, YNODE_SCALAR, at);

	node->text = xstrdup(text);
	node->len = strlen(text);
	node->plain = true;
	return node;
}

void ynode_add_item(struct ynode *list, struct ynode *item)
{
	list->items = xgrow(list->items, &list->cap, list->n + 1, sizeof(struct ynode *));
	list->items[list->n++] = item;
}

void ynode_add_pair(struct ynode *map, const char *key, struct place key_at, struct ynode *value)
{
	map->pairs = xgrow(map->pairs, &map->cap, map->n + 1, sizeof(struct ypair));
	map->pairs[map->n++] =
		(struct ypair){.key = xstrdup(key), .key_at = key_at, .value = value};
}

static bool copy_children(struct ytree *t, const struct ynode *from, struct ynode *to)
{
	for (size_t i = 0; i < from->n; i++) {
		const struct ynode *child = from->pairs ? from->pairs[i].value : from->items[i];
		struct ynode *copy = ynode_copy(t, child);

		if (!copy)
			return false;
		if (!from->pairs) {
			ynode_add_item(to, copy);
			continue;
		}
		t->n_counted++;
		t->n_text += strlen(from->pairs[i].key);
		ynode_add_pair(to, from->pairs[i].key, from->pairs[i].key_at, copy);
	}
	return true;
}

struct ynode *ynode_copy(struct ytree *t, const struct ynode *from)
{
	t->n_counted++;
	t->n_text += from->len;
	if (t->n_counted > YAML_NODES_MAX || t->n_text > YAML_TEXT_MAX)
		return NULL;
	struct ynode *to = ynode_new(t, from->kind, from->at);

	to->tag = from->tag;
	to->plain = from->plain;
	to->len = from->len;
	if (from->text)
		to->text = xstrdup(from->text);
	return copy_children(t, from, to) ? to : NULL;
}

struct ypair *ynode_pair(const struct ynode *map, const char *key)
{
	if (!map || map->kind != YNODE_MAP)
		return NULL;
	for (size_t i = 0; i < map->n; i++) {
		if (strcmp(map->pairs[i].key, key) == 0)
			return &map->pairs[i];
	}
	return NULL;
}

struct ynode *ynode_get(const struct ynode *map, const char *key)
{
	struct ypair *pair = ynode_pair(map, key);

	return pair ? pair->value : NULL;
}

bool ynode_is_null(const struct ynode *node)
{
	if (!node || node->tag == YTAG_RESET)
		return true;
	return node->kind == YNODE_SCALAR && node->plain &&
	       (strcmp(node->text, "null") == 0 || strcmp(node->text, "~") == 0);
}

bool ynode_is_empty(const struct ynode *node)
{
	return node && node->kind == YNODE_SCALAR && node->plain && node->len == 0;
}
