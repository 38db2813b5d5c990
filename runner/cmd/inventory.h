/* inventory.h - every VM, clone, memory server (and snapshot) the records of all sets know. */
#ifndef FCVM_CMD_INVENTORY_H
#define FCVM_CMD_INVENTORY_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "host.h"
#include "json.h"
#include "resource.h"
#include "strv.h"

struct inventory_item {
	enum resource_kind kind;
	char *set, *set_dir, *name;
	char *full; /* "SET.NAME" */
	char *dir;  /* instance directory; NULL when the record names none */
	struct json_object *record;
};

struct inventory {
	struct inventory_item *v;
	size_t n, cap;
};
#define auto_inventory __attribute__((cleanup(inventory_free)))

void inventory_free(struct inventory *inv);
/* kinds: bits 1 << RESOURCE_x. sets: names, NULL or empty for all; one that does not exist is
 * ERR_SPEC. Sorted by set, kind, then index or name. */
int inventory_load(const struct host *host, const struct strv *sets, unsigned kinds,
		   struct inventory *ret, struct err *err);
/* The names in `sets` when they all exist (else ERR_SPEC), or those of every set there is. */
int inventory_sets(const struct host *host, const struct strv *sets, struct strv *ret,
		   struct err *err);
#define INVENTORY_VMS (1u << RESOURCE_BASELINE | 1u << RESOURCE_CLONE)

#endif
