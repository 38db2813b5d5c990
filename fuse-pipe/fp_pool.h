/* fp_pool.h - threads for what blocks: a bounded queue of jobs in front of a fixed number of
 * workers. Thread-safe. */
#ifndef FCVM_FUSE_PIPE_FP_POOL_H
#define FCVM_FUSE_PIPE_FP_POOL_H

#include <stddef.h>

#include "err.h"

#define FP_JOBS_MAX 512
#define FP_JOB_BYTES_MAX (64u << 20)

struct fp_pool;

struct fp_job {
	struct fp_job *next;
	size_t bytes; /* counted against the queue's limit */
};

/* run gets the job and a buffer of scratch_size bytes of its thread's own; begin is called once in
 * each thread. */
struct fp_pool_ops {
	void (*begin)(void *data);
	void (*run)(void *data, struct fp_job *job, void *scratch);
	size_t scratch_size;
};

int fp_pool_new(unsigned int threads, const struct fp_pool_ops *ops, void *data,
		struct fp_pool **ret, struct err *err);
/* Runs what is queued, then ends. */
void fp_pool_free(struct fp_pool *p);
/* Waits while the queue is full: the caller's peer waits with it. */
void fp_pool_add(struct fp_pool *p, struct fp_job *job);

#endif
