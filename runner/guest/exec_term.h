/* exec_term.h - our own terminal while a command of the guest uses it. */
#ifndef FCVM_GUEST_EXEC_TERM_H
#define FCVM_GUEST_EXEC_TERM_H

#include <termios.h>

#include "buf.h"

struct exec_term {
	int fd; /* -1: nothing to restore */
	struct termios was;
};

/* What is not a terminal is left alone. */
void exec_term_raw(struct exec_term *t, int fd);
void exec_term_restore(struct exec_term *t);
/* TAG_ROWS and TAG_COLS of the terminal at fd; nothing when it is none. */
void exec_term_put_size(int fd, struct buf *out);

#endif
