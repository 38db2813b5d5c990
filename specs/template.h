/* template.h - text with {{ expressions }}: compiled once, expanded cheaply for every clone.
 *
 * Values are integers (64 bit, overflow is an error) and texts; types are settled when compiling,
 * so expanding can fail only by arithmetic or size. Variables become constants. Pure. */
#ifndef FCVM_SPECS_TEMPLATE_H
#define FCVM_SPECS_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define TEMPLATE_TEXT_MAX 65536 /* bytes of an expanded text */

struct template;
struct vars;

/* Names a place may use besides vars.* and name (of the set). */
enum template_names {
	TEMPLATE_INDEX = 1 << 0,
	TEMPLATE_CLONE = 1 << 1,
	TEMPLATE_FLEET = 1 << 2,
	TEMPLATE_JOB = 1 << 3, /* job, item and slice.index */
};

struct template_scope {
	unsigned int names; /* enum template_names */
	struct vars *vars;  /* may be NULL; used variables are marked */
	const char *set_name;
};

struct template_values { /* what the names stand for; unused ones may be NULL */
	int64_t index, slice_index;
	const char *clone, *fleet, *job, *item;
};

/* On failure *ret_offset is the byte in text where it went wrong. */
int template_compile(const char *text, const struct template_scope *scope, struct template **ret,
		     size_t *ret_offset, struct err *err);
void template_free(struct template *t);
void template_free_p(struct template **t);
#define auto_template __attribute__((cleanup(template_free_p)))
/* The caller frees *ret. */
int template_expand(const struct template *t, const struct template_values *values, char **ret,
		    struct err *err);
/* The same template with variables written out: equal texts mean equal results. */
const char *template_text(const struct template *t);
/* Expanding may fail for one index and not for its neighbours (a division by something). */
bool template_is_fragile(const struct template *t);
/* Operations of one expansion: what it costs. */
size_t template_cost(const struct template *t);

#endif
