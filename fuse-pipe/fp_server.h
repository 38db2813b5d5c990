/* fp_server.h - one directory served to one mount over any number of streams, which may come and
 * go. Threads of its own do all work; every function here may be called from any thread. */
#ifndef FCVM_FUSE_PIPE_FP_SERVER_H
#define FCVM_FUSE_PIPE_FP_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "fp_volume.h"

struct fp_server;

struct fp_server_options {
	struct fp_options volume;
	unsigned int workers; /* 0: 64 */
	uint32_t spin_us;     /* how long to ask for the next request before sleeping */
	int saved_fd;         /* of fp_server_save(), taken over; 0: none */
};

/* Opens the directory and /proc/self/fd. As root it can also confine this process for good: a mount
 * namespace that holds nothing but the directory, and no more capabilities than serving it takes.
 * Only while the process has one thread. root_fd is replaced by one in that namespace. */
int fp_server_confine(const char *dir, const struct fp_options *opt, int *ret_root_fd,
		      int *ret_proc_fd, struct err *err);

/* root_fd and proc_fd are taken over when it succeeds. */
int fp_server_start(int root_fd, int proc_fd, const struct fp_server_options *opt,
		    struct fp_server **ret, struct err *err);
/* A new connection; fd is taken over. Its thread says hello and serves it. */
int fp_server_add(struct fp_server *s, int fd, struct err *err);
/* Waits until everything that has arrived is executed and answered; the guest sends no more (its
 * channel rests). -ETIMEDOUT when something is still under way then, a waiting lock for example. */
int fp_server_drain(struct fp_server *s, uint64_t deadline_ms);
/* After that: what a snapshot needs beyond the state file goes into fd, which is empty and stays so
 * when there is nothing. No other mount begins meanwhile. */
int fp_server_save(struct fp_server *s, int fd, struct err *err);
/* Cuts every stream, waits for what runs, frees everything. */
void fp_server_stop(struct fp_server *s);

struct fp_server_counts {
	size_t streams, nodes, hot, files;
};
struct fp_server_counts fp_server_count(struct fp_server *s);

#endif
