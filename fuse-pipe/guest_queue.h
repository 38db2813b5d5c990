/* guest_queue.h - inside of the guest's pump: what its files share. Nobody else includes it. */
#ifndef FCVM_FUSE_PIPE_GUEST_QUEUE_H
#define FCVM_FUSE_PIPE_GUEST_QUEUE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fp_wire.h"
#include "guest_pump.h"
#include "guest_records.h"
#include "guest_reqs.h"

#define GUEST_INTERRUPTED_MAX 128
#define GUEST_IN_SIZE (2u * FP_FRAME_MAX)

/* An INTERRUPT that was sent: its request may have to be sent again, and this after it. */
struct guest_interrupt {
	uint64_t target;
	uint8_t frame[64];
	uint8_t len;
};

struct guest_queue {
	struct guest_pump *pump;
	uint16_t number;
	pthread_t thread;
	bool started;
	int fuse_fd, sock;
	struct guest_reqs reqs;
	struct guest_req *scratch; /* what the next request is read into */
	uint8_t *in;               /* GUEST_IN_SIZE; [start, end) is not yet parsed */
	size_t in_start, in_end;
	uint64_t epoch;      /* of the host at its other end */
	uint64_t lost_at_ms; /* when the stream went; 0 = it is there */
};

struct guest_pump {
	struct guest_pump_config config;
	uint8_t session[FP_SESSION_SIZE];
	_Atomic bool stopping; /* for who is busy */
	int stop_fd;           /* eventfd: readable = end, for who sleeps */
	int gone_fd;           /* eventfd: readable = unmounted */
	struct guest_queue queues[FP_STREAMS_MAX];

	pthread_mutex_t lock; /* of all below */
	uint64_t epoch;       /* of the host that has the records */
	struct guest_records records;
	struct fp_group_rule rules[FP_GROUP_RULES_MAX];
	size_t n_rules;
	struct guest_interrupt interrupted[GUEST_INTERRUPTED_MAX];
	size_t oldest_interrupted;
	_Atomic size_t n_interrupted; /* 0 is seen without the lock */
	bool started;                 /* the kernel's first request was answered */
	int start_error;
	pthread_cond_t start_cond;
	pthread_mutex_t connect_lock; /* of config.connect */
};

/* guest_link.c: the stream. Connects, says hello, hands back the records when asked to and waits
 * for the host's READY; all within deadline. */
int guest_link_connect(struct guest_queue *q, uint64_t deadline_ms, struct err *err);
/* The items of a frame: records and rules. -EPIPE, and nothing is done, when they are of a host
 * whose place another one has taken: the stream is lost, what it answers is to be asked again. */
int guest_link_items(const struct guest_queue *q, const struct fp_frame *f, struct err *err);
/* Receives once, without waiting; bytes, 0 when there is nothing, -EPIPE at the end. */
ssize_t guest_link_receive(struct guest_queue *q);
/* The next whole frame of what was received: 1, 0, or negative when the peer is wrong. */
int guest_link_next(struct guest_queue *q, struct fp_frame *ret, struct err *err);

/* guest_queue.c: one round without waiting. Bytes moved; -ENODEV: unmounted; else the stream is
 * lost. */
ssize_t guest_queue_round(struct guest_queue *q);
/* Callers that wait, and those that come until then, get ENOTCONN; some may be left for the next
 * call. -ENODEV: unmounted. */
int guest_queue_refuse(struct guest_queue *q, uint64_t until_ms);
/* Everything unanswered is to be sent again. */
void guest_queue_rewind(struct guest_queue *q);
bool guest_queue_has_output(const struct guest_queue *q);
bool guest_queue_takes_requests(const struct guest_queue *q);

/* guest_groups.c: appends the supplementary groups of a task as an item; returns the number of
 * items, 0 when it cannot be read (it is gone, or of another namespace). */
uint16_t guest_groups_item(uint32_t pid, struct buf *out);

#endif
