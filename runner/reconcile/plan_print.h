/* plan_print.h - a plan for people and for programs (decisions 32). */
#ifndef FCVM_RECONCILE_PLAN_PRINT_H
#define FCVM_RECONCILE_PLAN_PRINT_H

#include <stdbool.h>

#include "buf.h"
#include "plan.h"

/* Room for 100,000 changes. */
#define PLAN_TEXT_MAX (512u << 20)

struct plan_view {
	const struct resource_ctx *ctx;
	const struct graph *g;
	const struct plan *plan;
	const char *file; /* spec as the user named it, for places; NULL for none */
	bool color;
	bool all; /* JSON: also what does not change */
};

/* Ends with "plan: 3 to create, ..." or is "no changes". Long runs of clones with one reason are
 * one line. */
void plan_print_text(const struct plan_view *v, struct buf *out);
void plan_print_json(const struct plan_view *v, struct buf *out);
/* "fleets.web.count: 3 -> 10" of the first reason, or "by snapshot/web@healthy"; caller frees. */
char *plan_reason_text(const struct graph *g, const struct step *s);

#endif
