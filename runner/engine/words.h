/* words.h - the last lines a VMM said on its stderr, for people: bounded, however much it says. */
#ifndef FCVM_ENGINE_WORDS_H
#define FCVM_ENGINE_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"
#include "loop.h"

struct words {
	int fd; /* read end, -1 = none */
	struct buf text;
	struct loop *loop;
	struct loop_source src;
	bool watched;
	/* Bytes in front of a line that are not for people (may be NULL). */
	size_t (*prefix)(const char *line, size_t len);
};

/* A pipe whose read end does not block. name not NULL: one that can be opened by that name, which
 * must not be there; it is the caller's to remove. */
int words_pipe(const char *name, int *ret_read_fd, int *ret_write_fd, struct err *err);
/* Makes the pipe; *ret_write_fd is the caller's. */
int words_open(struct words *w, const char *name, int *ret_write_fd, struct err *err);
/* The loop drains it from now on; NULL loop: nobody does. */
int words_watch(struct words *w, struct loop *loop, struct err *err);
/* The last lines as one, "; " between. */
void words_last(struct words *w, char *ret, size_t size);
void words_close(struct words *w);

#endif
