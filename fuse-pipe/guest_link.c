/* guest_link.c - the stream of one queue: hello, records, READY; frames that come in. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "guest_queue.h"
#include "io.h"

static int take_item(struct guest_pump *pump, const struct fp_item *item, struct err *err)
{
	switch (item->type) {
	case FP_T_RULES:
		memcpy(pump->rules, item->data, item->len);
		pump->n_rules = item->len / sizeof(struct fp_group_rule);
		return 0;
	case FP_T_KEEP:
		return guest_records_keep(&pump->records, item->data, item->len, err);
	case FP_T_DROP:
		guest_records_drop(&pump->records, item->data);
		return 0;
	default: /* GROUPS is ours to send */
		return err_set(err, ERR_FAILED, -EPROTO, "fuse-pipe host sent item %u", item->type);
	}
}

/* A host that was replaced may have left some on its way here; the next one would never hear of
 * such a record. */
int guest_link_items(const struct guest_queue *q, const struct fp_frame *f, struct err *err)
{
	struct guest_pump *pump = q->pump;
	struct fp_item item;
	size_t pos = 0;
	int r = 0;

	if (f->n == 0)
		return 0;
	pthread_mutex_lock(&pump->lock);
	if (q->epoch != pump->epoch)
		r = err_set(err, ERR_FAILED, -EPIPE, "fuse-pipe host has been replaced");
	while (r == 0 && fp_item_next(f, &pos, &item))
		r = take_item(pump, &item, err);
	pthread_mutex_unlock(&pump->lock);
	return r;
}

ssize_t guest_link_receive(struct guest_queue *q)
{
	if (q->in_start == q->in_end)
		q->in_start = q->in_end = 0;
	if (GUEST_IN_SIZE - q->in_start < FP_FRAME_MAX) {
		memmove(q->in, q->in + q->in_start, q->in_end - q->in_start);
		q->in_end -= q->in_start;
		q->in_start = 0;
	}
	ssize_t n = recv(q->sock, q->in + q->in_end, GUEST_IN_SIZE - q->in_end, MSG_DONTWAIT);
	if (n == 0)
		return -EPIPE;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	q->in_end += (size_t)n;
	return n;
}

int guest_link_next(struct guest_queue *q, struct fp_frame *ret, struct err *err)
{
	size_t used = 0;
	int r = fp_frame_get(q->in + q->in_start, q->in_end - q->in_start, ret, &used, err);

	if (r > 0)
		q->in_start += used;
	return r;
}

static int say_hello(struct guest_queue *q, struct fp_hello *ret, uint64_t deadline,
		     struct err *err)
{
	struct fp_hello hello = {.version = FP_VERSION,
				 .flags = FP_H_RECORDS,
				 .stream = q->number,
				 .n_streams = (uint16_t)q->pump->config.queues};
	uint8_t bytes[FP_HELLO_SIZE];

	memcpy(hello.session, q->pump->session, FP_SESSION_SIZE);
	fp_hello_put(&hello, bytes);
	int r = io_write_full(q->sock, bytes, sizeof(bytes), deadline, err);
	if (r == 0)
		r = io_read_full(q->sock, bytes, sizeof(bytes), deadline, err);
	if (r == 0)
		r = fp_hello_get(bytes, ret, err);
	if (r == 0 && ret->status < 0)
		r = err_sys_code(err, ret->status, "fuse-pipe host refuses stream %u", q->number);
	return r;
}

/* Of stream 0: from now on this host's records count and no other's, and it has all there are. */
static int follow_host(struct guest_queue *q, bool fresh, uint64_t deadline, struct err *err)
{
	struct guest_pump *pump = q->pump;
	struct guest_records_pos pos = {0};
	auto_buf struct buf frame = BUF_INIT(FP_FRAME_MAX);
	bool more = fresh;
	int r = 0;

	pthread_mutex_lock(&pump->lock);
	pump->epoch = q->epoch;
	while (r == 0 && more) {
		buf_reset(&frame);
		more = guest_records_frame(&pump->records, &pos, &frame);
		r = io_write_full(q->sock, frame.data, frame.len, deadline, err);
	}
	pthread_mutex_unlock(&pump->lock);
	return r;
}

static int await_ready(struct guest_queue *q, uint64_t deadline, struct err *err)
{
	struct fp_frame f = {0};

	for (;;) {
		int r = guest_link_next(q, &f, err);

		if (r > 0)
			r = guest_link_items(q, &f, err);
		if (r < 0)
			return r;
		if (f.flags & FP_F_READY)
			return 0;
		if (io_wait(q->sock, POLLIN, deadline) == 0)
			return err_set(err, ERR_TIMEOUT, -ETIMEDOUT, "fuse-pipe host is not ready");
		ssize_t n = guest_link_receive(q);
		if (n < 0)
			return err_sys_code(err, (int)n, "fuse-pipe host");
	}
}

static int open_stream(struct guest_queue *q, uint64_t deadline, struct err *err)
{
	const struct guest_pump_config *config = &q->pump->config;
	struct fp_hello hello = {0};

	pthread_mutex_lock(&q->pump->connect_lock);
	int r = config->connect(config->data, q->number, &q->sock, err);
	pthread_mutex_unlock(&q->pump->connect_lock);
	q->in_start = q->in_end = 0;
	if (r == 0)
		r = say_hello(q, &hello, deadline, err);
	q->epoch = hello.epoch;
	if (r == 0 && q->number == 0)
		r = follow_host(q, hello.flags & FP_H_FRESH, deadline, err);
	return r < 0 ? r : await_ready(q, deadline, err);
}

int guest_link_connect(struct guest_queue *q, uint64_t deadline_ms, struct err *err)
{
	int r = open_stream(q, deadline_ms, err);

	if (r < 0)
		cleanup_close_p(&q->sock);
	return r;
}
