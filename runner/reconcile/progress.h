/* progress.h - the talk while steps run: a live table on a terminal, plain lines otherwise. */
#ifndef FCVM_RECONCILE_PROGRESS_H
#define FCVM_RECONCILE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "graph.h"
#include "plan.h"

struct progress;

/* fd: stderr. quiet: says nothing at all. */
struct progress_spec {
	int fd;
	bool terminal, color, quiet;
	const struct graph *g;
	const struct plan *plan;
};

struct progress *progress_new(const struct progress_spec *spec);
/* Leaves the table as it stands. */
void progress_free_p(struct progress **p);
#define auto_progress __attribute__((cleanup(progress_free_p)))

void progress_start(struct progress *p, size_t step, uint64_t now_ms);
/* What the step waits for now. */
void progress_say(struct progress *p, size_t step, const char *text);
/* error NULL: it worked. */
void progress_end(struct progress *p, size_t step, uint64_t now_ms, const char *error);
/* A sentence of its own ("interrupted: ..."). */
void progress_note(struct progress *p, const char *text);
/* Redraws the table (terminals only). */
void progress_tick(struct progress *p, uint64_t now_ms);

#endif
