/* fake_ops.h - resources that do what their names say, for the executor.
 *
 * Names are words joined by '.': the first is a label, the others orders: "fail" (ERR_FAILED),
 * "host" (ERR_HOST), "late" (ERR_NOT_READY), "hang" (until killed), "crash" (no result), "babble"
 * (a line that is no result), "wait" (until the file go exists), "talk" (progress lines). Every
 * verb appends "VERB NAME\n" to the file `log` in the set's directory when it begins and
 * "end NAME\n" when it ends. */
#ifndef FCVM_TESTS_FAKE_OPS_H
#define FCVM_TESTS_FAKE_OPS_H

#include "execute.h"
#include "resource.h"

extern const struct resource_ops *const fake_table[RESOURCE_KINDS];

struct fake_run {
	char *dir;
	struct host host;
	struct resource_choice choice;
	struct resource_ctx ctx;
	struct graph g;
	struct seen seen[64];
	struct plan plan;
	struct execute x;
	struct execute_result res;
};
#define auto_fake __attribute__((cleanup(fake_free)))

/* One permit of each kind unless set afterwards. */
void fake_make(struct fake_run *f);
void fake_free(struct fake_run *f);
/* A node; needs end with SIZE_MAX. */
size_t fake_add(struct fake_run *f, enum resource_kind kind, const char *name, const size_t *needs);
#define NEEDS(...) ((const size_t[]){__VA_ARGS__, SIZE_MAX})
/* Plans the creation of all and executes; returns what execute_plan() returned. */
int fake_execute(struct fake_run *f);
/* The log as it is now; caller frees. */
char *fake_log(const struct fake_run *f);
/* Lines of the log that are exactly this. */
size_t fake_count(const struct fake_run *f, const char *line);
void fake_touch(const struct fake_run *f, const char *name);

#endif
