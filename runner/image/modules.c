#include "modules.h"

#include "cleanup.h"
#include "xalloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 64 /* no real chain is longer than ten */

void module_set_free(struct module_set *set)
{
	for (size_t i = 0; i < set->n; i++) {
		free(set->items[i].name);
		free(set->items[i].path);
		strv_free(&set->items[i].depends);
		strv_free(&set->items[i].pre);
	}
	free(set->items);
	strv_free(&set->builtin);
	*set = (struct module_set){0};
}

char *modules_canonical(const char *name)
{
	char *s = xstrdup(name);

	for (char *p = s; *p; p++)
		if (*p == '-')
			*p = '_';
	return s;
}

struct module_info *module_set_add(struct module_set *set, const char *name, const char *path)
{
	struct module_info *item;

	set->items = xgrow(set->items, &set->cap, set->n + 1, sizeof(*set->items));
	item = &set->items[set->n++];
	*item = (struct module_info){.name = modules_canonical(name), .path = xstrdup(path)};
	return item;
}

struct module_info *module_set_find(const struct module_set *set, const char *name)
{
	for (size_t i = 0; i < set->n; i++)
		if (strcmp(set->items[i].name, name) == 0)
			return &set->items[i];
	return NULL;
}

struct visit {
	const struct module_set *set;
	const struct module_info *chain[DEPTH_MAX]; /* being visited, outermost first */
	size_t depth;
	struct strv *out;
};

static int visit_module(struct visit *v, const char *raw_name, bool optional, struct err *err);

static bool in_chain(const struct visit *v, const struct module_info *item)
{
	for (size_t i = 0; i < v->depth; i++)
		if (v->chain[i] == item)
			return true;
	return false;
}

static int visit_all(struct visit *v, const struct strv *names, bool optional, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < names->n; i++)
		r = visit_module(v, names->v[i], optional, err);
	return r;
}

static int visit_item(struct visit *v, const struct module_info *item, struct err *err)
{
	int r;

	if (v->depth == DEPTH_MAX)
		return err_set(err, ERR_SPEC, -ELOOP,
			       "module '%s' is below %d levels of dependencies", item->name,
			       DEPTH_MAX);
	v->chain[v->depth++] = item;
	r = visit_all(v, &item->depends, false, err);
	if (r == 0)
		r = visit_all(v, &item->pre, true, err);
	v->depth--;
	/* A soft dependency that needs us has put us there already. */
	if (r == 0 && !strv_has(v->out, item->name))
		strv_add(v->out, item->name);
	return r;
}

static int visit_module(struct visit *v, const char *raw_name, bool optional, struct err *err)
{
	auto_free char *name = modules_canonical(raw_name);
	const struct module_info *item = module_set_find(v->set, name);

	if (strv_has(&v->set->builtin, name) || strv_has(v->out, name))
		return 0;
	if (!item && optional)
		return 0;
	if (!item)
		return err_set(err, ERR_SPEC, -ENOENT, "the kernel has no module '%s'", name);
	if (in_chain(v, item) && optional)
		return 0;
	if (in_chain(v, item))
		return err_set(err, ERR_SPEC, -ELOOP, "modules '%s' and '%s' depend on each other",
			       item->name, v->chain[v->depth - 1]->name);
	return visit_item(v, item, err);
}

int modules_order(const struct module_set *set, const struct module_want *want, size_t n,
		  struct strv *ret, struct err *err)
{
	auto_strv struct strv out = {0};
	struct visit v = {.set = set, .out = &out};
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = visit_module(&v, want[i].name, want[i].optional, err);
	if (r < 0)
		return r;
	strv_add_all(ret, &out);
	return 0;
}
