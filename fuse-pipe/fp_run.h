/* fp_run.h - one request of a stream: whether it may block, where it runs, and the frame that
 * answers it. */
#ifndef FCVM_FUSE_PIPE_FP_RUN_H
#define FCVM_FUSE_PIPE_FP_RUN_H

#include "fp_decode.h"
#include "fp_stream.h"

/* Executes q (r: what its decoding said) and frames what there is to say at `at`, which is aligned
 * to 8 and has FP_SCRATCH_SIZE bytes. Returns the frame's length, 0 when there is nothing to say or
 * the reply comes later. items is scratch. */
size_t fp_run(struct fp_stream *st, const struct fp_request *q, int r, uint8_t *at,
	      struct buf *items);
/* The stream is cut: what was to be answered comes again on another one, and may have been done
 * there by now. */
bool fp_run_is_void(const struct fp_stream *st, const struct fp_request *q);
/* True for what is not to run in the receiving thread. */
bool fp_run_blocks(struct fp_stream *st, const struct fp_request *q, uint64_t now);
/* Gives a copy of the frame to the pool; waits while that is full. */
void fp_run_later(struct fp_stream *st, const uint8_t *frame, size_t len);

#endif
