/* vm_env.h - a private fcvm world for one real-guest test: data directory, spec, checks. Guest
 * assets are content-addressed, so all tests share the host's asset cache through a link. */
#ifndef FCVM_TESTS_VM_ENV_H
#define FCVM_TESTS_VM_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "json.h"
#include "run.h"

#define VM_TIMEOUT_MS 300000u /* a hang is a failure; nothing here is near it */

struct vm_env {
	char *dir;  /* data directory, 0711 */
	char *spec; /* path of fleet.yaml */
	char *set;  /* unique name of the set */
};

/* Skips the test (with the reason) without root or /dev/net/tun. `body` follows the hello
 * baseline: snapshots and fleets. NULL: the default (web-warm, healthy; fleet web, count 3). */
void vm_env_init(struct vm_env *env, const char *what, const char *body);
/* destroy must succeed and leave the host as it was. */
void vm_env_finish(struct vm_env *env);

/* For TestSuite(.fini): what a failed test left running is destroyed. */
void vm_env_cleanup(void);

/* fcvm with words ending in NULL; status checked against want (-1: any). */
void vm_run(struct vm_env *env, struct run_result *r, int want, const char *const *words);
#define VM_RUN(env, r, want, ...) \
	vm_run((env), (r), (want), (const char *const[]){__VA_ARGS__, NULL})
/* apply with --set KEY=VALUE words. */
void vm_apply(struct vm_env *env, const char *set1, const char *set2);

/* ps --format json; caller puts it. */
struct json_object *vm_ps(struct vm_env *env);
/* One object of ps by name, borrowed; fails the test when absent. */
struct json_object *vm_row(struct json_object *ps, const char *name);
/* Name SET.SUFFIX; static ring of buffers. */
const char *vm_name(const struct vm_env *env, const char *suffix);
/* The clone's workload answers GET path on its own port; JSON, caller puts it. */
struct json_object *vm_get(struct vm_env *env, const char *clone, const char *path);
pid_t vm_pid(struct json_object *ps, const char *name);
size_t vm_count(struct json_object *ps, const char *kind, const char *state);
/* Waits until the row's state is `state`, by reading status over and over with a deadline. */
void vm_await_state(struct vm_env *env, const char *name, const char *state);
/* The one directory in parent; caller frees. */
char *vm_only_dir(const char *parent);
/* Absolute path of the newest snapshot directory of the set. */
char *vm_snapshot_dir(struct vm_env *env, const char *snapshot);
/* Text of a file below the set's directory. */
char *vm_read(const char *path);

#endif
