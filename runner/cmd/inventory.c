#include "inventory.h"

#include "cleanup.h"
#include "file.h"
#include "parse.h"
#include "record.h"
#include "xalloc.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct gather {
	struct inventory *inv;
	const char *set, *set_dir;
};

void inventory_free(struct inventory *inv)
{
	for (size_t i = 0; i < inv->n; i++) {
		struct inventory_item *it = &inv->v[i];

		free(it->set);
		free(it->set_dir);
		free(it->name);
		free(it->full);
		free(it->dir);
		json_put_p(&it->record);
	}
	free(inv->v);
	*inv = (struct inventory){0};
}

static int take_record(void *data, enum resource_kind kind, const char *name,
		       struct json_object *record, struct err *err)
{
	const struct gather *g = data;
	const char *dir = record_path(record, "dir", g->set_dir);

	(void)err;
	g->inv->v = xgrow(g->inv->v, &g->inv->cap, g->inv->n + 1, sizeof(*g->inv->v));
	g->inv->v[g->inv->n++] = (struct inventory_item){
		.kind = kind,
		.set = xstrdup(g->set),
		.set_dir = xstrdup(g->set_dir),
		.name = xstrdup(name),
		.full = xasprintf("%s.%s", g->set, name),
		.dir = dir ? xstrdup(dir) : NULL,
		.record = record,
	};
	return 0;
}

static int add_set(const struct host *host, const char *set, unsigned kinds, struct inventory *inv,
		   struct err *err)
{
	auto_free char *dir = host_set_dir(host, set);
	struct gather g = {inv, set, dir};
	int r = 0;

	for (int k = 0; r == 0 && k < RESOURCE_KINDS; k++)
		if (kinds & 1u << k)
			r = record_each(dir, (enum resource_kind)k, take_record, &g, NULL, err);
	return r;
}

static int list_sets(const struct host *host, struct strv *ret, struct err *err)
{
	auto_free char *dir = host_path(host, "sets");
	auto_closedir DIR *d = opendir(dir);

	if (!d && errno == ENOENT)
		return 0;
	if (!d)
		return err_sys(err, "cannot read '%s'", dir);
	for (struct dirent *e; (errno = 0, e = readdir(d));)
		if (parse_is_name(e->d_name))
			strv_add(ret, e->d_name);
	return errno ? err_sys(err, "cannot read '%s'", dir) : 0;
}

static int check_sets(const struct host *host, const struct strv *sets, struct err *err)
{
	for (size_t i = 0; i < sets->n; i++) {
		bool named = parse_is_name(sets->v[i]);
		auto_free char *dir = named ? host_set_dir(host, sets->v[i]) : NULL;

		if (!dir || !file_exists(dir))
			return err_set(err, ERR_SPEC, -ENOENT, "there is no set '%s'", sets->v[i]);
	}
	return 0;
}

int inventory_sets(const struct host *host, const struct strv *sets, struct strv *ret,
		   struct err *err)
{
	int r;

	if (!sets || sets->n == 0)
		return list_sets(host, ret, err);
	r = check_sets(host, sets, err);
	for (size_t i = 0; i < sets->n && r >= 0; i++)
		strv_add(ret, sets->v[i]);
	return r;
}

static int by_place(const void *pa, const void *pb)
{
	const struct inventory_item *a = pa, *b = pb;
	uint64_t ia = json_opt_u64(a->record, "index", 0), ib = json_opt_u64(b->record, "index", 0);
	const char *fa = json_opt_str(a->record, "fleet", ""),
		   *fb = json_opt_str(b->record, "fleet", "");
	int c = strcmp(a->set, b->set);

	if (c == 0 && a->kind != b->kind)
		c = a->kind < b->kind ? -1 : 1;
	if (c == 0)
		c = strcmp(fa, fb);
	if (c == 0 && ia != ib)
		c = ia < ib ? -1 : 1;
	return c ? c : strcmp(a->name, b->name);
}

int inventory_load(const struct host *host, const struct strv *sets, unsigned kinds,
		   struct inventory *ret, struct err *err)
{
	auto_inventory struct inventory inv = {0};
	auto_strv struct strv names = {0};
	int r = inventory_sets(host, sets, &names, err);

	for (size_t i = 0; r >= 0 && i < names.n; i++)
		r = add_set(host, names.v[i], kinds, &inv, err);
	if (r < 0)
		return r;
	if (inv.n)
		qsort(inv.v, inv.n, sizeof(*inv.v), by_place);
	*ret = inv;
	inv = (struct inventory){0};
	return 0;
}
