/* proc.h - children: spawned with an explicit descriptor list, held by pidfd, never by bare pid. */
#ifndef FCVM_HOST_PROC_H
#define FCVM_HOST_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"
#include "err.h"
#include "host.h"

/* Which process, beyond pid reuse and reboots. Recorded in state files. */
struct proc_id {
	pid_t pid;
	uint64_t start_time; /* field 22 of /proc/PID/stat, clock ticks since boot */
	char boot_id[37];
};

struct proc_fd {
	int from; /* ours */
	int to;   /* number in the child; 3 and up (0..2 through std*) */
};

struct proc_spec {
	const char *const *argv; /* argv[0] absolute or found on PATH */
	const char *const *env;  /* NULL: a fixed minimal environment (PATH, HOME, LANG=C.UTF-8) */
	const char *cwd;         /* NULL: "/" */
	int in, out, err;        /* descriptors, or -1 for /dev/null */
	const struct proc_fd *fds;
	size_t n_fds;
	bool own_group;   /* new process group */
	bool new_session; /* setsid */
	int death_signal; /* PDEATHSIG, 0 = none; the parent is checked again after setting it */
	/* Runs in the child just before exec (after descriptors, before the death signal); returns
	 * 0 or a negative errno, which proc_spawn reports. Async-signal-safe work only. */
	int (*prepare)(void *data);
	/* Runs in the parent while the child is kept from exec (it may still be in `prepare`): pid
	 * and start time are final. Failure kills the child and is proc_spawn's. */
	int (*held)(void *data, pid_t pid, struct err *err);
	void *data;
	int namespaces; /* CLONE_NEW* the child is born into; 0 = ours */
	int pid_ns;     /* pidfd of a process in whose pid namespace it is born; 0 = ours */
};

/* Starts the child; reports exec failure (-ENOENT etc.) through a close-on-exec pipe. *ret_pidfd
 * is the caller's, *ret_pid may be NULL. */
int proc_spawn(const struct proc_spec *spec, int *ret_pidfd, pid_t *ret_pid, struct err *err);
/* A pid namespace that lasts as long as its first process, which does nothing but wait and dies
 * with us: the kernel then kills every process in it, whatever became of their death signals.
 * *ret_pidfd is the caller's, for proc_spec.pid_ns; end it with proc_signal(SIGKILL) and
 * proc_wait(). */
int proc_pid_ns(int *ret_pidfd, struct err *err);
/* name itself when it has a slash, else the first executable of that name in the colon-separated
 * path; malloc'ed, NULL when there is none. */
char *proc_find(const char *name, const char *path);
/* Waits until it ends: *ret_status = exit code, or 128 + signal. -ETIMEDOUT at the deadline. A
 * process that is not our child gives -ECHILD once it has ended. */
int proc_wait(int pidfd, uint64_t deadline_ms, int *ret_status, struct err *err);
int proc_signal(int pidfd, int sig);

int proc_id_of(pid_t pid, struct proc_id *ret, struct err *err);
/* A pidfd of exactly that process, or -ESRCH when it is gone (or the machine rebooted). */
int proc_id_open(const struct proc_id *id, const char *boot_id, int *ret_pidfd);
bool proc_id_alive(const struct proc_id *id, const char *boot_id);

/* A tool (mmdebstrap, skopeo, mksquashfs...) run to its end in a pid and mount namespace of its
 * own, whose init dies with us: no grandchild and no mount outlives it. Non-zero exit is an err
 * with the last lines of its stderr. `line` (may be NULL) gets every stderr line as progress. */
struct tool_spec {
	const char *const *argv;
	const char *const *env; /* NULL: as proc_spec */
	const char *cwd;
	int in;  /* -1: /dev/null */
	int out; /* -1: captured into stdout_to, if set, else dropped */
	struct buf *stdout_to;
	void (*line)(void *data, const char *text);
	void *data;
	uint64_t deadline_ms;
	bool no_namespace; /* plain users: PDEATHSIG only */
	/* Root in a user namespace of its own, where nobody exists but us: for plain users' tools
	 * that mount and change owners. Not with no_namespace. */
	bool user_namespace;
};
int tool_run(const struct tool_spec *spec, struct err *err);

#endif
