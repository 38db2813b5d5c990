/* exec_session.h - one command in a guest with our stdin, stdout, stderr and terminal, to its exit
 * code. */
#ifndef FCVM_GUEST_EXEC_SESSION_H
#define FCVM_GUEST_EXEC_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "strv.h"

struct exec_request {
	const char *instance_dir;
	const struct strv *argv;
	const struct strv *env; /* K=V; may be NULL */
	const char *cwd, *user; /* NULL: the image's */
	const char *container;  /* "" or NULL: the guest OS */
	bool interactive;       /* forward stdin; otherwise it is empty */
	bool tty;
	const char *term;    /* of the terminal; may be NULL */
	uint64_t timeout_ms; /* 0: none; the guest then ends the command with 124 */
	int in, out, err;    /* three different descriptors, borrowed; their flags stay */
};

struct exec_result {
	int code;       /* the command's, 128 + signal, or 124..127 of ours */
	char text[512]; /* why, when the agent could not run it; "" else */
};

/* Blocks until the command has ended and all its output is written. SIGINT, SIGTERM, SIGHUP,
 * SIGQUIT, SIGUSR1 and SIGUSR2 go to the command, SIGWINCH to its terminal; our terminal is raw
 * meanwhile (tty and interactive) and restored on every way out. A failure means that the command
 * did not run or that its end is unknown. */
int exec_session_run(const struct exec_request *req, struct exec_result *ret, struct err *err);

#endif
