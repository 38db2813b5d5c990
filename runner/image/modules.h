/* modules.h - which kernel modules a guest needs, and the order they load in. */
#ifndef FCVM_IMAGE_MODULES_H
#define FCVM_IMAGE_MODULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "digest.h"
#include "err.h"
#include "strv.h"

/* What one .ko says about itself. Names use '_' where the kernel treats '-' the same. */
struct module_info {
	char *name;
	char *path;
	struct strv depends; /* must be loaded before */
	struct strv pre;     /* softdep pre: before, if there is one */
};
struct module_set {
	struct module_info *items;
	size_t n, cap;
	struct strv builtin;
};
#define auto_module_set __attribute__((cleanup(module_set_free)))
void module_set_free(struct module_set *set);
/* Copies; the caller fills depends and pre of the returned item. */
struct module_info *module_set_add(struct module_set *set, const char *name, const char *path);
/* NULL when there is none; name as modules_canonical() gives it. */
struct module_info *module_set_find(const struct module_set *set, const char *name);
/* The kernel treats '-' and '_' in module names alike: always '_'. Caller frees. */
char *modules_canonical(const char *name);

struct module_want {
	const char *name;
	bool optional; /* fine when this kernel has none */
};
/* Names in load order. Built-in ones are left out; -ENOENT names a missing one, -ELOOP a cycle of
 * hard dependencies; soft dependencies that are missing or circular are ignored. Pure. */
int modules_order(const struct module_set *set, const struct module_want *want, size_t n,
		  struct strv *ret, struct err *err);

/* The .modinfo strings of a .ko into item->depends and item->pre. Hostile input is bounded. */
int modules_parse_ko(const uint8_t *ko, size_t len, struct module_info *item, struct err *err);
/* Length of a .ko without the signature appended to it. */
size_t modules_unsigned_len(const uint8_t *ko, size_t len);

/* From an unpacked /lib/modules/VERSION to to_dir/m/NAME.ko and to_dir/modules.list (guest paths,
 * one a line, in load order). */
int modules_collect(const char *lib_dir, const char *to_dir, struct err *err);
/* Changes when the list of modules in this source file does; part of the kernel's cache key. */
void modules_want_digest(char ret[DIGEST_HEX_SIZE]);

#endif
