/* child.h - fcvm on fake_qemu in the background of a test. */
#ifndef FCVM_TESTS_CHILD_H
#define FCVM_TESTS_CHILD_H

#include <sys/types.h>

#include "apply_rig.h"
#include "buf.h"

struct child {
	pid_t pid;
	int out, err;
	struct buf text; /* what it has said by now, on whichever was read */
};

/* Words end with NULL. */
struct child child_start(const struct apply_rig *r, ...);
/* Reads until it has said that, or, what NULL, until it has ended. */
void child_read_until(struct child *c, int fd, const char *what);
/* Its exit code. What it says last is on stderr. */
int child_end(struct child *c);
/* Killed if it still runs. */
void child_free(struct child *c);
#define auto_child __attribute__((cleanup(child_free)))

#endif
