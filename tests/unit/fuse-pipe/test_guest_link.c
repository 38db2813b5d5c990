/* test_guest_link.c - two queues whose streams change hands one after the other. No threads: what a
 * queue's thread does next is what the test calls next. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "frame.h"
#include "guest_queue.h"
#include "io.h"
#include "xalloc.h"

#define WAIT_MS 20000
#define QUEUES 2

struct link {
	struct guest_pump *pump;
	int host[QUEUES];   /* our ends of the streams */
	int kernel[QUEUES]; /* our ends of what stands for /dev/fuse */
	int next;           /* what connect gives */
	uint8_t in[4096];   /* what a stream brought */
};

static int give_next(void *data, uint16_t stream, int *ret_fd, struct err *err)
{
	struct link *l = data;

	(void)stream;
	(void)err;
	*ret_fd = TAKE_FD(l->next);
	return 0;
}

static void queue_init(struct link *l, unsigned int i)
{
	struct guest_queue *q = &l->pump->queues[i];
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
		     0);
	*q = (struct guest_queue){.pump = l->pump,
				  .number = (uint16_t)i,
				  .fuse_fd = pair[0],
				  .sock = -1,
				  .in = xmalloc(GUEST_IN_SIZE)};
	l->kernel[i] = pair[1];
	l->host[i] = -1;
}

static void link_init(struct link *l)
{
	*l = (struct link){.pump = xcalloc(1, sizeof(*l->pump)), .next = -1};
	l->pump->config =
		(struct guest_pump_config){.queues = QUEUES, .connect = give_next, .data = l};
	cr_assert_eq(pthread_mutex_init(&l->pump->lock, NULL), 0);
	cr_assert_eq(pthread_mutex_init(&l->pump->connect_lock, NULL), 0);
	for (unsigned int i = 0; i < QUEUES; i++)
		queue_init(l, i);
}

static void link_free(struct link *l)
{
	for (unsigned int i = 0; i < QUEUES; i++) {
		struct guest_queue *q = &l->pump->queues[i];

		cleanup_close_p(&q->sock);
		cleanup_close_p(&q->fuse_fd);
		cleanup_close_p(&l->host[i]);
		cleanup_close_p(&l->kernel[i]);
		guest_reqs_free(&q->reqs);
		free(q->scratch);
		free(q->in);
	}
	guest_records_free(&l->pump->records);
	free(l->pump);
}
#define auto_link __attribute__((cleanup(link_free)))

/* The host of that epoch has said hello and READY before it is asked. */
static void connect_to(struct link *l, unsigned int i, uint64_t epoch, uint16_t flags)
{
	const struct fp_hello hello = {.version = FP_VERSION,
				       .flags = flags,
				       .stream = (uint16_t)i,
				       .n_streams = QUEUES,
				       .epoch = epoch};
	uint8_t bytes[FP_HELLO_SIZE + FP_HEAD_SIZE], theirs[FP_HELLO_SIZE];
	struct err err = {0};
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	l->next = pair[0];
	l->host[i] = pair[1];
	fp_hello_put(&hello, bytes);
	fp_head_put(bytes + FP_HELLO_SIZE, FP_F_BARE | FP_F_READY, 0, 0, 0);
	cr_assert_eq(io_write_full(l->host[i], bytes, sizeof(bytes), deadline_in(WAIT_MS), NULL),
		     0);
	cr_assert_eq(guest_link_connect(&l->pump->queues[i], deadline_in(WAIT_MS), &err), 0, "%s",
		     err.msg);
	cr_assert_eq(io_read_full(l->host[i], theirs, sizeof(theirs), deadline_in(WAIT_MS), NULL),
		     0);
}

/* What its thread does when a round says that the stream is lost. */
static void lose(struct link *l, unsigned int i)
{
	cleanup_close_p(&l->pump->queues[i].sock);
	guest_queue_rewind(&l->pump->queues[i]);
}

static struct fp_frame take(struct link *l, unsigned int i)
{
	struct fp_frame f = {0};
	struct err err = {0};
	size_t used = 0;
	ssize_t n = recv(l->host[i], l->in, sizeof(l->in), MSG_DONTWAIT);

	cr_assert_gt(n, 0, "nothing for the host");
	cr_assert_eq(fp_frame_get(l->in, (size_t)n, &f, &used, &err), 1, "%s", err.msg);
	return f;
}

static uint64_t unique_of(const struct fp_frame *f)
{
	struct fuse_in_header in = {0};

	cr_assert_eq(f->msg_len, sizeof(in));
	memcpy(&in, f->msg, sizeof(in));
	return in.unique;
}

static void ask(struct link *l, unsigned int i, uint64_t unique)
{
	const struct fuse_in_header in = {
		.len = sizeof(in), .opcode = FUSE_LOOKUP, .unique = unique};

	cr_assert_eq(send(l->kernel[i], &in, sizeof(in), MSG_NOSIGNAL), (ssize_t)sizeof(in));
	cr_assert_gt(guest_queue_round(&l->pump->queues[i]), 0);
	const struct fp_frame f = take(l, i);
	cr_assert_eq(unique_of(&f), unique);
}

/* With a record to keep under that key. */
static void answer(const struct link *l, unsigned int i, uint64_t unique, uint64_t key)
{
	const struct fuse_out_header out = {.len = sizeof(out), .unique = unique};
	auto_buf struct buf frame = BUF_INIT(4096);
	uint8_t name[FP_KEY_SIZE] = {0};

	store_le64(name, key);
	(void)buf_grow(&frame, FP_HEAD_SIZE);
	buf_add(&frame, &out, sizeof(out));
	fp_item_put_keep(&frame, name, "value", 5);
	fp_head_put((uint8_t *)frame.data, 0, 1, sizeof(out),
		    frame.len - FP_HEAD_SIZE - sizeof(out));
	cr_assert_eq(io_write_full(l->host[i], frame.data, frame.len, deadline_in(WAIT_MS), NULL),
		     0);
}

static bool kernel_has_answer(const struct link *l, unsigned int i, uint64_t unique)
{
	struct fuse_out_header out = {0};
	ssize_t n = recv(l->kernel[i], &out, sizeof(out), MSG_DONTWAIT);

	cr_assert(n < 0 || out.unique == unique, "an answer to %ju", (uintmax_t)out.unique);
	return n > 0;
}

static void hang_up(struct link *l)
{
	for (unsigned int i = 0; i < QUEUES; i++)
		cleanup_close_p(&l->host[i]);
}

/* A host that died has answered both queues; the second one looks at that only when the first one
 * has given all records to the next host, which can hear of no other by itself. */
Test(guest_link, what_a_dead_host_says_is_not_taken_once_the_next_one_has_the_records)
{
	auto_link struct link l;

	link_init(&l);
	connect_to(&l, 0, 1, FP_H_RECORDS | FP_H_FRESH);
	(void)take(&l, 0);
	connect_to(&l, 1, 1, FP_H_RECORDS);
	ask(&l, 0, 4);
	ask(&l, 1, 6);
	answer(&l, 0, 4, 100);
	answer(&l, 1, 6, 101);
	hang_up(&l);

	cr_assert_gt(guest_queue_round(&l.pump->queues[0]), 0);
	cr_expect(kernel_has_answer(&l, 0, 4));
	cr_assert_eq(guest_queue_round(&l.pump->queues[0]), -EPIPE);
	lose(&l, 0);
	connect_to(&l, 0, 2, FP_H_RECORDS | FP_H_FRESH);
	struct fp_frame f = take(&l, 0);
	cr_expect_eq(f.flags, FP_F_BARE | FP_F_END);
	cr_expect_eq(f.n, 1, "only the first queue's record");

	cr_expect_eq(guest_queue_round(&l.pump->queues[1]), -EPIPE);
	cr_expect(!kernel_has_answer(&l, 1, 6));
	cr_expect_eq(l.pump->records.n, 1);
	lose(&l, 1);
	connect_to(&l, 1, 2, FP_H_RECORDS);
	cr_assert_gt(guest_queue_round(&l.pump->queues[1]), 0);
	f = take(&l, 1);
	cr_expect_eq(unique_of(&f), 6);
	cr_expect_eq(f.flags, FP_F_RESENT);
	answer(&l, 1, 6, 201);
	cr_assert_gt(guest_queue_round(&l.pump->queues[1]), 0);
	cr_expect(kernel_has_answer(&l, 1, 6));
	cr_expect_eq(l.pump->records.n, 2);
}

/* The same process needs no records twice, and what it said on the other stream counts. */
Test(guest_link, one_stream_that_is_lost_leaves_the_other_alone)
{
	auto_link struct link l;

	link_init(&l);
	connect_to(&l, 0, 1, FP_H_RECORDS | FP_H_FRESH);
	(void)take(&l, 0);
	connect_to(&l, 1, 1, FP_H_RECORDS);
	ask(&l, 1, 6);
	answer(&l, 1, 6, 101);
	cleanup_close_p(&l.host[0]);
	cr_assert_eq(guest_queue_round(&l.pump->queues[0]), -EPIPE);
	lose(&l, 0);
	connect_to(&l, 0, 1, FP_H_RECORDS);
	cr_assert_gt(guest_queue_round(&l.pump->queues[1]), 0);
	cr_expect(kernel_has_answer(&l, 1, 6));
	cr_expect_eq(l.pump->records.n, 1);
}
