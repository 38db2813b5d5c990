/* fp_restore.h - nodes and open files of a mount that an earlier process served, from the records
 * which its guest hands back. */
#ifndef FCVM_FUSE_PIPE_FP_RESTORE_H
#define FCVM_FUSE_PIPE_FP_RESTORE_H

#include "err.h"
#include "fp_stream.h"

/* Blocks until the guest has sent all of them, for a minute at most; a negative errno when it does
 * not, or sends something else. */
int fp_restore_records(struct fp_stream *st, struct err *err);

#endif
