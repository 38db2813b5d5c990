/* execute.h - runs a plan: ready steps start while slots are free, each as a child (step.h).
 *
 * Single-threaded. A failed step leaves its dependents untried; others go on unless fail_fast. The
 * first SIGINT or SIGTERM starts nothing new, the second kills what runs. */
#ifndef FCVM_RECONCILE_EXECUTE_H
#define FCVM_RECONCILE_EXECUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "events.h"
#include "graph.h"
#include "journal.h"
#include "plan.h"
#include "progress.h"
#include "resource.h"

struct execute {
	struct resource_ctx *ctx; /* started_ms, deadline_ms and last_user are set per step */
	struct graph *g;
	struct seen *seen; /* kept true: every step's record goes in */
	const struct plan *plan;
	struct journal *journal;   /* NULL: none */
	struct events *events;     /* NULL: none */
	struct progress *progress; /* NULL: none */
	int lock_fd;
	uint32_t permits[PERMITS]; /* at least 1 each */
	uint32_t parallelism;      /* over all kinds; 0 = no limit */
	bool fail_fast;
	uint64_t deadline_ms; /* 0 = none */
};

struct execute_result {
	size_t done, failed, killed, not_tried;
	size_t unlisted_done, unlisted_not_tried; /* of these, steps that no plan shows */
	bool interrupted, timed_out;
	bool of_class[ERR_INTERRUPTED + 1]; /* failures seen */
	struct err first;                   /* of the first failed step, its address in front */
};

/* A negative return is a failure of the machinery; failed steps are in *ret. */
int execute_plan(struct execute *x, struct execute_result *ret, struct err *err);

#endif
