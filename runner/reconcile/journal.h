/* journal.h - <set>/journal: one JSON line an entry, appended and on disk before what it tells of.
 *
 * Convergence does not depend on it (records and observation do); it says what a run that was
 * killed was about to do, and it is where tests kill one. */
#ifndef FCVM_RECONCILE_JOURNAL_H
#define FCVM_RECONCILE_JOURNAL_H

#include <stdbool.h>

#include "err.h"
#include "host.h"

#define JOURNAL_MAX (8u << 20) /* beyond it the file is turned over at the next start */

struct journal;

struct journal_last {
	bool unfinished; /* the last run has no end */
	char run[9];
	char when[25];
	char doing[200]; /* its last intent */
};

/* *ret_last (may be NULL) tells how the run before ended; torn and foreign lines are skipped. */
int journal_open(const struct host *host, const char *set_dir, const char *run, const char *command,
		 struct journal **ret, struct journal_last *ret_last, struct err *err);
/* op: "intent", "done", "failed", "note"; text may be NULL. Safe from a forked step. */
int journal_add(struct journal *j, const char *op, const char *address, const char *text,
		struct err *err);
/* Marks the run as ended and closes. NULL is fine. */
int journal_close(struct journal *j, const char *result, struct err *err);
/* Closes without an end mark (the set was removed). */
void journal_drop_p(struct journal **j);

#endif
