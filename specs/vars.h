/* vars.h - the spec's variables: text, whole numbers and booleans, for templates. */
#ifndef FCVM_SPECS_VARS_H
#define FCVM_SPECS_VARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fleet.h"

struct var {
	char *name;
	char *text; /* as a template shows it */
	bool is_int;
	int64_t value;
	bool used;
	const char *set; /* the value comes from this --set argument */
	bool added;      /* and the file has no such variable */
	struct place at;
};

struct vars {
	struct var *v;
	size_t n, cap;
};

void vars_free(struct vars *vars);
/* Typed as written: plain 8 is a number, "8" and 1.10 are text. The name is not in vars yet. */
struct var *vars_add(struct vars *vars, const char *name, const char *text, bool plain);
struct var *vars_find(const struct vars *vars, const char *name);
bool vars_is_name(const char *name);
/* "there are: shards, tag", or "there are none". The caller frees. */
char *vars_list(const struct vars *vars);

#endif
