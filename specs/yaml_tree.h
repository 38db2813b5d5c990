/* yaml_tree.h - YAML text to a bounded tree of nodes that know their place.
 *
 * libyaml gives events only; this adds anchors and aliases (copied, within the caps), the merge
 * key `<<`, and errors for duplicate keys, cycles, foreign tags and second documents. Nothing is
 * typed here: a scalar is its text and whether it was quoted. The tree owns every node. */
#ifndef FCVM_SPECS_YAML_TREE_H
#define FCVM_SPECS_YAML_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "diag.h"
#include "fleet.h"

#define YAML_BYTES_MAX (1u << 20)
#define YAML_DEPTH_MAX 32
#define YAML_NODES_MAX 10000     /* keys and values, after alias expansion */
#define YAML_TEXT_MAX (8u << 20) /* bytes of all scalars after alias expansion */
#define YAML_MERGED_MAX 100000   /* pairs made by merging defaults */

enum ynode_kind {
	YNODE_SCALAR,
	YNODE_MAP,
	YNODE_LIST,
	YNODE_BAD, /* a problem was reported here: say nothing more about it */
};

enum ynode_tag { YTAG_NONE, YTAG_RESET, YTAG_OVERRIDE, YTAG_APPEND };

struct ypair {
	char *key;
	struct place key_at;
	struct ynode *value;
};

struct ynode {
	enum ynode_kind kind;
	enum ynode_tag tag;
	bool plain; /* a scalar without quotes */
	bool open;  /* still being read: an alias to it is a cycle */
	struct place at;
	char *text; /* scalar */
	size_t len;
	struct ypair *pairs;           /* map */
	struct ynode **items;          /* list */
	size_t n, cap;                 /* pairs or items */
	bool refused, warned, checked; /* said once, however many entries share a default */
	bool added;                    /* by --set: the file has no such key */
	const char *set;               /* the --set argument it came from, borrowed, or NULL */
};

struct ytree {
	struct ynode **nodes; /* every node, for freeing */
	size_t n, cap;
	size_t n_counted;   /* against YAML_NODES_MAX */
	size_t n_text;      /* against YAML_TEXT_MAX */
	size_t n_merged;    /* against YAML_MERGED_MAX */
	struct ynode *root; /* NULL when the text is empty */
};

void ytree_free(struct ytree *t);
/* Reads text into t (zeroed by the caller). Problems go to diag; -EINVAL when reading stopped at
 * one, 0 when the tree is whole (it may still have problems and YNODE_BAD parts). */
int ytree_parse(struct ytree *t, const char *text, size_t len, struct diag *diag);
/* Reads a value given on the command line into nodes of t, all at place `at`. */
int ytree_parse_value(struct ytree *t, const char *text, struct place at, const char *set,
		      struct ynode **ret, struct err *err);

/* Building blocks; none counts against the caps but node_copy(). */
struct ynode *ynode_new(struct ytree *t, enum ynode_kind kind, struct place at);
struct ynode *ynode_scalar(struct ytree *t, const char *text, struct place at);
void ynode_add_item(struct ynode *list, struct ynode *item);
void ynode_add_pair(struct ynode *map, const char *key, struct place key_at, struct ynode *value);
/* A deep copy, or NULL when it does not fit the caps. */
struct ynode *ynode_copy(struct ytree *t, const struct ynode *from);
/* The map's pair with that key, or NULL (also when map is NULL or no map). */
struct ypair *ynode_pair(const struct ynode *map, const char *key);
struct ynode *ynode_get(const struct ynode *map, const char *key);
/* No value at all: absent, `null`, `~`, !reset; not the empty text after "key:". */
bool ynode_is_null(const struct ynode *node);
/* "key:" with nothing behind it. */
bool ynode_is_empty(const struct ynode *node);

#endif
