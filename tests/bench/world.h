/* world.h - a private fcvm world for one benchmark: data directory, spec, a set of its own. The
 * measuring runs in a child; whatever becomes of it, the set is destroyed and the directory
 * removed. Any failure says so on stderr and ends the measuring. */
#ifndef FCVM_TESTS_BENCH_WORLD_H
#define FCVM_TESTS_BENCH_WORLD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "json.h"
#include "run.h"
#include "user.h"

struct world {
	char *dir;  /* data directory, 0711, with a link to the host's asset cache */
	char *set;  /* name of the set */
	char *spec; /* path of fleet.yaml */
	/* World of an ordinary user: fcvm is run by them, and the data directory is in their home;
	 * dir holds what they need to read. */
	struct user *user;
};

/* The spec is the hello baseline "web" (its keys can be added to) and then `body`. Returns the exit
 * status for main. */
int world_run(const char *set, const char *baseline_keys, const char *body,
	      void (*measure)(const struct world *w));
/* The same of an ordinary user. The process has mounts of its own, with a /dev/net/tun for
 * everybody (user_open_tun()), and the asset cache has been filled by root. */
int world_run_user(const char *set, const char *baseline_keys, const char *body,
		   void (*measure)(const struct world *w));

__attribute__((noreturn, format(printf, 1, 2))) void world_die(const char *fmt, ...);
/* fcvm with words ending in NULL; a status but 0 ends the measuring. */
void world_fcvm(const struct world *w, const char *const *words);
/* The same with what it said, on stdout in *ret. */
void world_fcvm_heard(const struct world *w, struct run_result *ret, const char *const *words);
#define WORLD_FCVM(w, ...) world_fcvm((w), (const char *const[]){__VA_ARGS__, NULL})
/* The rows of `ps --format json` of one kind, in order; caller puts it. */
struct json_object *world_ps(const struct world *w, const char *kind);
/* status.json of a VM of the set; caller puts it. */
struct json_object *world_status(const struct world *w, const char *vm);
/* The only directory of a snapshot; caller frees. */
char *world_snapshot_dir(const struct world *w, const char *snapshot);
/* A fresh directory below the world's; caller frees. */
char *world_subdir(const struct world *w, const char *name);
/* Bytes of a line of /proc/PID/smaps_rollup: "Pss", "Rss". */
uint64_t world_memory_of(pid_t pid, const char *key);

#endif
