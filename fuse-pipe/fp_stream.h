/* fp_stream.h - one connection of a session: frames in, replies out. Cheap operations run in the
 * receiving thread and leave in one write; what may block goes to the pool. */
#ifndef FCVM_FUSE_PIPE_FP_STREAM_H
#define FCVM_FUSE_PIPE_FP_STREAM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "fp_pool.h"
#include "fp_volume.h"
#include "fp_wire.h"

struct fp_stream {
	int fd;
	uint16_t index;
	bool records; /* this session keeps records */
	struct fp_volume *vol;
	struct fp_pool *pool;
	uint32_t spin_us;
	_Atomic uint32_t refs;
	pthread_mutex_t lock;
	pthread_cond_t sent;
	bool sending;
	atomic_bool broken; /* nothing is sent any more */
	struct buf pending;
	_Atomic uint64_t received;      /* how often something was */
	_Atomic uint64_t slow_until_ms; /* until then everything goes to the pool */
	pthread_mutex_t rx_lock;        /* which thread receives, and the hand-over */
	struct fp_rx *rx;
	struct fp_stream *next; /* the server's */
	void *server;
	void (*on_idle)(struct fp_stream *st); /* last reference gone: frees it */
};

/* fd is taken over. */
struct fp_stream *fp_stream_new(int fd);
void fp_stream_ref(struct fp_stream *st);
void fp_stream_unref(struct fp_stream *st);
void fp_stream_free(struct fp_stream *st);

/* Blocks until len bytes are written or handed to the thread that writes. */
void fp_stream_send(struct fp_stream *st, const void *data, size_t len);
/* The guest has given the stream up, and asks again elsewhere for what was not answered. */
void fp_stream_cut(struct fp_stream *st);
/* Serves requests until the peer is gone or wrong. */
int fp_stream_serve(struct fp_stream *st, struct err *err);
/* Called every few milliseconds by a watchdog: when an operation has blocked the receiving thread
 * for long, another one goes on with the stream. False: there is no thread to be had, the stream
 * has ended, and fp_stream_abandon() is the caller's to call. */
__attribute__((warn_unused_result)) bool fp_stream_watch(struct fp_stream *st, uint64_t now);
/* Ends the waits of a stream that nobody goes on with and gives its reference back, which may be
 * the last: not under a lock that on_idle takes. May block as long as a disk does. */
void fp_stream_abandon(struct fp_stream *st);
/* Nothing is under way and nothing waits to be read. *ret_received tells two looks apart: equal,
 * and both true with time between them, the stream is at rest. */
bool fp_stream_is_quiet(struct fp_stream *st, uint64_t *ret_received);

/* For the pool and the locks. */
#define FP_SCRATCH_SIZE ((FP_FRAME_MAX + 4096u + 63u) & ~63u)
void fp_stream_run_job(struct fp_job *job, void *scratch);
void fp_stream_lock_done(void *ticket, int result);

#endif
