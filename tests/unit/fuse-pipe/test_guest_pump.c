/* test_guest_pump.c - the pump as a whole, with guest_link.c and guest_queue.c: what a kernel and a
 * host see of each other through it, and what happens when one of them goes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cleanup.h"
#include "fake_ends.h"
#include "frame.h"
#include "guest_queue.h"
#include "hooks.h"
#include "io.h"

#define PATIENT 60000 /* longer than any test: nobody is refused */

Test(guest_pump, requests_reach_the_host_and_answers_the_kernel_in_any_order)
{
	struct ends e;
	struct fuse_in_header in;

	ends_start(&e, PATIENT);
	ends_up(&e, 0);
	for (uint64_t u = 4; u <= 40; u += 2)
		kernel_send(&e, FUSE_LOOKUP, u, "name", 5);
	for (uint64_t u = 4; u <= 40; u += 2) {
		struct fp_frame f = host_expect(&e, &in);

		cr_expect_eq(in.unique, u);
		cr_expect_eq(f.flags, 0);
		cr_expect_eq(f.msg_len, sizeof(in) + 5);
		cr_expect_str_eq((const char *)f.msg + sizeof(in), "name");
	}
	for (uint64_t u = 40; u >= 4; u -= 2)
		host_answer(&e, u, -(int)u, NULL, 0);
	for (uint64_t u = 40; u >= 4; u -= 2)
		cr_expect_eq(kernel_expect(&e, u), -(int)u);
	ends_down(&e);
}

Test(guest_pump, a_message_of_the_largest_size_passes)
{
	static uint8_t body[100000]; /* what a packet of this socket takes */
	struct ends e;
	struct fuse_in_header in;

	ends_start(&e, PATIENT);
	ends_up(&e, 0);
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)(i * 7);
	for (uint64_t u = 4; u <= 8; u += 2) {
		kernel_send(&e, FUSE_WRITE, u, body, sizeof(body));
		struct fp_frame f = host_expect(&e, &in);
		cr_expect_eq(in.unique, u);
		cr_assert_eq(f.msg_len, sizeof(in) + sizeof(body));
		cr_expect_eq(memcmp(f.msg + sizeof(in), body, sizeof(body)), 0);
		host_answer(&e, u, 0, NULL, 0);
		cr_expect_eq(kernel_expect(&e, u), 0);
	}
	ends_down(&e);
}

Test(guest_pump, groups_go_with_the_requests_that_ask_for_them_and_no_others)
{
	struct ends e;
	struct fuse_in_header in;
	struct fp_item item;
	size_t pos = 0;
	int n = getgroups(0, NULL);

	ends_start(&e, PATIENT);
	ends_up(&e, FUSE_MKDIR);
	kernel_send(&e, FUSE_LOOKUP, 4, "a", 2);
	cr_expect_eq(host_expect(&e, &in).n, 0);
	kernel_send(&e, FUSE_MKDIR, 6, "a", 2);
	struct fp_frame f = host_expect(&e, &in);
	cr_assert_eq(f.n, 1);
	cr_assert(fp_item_next(&f, &pos, &item));
	cr_expect_eq(item.type, FP_T_GROUPS);
	cr_expect_eq(item.len, (uint32_t)n * 4);
	ends_down(&e);
}

static void keep(struct buf *items, uint16_t type, uint64_t key, const char *value)
{
	auto_buf struct buf data = BUF_INIT(FP_KEY_SIZE + 16);

	store_le64(memset(buf_grow(&data, FP_KEY_SIZE), 0, FP_KEY_SIZE), key);
	if (type == FP_T_KEEP)
		buf_add_str(&data, value);
	fp_item_put(items, type, data.data, data.len);
}

Test(guest_pump, after_a_lost_stream_records_are_handed_back_and_requests_sent_again)
{
	const struct fuse_interrupt_in interrupt = {.unique = 8};
	auto_buf struct buf items = BUF_INIT(4096);
	struct fp_hello first, second;
	struct fuse_in_header in;
	struct fp_item item;
	struct ends e;
	size_t pos = 0;

	ends_start(&e, PATIENT);
	ends_up(&e, 0);
	for (uint64_t u = 4; u <= 8; u += 2) {
		kernel_send(&e, FUSE_LOOKUP, u, "a", 2);
		(void)host_expect(&e, &in);
	}
	kernel_send(&e, FUSE_INTERRUPT, 9, &interrupt, sizeof(interrupt));
	(void)host_expect(&e, &in);
	keep(&items, FP_T_KEEP, 1, "one");
	keep(&items, FP_T_KEEP, 2, "two");
	keep(&items, FP_T_DROP, 1, "");
	host_answer(&e, 6, 0, &items, 3);
	cr_expect_eq(kernel_expect(&e, 6), 0);
	host_hang_up(&e);

	ends_accept(&e, FP_H_FRESH | FP_H_RECORDS, 0, &first);
	struct fp_frame f = host_expect(&e, &in);
	cr_expect_eq(f.flags, FP_F_BARE | FP_F_END);
	cr_assert_eq(f.n, 1);
	cr_assert(fp_item_next(&f, &pos, &item));
	cr_expect_eq(load_le64(item.data), 2);
	cr_expect_eq(memcmp(item.data + FP_KEY_SIZE, "two", 3), 0);
	ends_ready(&e, 0);
	static const uint64_t again[] = {4, 8, 9};
	for (size_t i = 0; i < ARRAY_SIZE(again); i++) {
		f = host_expect(&e, &in);
		cr_expect_eq(in.unique, again[i]);
		cr_expect_eq(f.flags & FP_F_RESENT, again[i] == 9 ? 0 : FP_F_RESENT);
	}
	host_answer(&e, 4, 0, NULL, 0);
	host_answer(&e, 8, -EINTR, NULL, 0);
	cr_expect_eq(kernel_expect(&e, 4), 0);
	cr_expect_eq(kernel_expect(&e, 8), -EINTR);
	host_hang_up(&e);

	/* A host that still knows the session wants no records; nothing is open. */
	ends_accept(&e, FP_H_RECORDS, 0, &second);
	cr_expect_eq(memcmp(first.session, second.session, FP_SESSION_SIZE), 0);
	ends_ready(&e, 0);
	kernel_send(&e, FUSE_LOOKUP, 10, "b", 2);
	f = host_expect(&e, &in);
	cr_expect_eq(in.unique, 10);
	cr_expect_eq(f.flags, 0);
	ends_down(&e);
}

Test(guest_pump, callers_get_enotconn_when_the_host_stays_away_and_are_served_when_it_is_back)
{
	struct fuse_in_header in;
	struct ends e;

	ends_start(&e, 200);
	ends_up(&e, 0);
	kernel_send(&e, FUSE_LOOKUP, 4, "a", 2);
	(void)host_expect(&e, &in);
	e.refuse = true;
	host_hang_up(&e);
	kernel_send(&e, FUSE_LOOKUP, 6, "a", 2);
	cr_expect_eq(kernel_expect(&e, 4), -ENOTCONN);
	cr_expect_eq(kernel_expect(&e, 6), -ENOTCONN);
	kernel_send(&e, FUSE_FORGET, 8, "12345678", 8);
	kernel_send(&e, FUSE_LOOKUP, 10, "a", 2);
	cr_expect_eq(kernel_expect(&e, 10), -ENOTCONN, "and FORGET has no answer");

	e.refuse = false;
	ends_accept(&e, FP_H_RECORDS, 0, NULL);
	ends_ready(&e, 0);
	/* Until then requests may still be refused. */
	uint64_t u = 12;
	for (int error = -ENOTCONN; error == -ENOTCONN; u += 2) {
		kernel_send(&e, FUSE_LOOKUP, u, "a", 2);
		if (io_wait(e.kernel, POLLIN, deadline_in(50)) == 0) {
			(void)host_expect(&e, &in);
			host_answer(&e, u, 0, NULL, 0);
		}
		error = kernel_expect(&e, u);
	}
	ends_down(&e);
}

Test(guest_pump, answers_are_taken_while_the_host_reads_nothing)
{
	static uint8_t body[32768];
	struct fuse_in_header in;
	struct ends e;
	uint64_t u = 4;

	ends_start(&e, PATIENT);
	ends_up(&e, 0);
	kernel_send(&e, FUSE_LOOKUP, u, "a", 2);
	(void)host_expect(&e, &in);
	/* Until nothing moves: the stream is full and the pump reads no more requests. */
	cr_assert_eq(io_set_nonblock(e.kernel, true), 0);
	for (int idle = 0; idle < 3;) {
		struct fuse_in_header h = {
			.len = sizeof(h) + sizeof(body), .opcode = FUSE_WRITE, .unique = u + 2};
		struct iovec iov[] = {{&h, sizeof(h)}, {body, sizeof(body)}};

		if (writev(e.kernel, iov, 2) > 0)
			u += 2;
		else if (io_wait(e.kernel, POLLOUT, deadline_in(50)) == 0)
			idle++;
	}
	host_answer(&e, 4, 0, NULL, 0);
	cr_expect_eq(kernel_expect(&e, 4), 0);
	cr_expect(kernel_is_quiet(&e));
	for (uint64_t next = 6; next <= u; next += 2) {
		(void)host_expect(&e, &in);
		cr_assert_eq(in.unique, next);
	}
	ends_down(&e);
}

/* What a host leaves unanswered is kept, to be sent again: so much of it and no more. */
Test(guest_pump, a_host_that_answers_nothing_is_asked_no_more_at_some_point)
{
	enum { BODY = 100000, LIMIT = 64 << 20 };
	static uint8_t body[BODY];
	struct fuse_in_header in;
	struct ends e;
	size_t sent = 0;

	ends_start(&e, PATIENT);
	ends_up(&e, 0);
	cr_assert_eq(io_set_nonblock(e.kernel, true), 0);
	for (int idle = 0; idle < 3 && sent < 2 * LIMIT / BODY;) {
		struct fuse_in_header h = {
			.len = sizeof(h) + BODY, .opcode = FUSE_WRITE, .unique = 4 + 2 * sent};
		struct iovec iov[] = {{&h, sizeof(h)}, {body, BODY}};

		if (writev(e.kernel, iov, 2) > 0)
			sent++;
		if (io_wait(e.host, POLLIN, deadline_in(50)) == 1)
			(void)host_expect(&e, &in);
		else
			idle++;
	}
	cr_expect_gt(sent, LIMIT / BODY);
	cr_expect_lt(sent, (LIMIT + (4 << 20)) / BODY);
	ends_down(&e);
}

Test(guest_pump, a_host_that_breaks_the_protocol_loses_the_stream_and_nothing_else)
{
	static const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0};
	auto_buf struct buf items = BUF_INIT(4096);
	struct fuse_in_header in;
	struct ends e;

	ends_start(&e, PATIENT);
	ends_up(&e, 0);
	kernel_send(&e, FUSE_LOOKUP, 4, "a", 2);
	(void)host_expect(&e, &in);
	cr_assert_eq(write(e.host, huge, sizeof(huge)), (ssize_t)sizeof(huge));
	host_hang_up(&e);
	ends_accept(&e, FP_H_RECORDS, 0, NULL);
	ends_ready(&e, 0);
	cr_expect_eq(host_expect(&e, &in).flags, FP_F_RESENT);
	/* Groups are the guest's to send. */
	fp_item_put(&items, FP_T_GROUPS, "1234", 4);
	host_answer(&e, 4, 0, &items, 1);
	host_hang_up(&e);
	ends_accept(&e, FP_H_RECORDS, 0, NULL);
	ends_ready(&e, 0);
	(void)host_expect(&e, &in);
	cr_expect_eq(in.unique, 4);
	/* An answer that nobody waits for is the kernel's to refuse. */
	host_answer(&e, 1234, 0, NULL, 0);
	host_answer(&e, 4, 0, NULL, 0);
	cr_expect_eq(kernel_expect(&e, 1234), 0);
	cr_expect_eq(kernel_expect(&e, 4), 0);
	ends_down(&e);
}

Test(guest_pump, a_mount_that_is_gone_is_told)
{
	struct ends e;

	ends_start(&e, PATIENT);
	ends_up(&e, 0);
	cr_expect_eq(io_wait(guest_pump_fd(e.pump), POLLIN, deadline_in(20)), 0);
	cleanup_close_p(&e.kernel);
	e.kernel = -1;
	cr_expect_eq(io_wait(guest_pump_fd(e.pump), POLLIN, deadline_in(20000)), 1);
	ends_down(&e);
}

static void *free_main(void *arg)
{
	guest_pump_free_p(arg);
	return NULL;
}

/* It is told while it comes back to more than it does in one round. */
Test(guest_pump, one_that_has_much_to_do_ends_before_that_is_done)
{
	enum { WAITING = 150 };
	struct fuse_in_header in;
	struct ends e;
	pthread_t thread;
	int sent = 0;

	ends_start(&e, PATIENT);
	ends_up(&e, 0);
	host_hang_up(&e);
	for (uint64_t u = 4; u < 4 + 2 * WAITING; u += 2)
		kernel_send(&e, FUSE_LOOKUP, u, "a", 2);
	cr_assert_eq(io_wait(e.streams[1], POLLIN, deadline_in(20000)), 1);
	auto_close int stop_fd = dup(e.pump->stop_fd);
	struct guest_pump *pump = TAKE_PTR(e.pump);
	cr_assert_eq(pthread_create(&thread, NULL, free_main, &pump), 0);
	cr_assert_eq(io_wait(stop_fd, POLLIN, deadline_in(20000)), 1);
	ends_accept(&e, FP_H_RECORDS, 0, NULL);
	ends_ready(&e, 0);
	while (host_has_more(&e)) {
		(void)host_expect(&e, &in);
		sent++;
	}
	cr_expect_lt(sent, WAITING);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	ends_down(&e);
}

/* --- callers that ask again as soon as they are answered --- */

static struct ends *busy;
static const pthread_mutex_t *busy_lock;
static _Atomic uint64_t busy_unique; /* of the last that was asked */

/* In the pump's thread, once for each request that it takes: there is always one more. */
static void ask_again(const pthread_mutex_t *mutex)
{
	struct fuse_in_header in = {.len = sizeof(in), .opcode = FUSE_GETATTR, .nodeid = 1};
	struct fuse_out_header out;

	if (mutex != busy_lock)
		return;
	while (recv(busy->kernel, &out, sizeof(out), MSG_DONTWAIT) > 0)
		;
	in.unique = atomic_load(&busy_unique) + 2;
	atomic_store(&busy_unique, in.unique);
	(void)send(busy->kernel, &in, sizeof(in), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The host has gone for good, and there is one of them. */
static void begin_busy(struct ends *e)
{
	ends_start(e, PATIENT);
	ends_up(e, 0);
	e->pump->config.reconnect_ms = 0;
	e->refuse = true;
	host_hang_up(e);
	busy = e;
	busy_lock = &e->pump->lock;
	atomic_store(&busy_unique, 4);
	atomic_store(&hooks_unlocked, ask_again);
	kernel_send(e, FUSE_GETATTR, 4, NULL, 0);
}

Test(guest_pump, callers_that_never_stop_do_not_keep_it_from_the_host_and_are_refused_all_the_same)
{
	struct fuse_out_header out = {0};
	struct ends e;
	char byte;
	size_t n;

	begin_busy(&e);
	e.refuse = false;
	cr_assert_eq(io_wait(e.streams[1], POLLIN, deadline_in(20000)), 1, "no stream in time");
	e.refuse = true;
	cr_assert_eq(io_recv_fds(e.streams[1], &byte, 1, &e.host, 1, &n, 0, NULL), 1);
	host_hang_up(&e);
	atomic_store(&hooks_unlocked, NULL);
	while (out.unique != atomic_load(&busy_unique)) {
		cr_assert_eq(io_wait(e.kernel, POLLIN, deadline_in(20000)), 1, "no answer in time");
		cr_assert_eq(recv(e.kernel, &out, sizeof(out), 0), (ssize_t)sizeof(out));
		cr_expect_eq(out.error, -ENOTCONN);
	}
	ends_down(&e);
}

Test(guest_pump, one_whose_callers_never_stop_ends)
{
	pthread_t thread;
	struct ends e;

	begin_busy(&e);
	struct guest_pump *pump = TAKE_PTR(e.pump);
	cr_assert_eq(pthread_create(&thread, NULL, free_main, &pump), 0);
	cr_assert_eq(io_wait(e.kernel, 0, deadline_in(20000)), 1, "it goes on");
	cr_assert_eq(pthread_join(thread, NULL), 0);
	atomic_store(&hooks_unlocked, NULL);
	ends_down(&e);
}

Test(guest_pump, a_host_that_refuses_is_told_nothing_and_asked_anew)
{
	struct ends e;
	char byte;

	ends_start(&e, PATIENT);
	ends_accept(&e, FP_H_FRESH | FP_H_RECORDS, -EBUSY, NULL);
	auto_close int refused = e.host;
	ends_up(&e, 0);
	cr_expect_eq(io_read_full(refused, &byte, 1, deadline_in(20000), NULL), -EPIPE);
	ends_down(&e);
}

Test(guest_pump, a_host_that_speaks_another_version_is_named)
{
	struct ends e;
	struct err err = {0};

	ends_start(&e, PATIENT);
	uint8_t hello[FP_HELLO_SIZE];
	const struct fp_hello other = {.version = FP_VERSION + 1, .n_streams = 1};
	size_t n;
	char byte;

	fp_hello_put(&other, hello);
	cr_assert_eq(io_wait(e.streams[1], POLLIN, deadline_in(20000)), 1);
	cr_assert_eq(io_recv_fds(e.streams[1], &byte, 1, &e.host, 1, &n, 0, &err), 1);
	cr_assert_eq(write(e.host, hello, sizeof(hello)), (ssize_t)sizeof(hello));
	cr_expect_eq(ends_join(&e), -EPROTONOSUPPORT);
	cr_expect_str_eq(e.err.msg, "peer speaks fuse-pipe version 2, this is 1");
	ends_down(&e);
}

Test(guest_pump, a_host_that_never_answers_is_not_waited_for_longer_than_told)
{
	struct ends e;

	ends_start(&e, 50);
	cr_expect_eq(ends_join(&e), -ETIMEDOUT);
	cr_expect_null(e.pump);
	ends_down(&e);
}

Test(guest_pump, a_kernel_that_is_refused_makes_start_fail)
{
	struct fuse_in_header in;
	struct ends e;

	ends_start(&e, PATIENT);
	ends_accept(&e, FP_H_RECORDS, 0, NULL);
	ends_ready(&e, 0);
	(void)host_expect(&e, &in);
	host_answer(&e, in.unique, -EPROTO, NULL, 0);
	cr_expect_eq(ends_join(&e), -EPROTO);
	cr_expect_str_eq(e.err.msg, "fuse-pipe host does not take the mount: Protocol error");
	ends_down(&e);
}

Test(guest_pump, more_queues_than_streams_are_refused)
{
	const struct guest_pump_config config = {.queues = FP_STREAMS_MAX + 1};
	struct guest_pump *pump = NULL;
	struct err err = {0};

	cr_expect_eq(guest_pump_start(&config, &pump, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "17 queues, expected 1 to 16");
}
