/* log_tail.h - a container's log (<instance>/logs/NAME.log, written by the supervisor) as text on
 * stdout and stderr, over rotations, as it grows. */
#ifndef FCVM_CMD_LOG_TAIL_H
#define FCVM_CMD_LOG_TAIL_H

#include <stdbool.h>

#include "buf.h"
#include "err.h"

struct log_tail;

/* container NULL: the only one there is (or will be). from_old: with what was rotated out. */
int log_tail_open(const char *instance_dir, const char *container, bool from_old,
		  struct log_tail **ret, struct err *err);
void log_tail_free_p(struct log_tail **t);
#define auto_log_tail __attribute__((cleanup(log_tail_free_p)))

/* Readable when there may be more, or when the VM's status changed. */
int log_tail_fd(const struct log_tail *t);
/* Writes all there is by now. */
int log_tail_pump(struct log_tail *t, int out_fd, int err_fd, struct err *err);

/* One line "TIME stdout|stderr F|P TEXT" of the supervisor's: which stream, and its text with a
 * newline when it is a full one. false for anything else. */
bool log_tail_parse(const char *line, size_t len, bool *ret_stderr, const char **ret_text,
		    size_t *ret_len, bool *ret_full);

#endif
