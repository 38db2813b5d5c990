/* fc_metrics.h - Firecracker's counters: a line of JSON a minute, from a pipe into a file. What
 * comes is the VMM's: bounded, checked to be an object, and however fast it comes, written once a
 * second. */
#ifndef FCVM_ENGINE_FC_METRICS_H
#define FCVM_ENGINE_FC_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "loop.h"

#define FC_METRICS_LINE_MAX (256u << 10)

struct fc_metrics {
	int fd; /* read end, -1 = none */
	char *path;
	struct buf in;
	uint64_t saved_ms;
	struct loop *loop;
	struct loop_source src;
};

/* Makes the pipe (words_pipe()); *ret_write_fd is the caller's. path: the file that holds the
 * newest line. */
int fc_metrics_open(struct fc_metrics *m, const char *path, const char *name, int *ret_write_fd,
		    struct err *err);
/* The loop drains it from now on. */
int fc_metrics_watch(struct fc_metrics *m, struct loop *loop, struct err *err);
void fc_metrics_close(struct fc_metrics *m);

#endif
