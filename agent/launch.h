/* launch.h - one command, in the guest OS or inside the container, from start to its exit code.
 *
 * In the container it goes through `crun exec` with the container's own process settings. Exit
 * codes: the command's own, 128 + signal, 124 timed out, 125 ours, 126 not runnable, 127 not
 * found. */
#ifndef FCVM_AGENT_LAUNCH_H
#define FCVM_AGENT_LAUNCH_H

#include <stdbool.h>
#include <stdint.h>

#include "agent.h"
#include "buf.h"
#include "strv.h"

#define LAUNCH_CODE_TIMEOUT 124
#define LAUNCH_CODE_OURS 125
#define LAUNCH_CODE_NOT_RUNNABLE 126
#define LAUNCH_CODE_NOT_FOUND 127

struct launch_spec {
	const char *container; /* NULL or "": guest OS */
	const struct strv *argv;
	const struct strv *env; /* added to the environment there; may be NULL */
	const char *cwd;        /* NULL: the container's, "/" in the guest OS */
	const char *user;       /* NULL: the container's, root in the guest OS */
	bool tty;
	uint16_t rows, cols;
	int in, out, err;    /* borrowed, -1 = /dev/null; unused with tty */
	uint64_t timeout_ms; /* 0 = none */
};

struct launch;

struct launch_ops {
	/* With tty: the terminal's master, now the callee's. May come before launch_start returns.
	 */
	void (*console)(void *data, int master);
	/* The command has ended; text is a sentence when the code is ours, else "". The launch
	 * frees itself after this. */
	void (*ended)(void *data, int code, const char *text);
};

/* Everything that goes wrong later arrives by ended(); *ret stays valid until then. */
int launch_start(struct agent *agent, const struct launch_spec *spec, const struct launch_ops *ops,
		 void *data, struct launch **ret, struct err *err);
/* To the command's process group, wherever it runs. */
void launch_signal(struct launch *l, int sig);
/* Kills it without callbacks; the launch frees itself once all is reaped. */
void launch_abandon(struct launch *l);

/* A command whose output matters to people only: the last bytes of stdout and stderr together. */
struct task;
typedef void (*task_done)(void *data, int code, const char *output);
int task_start(struct agent *agent, const struct launch_spec *spec, task_done done, void *data,
	       struct task **ret, struct err *err);
/* No callback any more. */
void task_abandon(struct task *task);

#endif
