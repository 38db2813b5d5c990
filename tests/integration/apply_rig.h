/* apply_rig.h - fcvm as a user runs it, on a fake engine: a spec, assets made of nothing, a
 * private data directory. */
#ifndef FCVM_TESTS_APPLY_RIG_H
#define FCVM_TESTS_APPLY_RIG_H

#include <stdbool.h>

#include "json.h"
#include "run.h"
#include "user.h"

struct apply_rig {
	char *dir;  /* spec, assets, fake engine */
	char *data; /* data directory */
	char *spec;
	char *fcvm;              /* under test */
	char *kill_at;           /* FCVM_KILL_AT=N of the next runs, NULL for none */
	char *name;              /* of the set: unique, so that tests may run beside each other */
	const struct user *user; /* who runs fcvm; NULL: whoever runs the test */
};

void apply_rig_free(struct apply_rig *r);
/* For TestSuite(.fini): after a failed assertion nothing else releases the rig. */
void apply_rig_cleanup(void);
#define auto_apply_rig __attribute__((cleanup(apply_rig_free)))

/* The fake every later rig runs on: qemu until this is called. Skips where it cannot run. */
void apply_rig_use(const char *engine);

/* One test for each engine: SUITE/NAME on fake_qemu, SUITE_firecracker/NAME on fake_firecracker. */
#define APPLY_TEST(suite, name)               \
	static void suite##_##name(void);     \
	Test(suite, name)                     \
	{                                     \
		suite##_##name();             \
	}                                     \
	Test(suite##_firecracker, name)       \
	{                                     \
		apply_rig_use("firecracker"); \
		suite##_##name();             \
	}                                     \
	static void suite##_##name(void)

/* count clones of one baseline; hooks: the build with kill points. False (and the test should
 * skip) when that build is not there. */
bool apply_rig_make(struct apply_rig *r, unsigned count, bool hooks);
/* From now on the user runs fcvm, with a data directory in their home. */
void apply_rig_as(struct apply_rig *r, const struct user *u);
/* The spec again, with another memory size, count and restart policy. */
void apply_rig_spec(struct apply_rig *r, unsigned memory_mib, unsigned count, const char *more);
/* Runs fcvm with these words (NULL-terminated) and expects the status. The result lives until the
 * next call. */
const struct run_result *apply_rig_run(struct apply_rig *r, int status, ...);
/* Words for every VMM to come, as the fakes explain. */
void apply_rig_script(const struct apply_rig *r, const char *words);
/* ps --json; the caller puts it. */
struct json_object *apply_rig_ps(struct apply_rig *r);
/* Rows of that kind and state. */
size_t apply_rig_count(struct apply_rig *r, const char *kind, const char *state);
/* A member of the row with that name ("SET." is put before it) as a number, 0 when null. */
uint64_t apply_rig_number(struct apply_rig *r, const char *name, const char *key);
const char *apply_rig_text(struct apply_rig *r, const char *name, const char *key);
/* Until ps says so of the VM. */
void apply_rig_await_state(struct apply_rig *r, const char *name, const char *state);
/* Destroys and fails the test unless nothing is left: no process that names the data directory,
 * nothing in the set's place. */
void apply_rig_finish(struct apply_rig *r);

#endif
