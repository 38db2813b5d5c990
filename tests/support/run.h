/* run.h - running a program in a test: argv in, status and both outputs out, with a deadline. */
#ifndef FCVM_TESTS_RUN_H
#define FCVM_TESTS_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "json.h"

struct run_result {
	int status; /* exit code, or 128 + signal */
	bool timed_out;
	struct buf out, err; /* at most 32 MiB each; both pipes are always drained */
};

#define auto_run __attribute__((cleanup(run_free)))
#define RUN_INIT                                                       \
	{                                                              \
		.out = BUF_INIT(32u << 20), .err = BUF_INIT(32u << 20) \
	}

void run_free(struct run_result *r);
/* env: extra K=V strings, NULL-terminated, may be NULL; deadline kills the process group. */
void run_argv(struct run_result *r, const char *const *argv, const char *const *env,
	      const char *input, uint64_t timeout_ms);
/* run_argv of the fcvm under test ($FCVM, else build/fcvm) with --data-dir DIR. Words end with
 * NULL. */
void run_fcvm(struct run_result *r, const char *data_dir, uint64_t timeout_ms,
	      const char *const *words);
/* stdout parsed as JSON; fails the test when it is not. Caller puts it. */
struct json_object *run_json(const struct run_result *r);
const char *run_fcvm_path(void);

/* Uids and gids of the host that owners below dir have; 0 for who is not root. */
size_t numbers_held(const char *dir);
void numbers_give_back(const char *dir);

/* A private directory below /tmp, removed with everything in it and what its VMs were counted as.
 */
char *tmpdir_new(const char *what);
void tmpdir_remove(char **dir);
#define auto_tmpdir __attribute__((cleanup(tmpdir_remove)))

/* Compares with tests/golden/NAME; UPDATE_GOLDEN=1 rewrites it. */
void golden_check(const char *name, const char *text);

/* What is left of a test on this machine: processes, mounts and loop devices that name the tag (its
 * data directory), links and network namespaces of ours. One line each, sorted; "" when clean. */
char *host_leftovers(const char *tag);

#endif
