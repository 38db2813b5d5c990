/* child.h - children of the agent: spawned with three descriptors, reaped by one table.
 *
 * The agent is PID 1: SIGCHLD (signalfd) reaps everything; known children get their callback. Each
 * child leads its own session, so its process group is killed with it. */
#ifndef FCVM_AGENT_CHILD_H
#define FCVM_AGENT_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"
#include "loop.h"

struct child;

/* Where a child that never ran its program failed. */
enum child_stage { CHILD_RAN, CHILD_AT_SETUP, CHILD_AT_CWD, CHILD_AT_EXEC };

struct child_end {
	int status; /* exit code, or 128 + signal */
	enum child_stage stage;
	int code; /* positive errno when stage is not CHILD_RAN */
};

/* The child is no longer in the table; it may be freed. */
typedef void (*child_ended)(void *data, const struct child_end *end);

struct child {
	struct child *next;
	pid_t pid; /* 0: not running */
	int report_fd;
	child_ended ended;
	void *data;
};

struct children {
	struct child *head;
	struct loop *loop;
	struct loop_source signals;
};

#define CHILD_GROUPS_MAX 32

struct child_user {
	uid_t uid;
	gid_t gid;
	gid_t groups[CHILD_GROUPS_MAX];
	size_t n_groups;
};

struct child_spec {
	const char *const *argv;
	const char *const *env;        /* NULL: child_default_env */
	const char *cwd;               /* NULL: "/" */
	const struct child_user *user; /* NULL: ours */
	int in, out, err;              /* borrowed; -1 = /dev/null */
	bool tty;                      /* `in` becomes the controlling terminal */
	/* Instead of exec: runs in the child, its result is the exit status. */
	int (*run)(void *data);
	void *run_data;
};

extern const char *const child_default_env[];

/* Takes over SIGCHLD in this process. */
int children_init(struct children *table, struct loop *loop, struct err *err);
/* Kills what still runs; every `ended` is called. */
void children_fini(struct children *table);

/* child is caller-owned and must stay until `ended` or child_forget. Returns before exec. */
int child_spawn(struct children *table, const struct child_spec *spec, struct child *child,
		child_ended ended, void *data, struct err *err);
/* A process that is not ours by fork but will be reaped by us (conmon, as PID 1). */
void child_adopt(struct children *table, pid_t pid, struct child *child, child_ended ended,
		 void *data);
/* Signals the whole group; nothing when it has ended. */
void child_signal(const struct child *child, int sig);
/* No callback any more; it is still reaped. */
void child_forget(struct children *table, struct child *child);

#endif
