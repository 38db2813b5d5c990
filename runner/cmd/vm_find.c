#include "vm_find.h"

#include "buf.h"
#include "cleanup.h"
#include "record.h"
#include "xalloc.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LISTED_MAX 5

/* How well a word names an item; the best class with exactly one member wins. */
enum match { MATCH_FULL, MATCH_NAME, MATCH_PREFIX, MATCH_NONE };

static enum match match(const struct inventory_item *it, const char *word)
{
	size_t len = strlen(word);

	if (strcmp(it->full, word) == 0)
		return MATCH_FULL;
	if (strcmp(it->name, word) == 0)
		return MATCH_NAME;
	if (strncmp(it->full, word, len) == 0 || strncmp(it->name, word, len) == 0)
		return MATCH_PREFIX;
	return MATCH_NONE;
}

static bool is_vm(const struct inventory_item *it)
{
	return (1u << it->kind & INVENTORY_VMS) && strcmp(record_state(it->record), "reaped") != 0;
}

static int nothing(const struct inventory *all, const char *word, struct err *err)
{
	auto_free const char **names = xcalloc(all->n + 1, sizeof(*names));
	size_t n = 0;

	for (size_t i = 0; i < all->n; i++)
		if (is_vm(&all->v[i]))
			names[n++] = all->v[i].full;
	const char *near = strv_nearest(word, names, n);
	(void)err_set(err, ERR_SPEC, -ENOENT, "no VM is called '%s'", word);
	return near ? err_hint(err, "did you mean '%s'?", near)
		    : err_hint(err, "fcvm ps lists them");
}

static int several(const struct inventory *all, const char *word, enum match best, struct err *err)
{
	auto_buf struct buf names = BUF_INIT(400);
	size_t n = 0;

	for (size_t i = 0; i < all->n; i++) {
		if (!is_vm(&all->v[i]) || match(&all->v[i], word) != best)
			continue;
		if (n++ < LISTED_MAX)
			buf_addf(&names, "%s%s", n > 1 ? ", " : "", all->v[i].full);
	}
	return err_set(err, ERR_SPEC, -EEXIST, "'%s' may be any of %zu VMs: %s%s", word, n,
		       buf_str(&names), n > LISTED_MAX ? ", ..." : "");
}

int vm_find_item(const struct inventory *all, const char *word, bool exact,
		 const struct inventory_item **ret, struct err *err)
{
	const struct inventory_item *found[MATCH_NONE] = {0};
	size_t n[MATCH_NONE] = {0};

	for (size_t i = 0; i < all->n; i++) {
		enum match m = is_vm(&all->v[i]) ? match(&all->v[i], word) : MATCH_NONE;

		if (m == MATCH_NONE || (exact && m == MATCH_PREFIX))
			continue;
		found[m] = &all->v[i];
		n[m]++;
	}
	for (enum match m = MATCH_FULL; m < MATCH_NONE; m++) {
		if (n[m] > 1)
			return several(all, word, m, err);
		if (n[m] == 1) {
			*ret = found[m];
			return 0;
		}
	}
	return nothing(all, word, err);
}

int vm_find(const struct host *host, const char *word, bool exact, char **ret_dir, struct err *err)
{
	auto_inventory struct inventory all = {0};
	const struct inventory_item *it = NULL;
	int r = inventory_load(host, NULL, INVENTORY_VMS, &all, err);

	if (r < 0 || (r = vm_find_item(&all, word, exact, &it, err)) < 0)
		return r;
	assert(it); /* found, or an error */
	if (!it->dir)
		return err_set(err, ERR_FAILED, -ENOENT, "VM '%s' has no directory", it->full);
	*ret_dir = xstrdup(it->dir);
	return 0;
}
