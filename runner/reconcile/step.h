/* step.h - one verb in a forked child: progress and one JSON result on a pipe.
 *
 * The child lets go of the set's lock first, is its own process group and dies with its parent.
 * Killing the group is how a step is cancelled. */
#ifndef FCVM_RECONCILE_STEP_H
#define FCVM_RECONCILE_STEP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"
#include "err.h"
#include "graph.h"
#include "journal.h"
#include "loop.h"
#include "plan.h"
#include "resource.h"

#define STEP_LINE_MAX (1u << 20)

struct step_input {
	const struct resource_ctx *ctx; /* host, fleet, set ...; deadline is the step's */
	const struct graph *g;
	const struct seen *seen;
	const struct step *step;
	struct journal *journal; /* NULL: none */
	int lock_fd;             /* closed in the child; -1: none */
};

struct step_child {
	pid_t pid;
	int pidfd;
	int out; /* pipe, non-blocking */
};

struct step_result {
	bool ok;
	struct json_object *record; /* owned; NULL after destroy */
	struct err err;
};

int step_start(const struct step_input *in, struct step_child *ret, struct err *err);
/* Kills the child and all it started in its group; it still has to be reaped. */
void step_kill(const struct step_child *c);
/* After the end of the pipe: waits for the child. *ret_status as proc_wait. */
int step_reap(struct step_child *c, int *ret_status, struct err *err);

/* One line of the pipe: 1 and *ret_say (caller frees) for progress, 2 and *ret for the result,
 * -EBADMSG for anything else. */
int step_parse_line(const char *line, size_t len, char **ret_say, struct step_result *ret,
		    struct err *err);
void step_result_clear(struct step_result *r);

#endif
