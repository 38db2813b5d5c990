#include "fp_server.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "frame.h"
#include "hooks.h"
#include "io.h"
#include "rig.h"
#include "xalloc.h"

Test(fp_server, a_stream_that_says_no_hello_is_cut)
{
	auto_rig struct rig r = {0};
	static const uint8_t noise[FP_HELLO_SIZE] = "GET / HTTP/1.1";

	rig_start(&r, NULL);
	int kept = r.fd;
	r.fd = rig_connect(&r);
	rig_raw(&r, noise, sizeof(noise));
	uint8_t wire[FP_HELLO_SIZE];
	cr_assert_eq(io_read_full(r.fd, wire, sizeof(wire), deadline_in(60000), NULL), 0);
	struct fp_hello h;
	cr_expect_eq(fp_hello_get(wire, &h, NULL), 0);
	cr_expect_eq(h.status, -EPROTO);
	cr_expect(rig_is_cut(&r));
	cleanup_close_p(&r.fd);
	r.fd = kept;
	rig_write_file(&r, "f", "");
	(void)rig_lookup(&r, 1, "f");
}

Test(fp_server, another_version_is_told_so)
{
	auto_rig struct rig r = {0};
	struct fp_hello h = {.version = 2, .n_streams = 1};
	uint8_t wire[FP_HELLO_SIZE];

	rig_start(&r, NULL);
	int fd = rig_connect(&r);
	fp_hello_put(&h, wire);
	cr_assert_eq(io_write_full(fd, wire, sizeof(wire), 0, NULL), 0);
	cr_assert_eq(io_read_full(fd, wire, sizeof(wire), deadline_in(60000), NULL), 0);
	cr_assert_eq(fp_hello_get(wire, &h, NULL), 0);
	cr_expect_eq(h.status, -EPROTONOSUPPORT);
	(void)close(fd);
}

Test(fp_server, one_mount_at_a_time_and_its_first_stream_first)
{
	auto_rig struct rig r = {0};

	rig_start(&r, NULL);
	int kept = r.fd;
	r.session[0] ^= 1;
	int fd = rig_connect(&r);
	cr_expect_eq(rig_hello(&r, fd, 1, 2).status, -EAGAIN);
	(void)close(fd);
	fd = rig_connect(&r);
	cr_expect_eq(rig_hello(&r, fd, 0, 1).status, -EBUSY);
	(void)close(fd);
	r.session[0] ^= 1;
	fd = rig_connect(&r);
	struct fp_hello h = rig_hello(&r, fd, 1, 2);
	cr_expect(h.status == 0 && !(h.flags & FP_H_FRESH));
	rig_ready(fd, false, NULL, 0);
	(void)close(fd);
	r.fd = kept;
}

Test(fp_server, the_next_mount_begins_anew)
{
	auto_rig struct rig r = {0};
	uint64_t fh;

	rig_start(&r, NULL);
	uint64_t f = rig_create(&r, 1, "f", 0600, &fh);
	/* Also with a lock that waits, which holds the old stream. */
	struct fuse_lk_in in = {.fh = fh, .owner = 1, .lk = {.end = INT64_MAX, .type = F_WRLCK}};
	cr_assert_eq(RIG_CALL(&r, FUSE_SETLK, f, &in, NULL), 0);
	in.owner = 2;
	(void)rig_send(&r, FUSE_SETLKW, f, &in, sizeof(in), NULL, NULL);
	(void)rig_lookup(&r, 1, "f");
	cleanup_close_p(&r.fd);
	r.session[0] ^= 1;
	struct fp_hello h = {.status = -EBUSY};
	while (h.status == -EBUSY) {
		cleanup_close_p(&r.fd);
		r.fd = rig_connect(&r);
		h = rig_hello(&r, r.fd, 0, 1);
	}
	cr_assert(h.status == 0 && (h.flags & FP_H_FRESH));
	rig_ready(r.fd, true, NULL, 0);
	cr_expect_eq(rig_lookup_error(&r, 1, "f"), -EPROTO, "before INIT");
	rig_init(&r);
	struct fuse_getattr_in attr = {0};
	cr_expect_eq(RIG_CALL(&r, FUSE_GETATTR, f, &attr, NULL), -ESTALE);
	f = rig_create(&r, 1, "f", 0600, &fh);
	in.fh = fh;
	cr_expect_eq(RIG_CALL(&r, FUSE_SETLK, f, &in, NULL), 0, "the old lock is gone");
}

Test(fp_server, a_stream_that_comes_back_finds_everything)
{
	auto_rig struct rig r = {0};
	uint64_t fh;

	rig_start(&r, NULL);
	uint64_t f = rig_create(&r, 1, "f", 0600, &fh);
	cleanup_close_p(&r.fd);
	r.fd = rig_connect(&r);
	struct fp_hello h = rig_hello(&r, r.fd, 0, 1);
	cr_assert(h.status == 0 && !(h.flags & FP_H_FRESH));
	rig_ready(r.fd, false, NULL, 0);
	struct fuse_read_in in = {.fh = fh, .size = 10};
	cr_expect_eq(RIG_CALL(&r, FUSE_READ, f, &in, NULL), 0);
}

/* What the old stream began ends before the same is asked for again. */
Test(fp_server, a_stream_is_not_ready_while_the_one_before_it_works)
{
	auto_rig struct rig r = {0};
	struct fuse_setattr_in cut = {.valid = FATTR_SIZE};
	struct pollfd p = {.events = POLLIN};

	(void)signal(SIGIO, SIG_IGN);
	rig_start(&r, NULL);
	rig_write_file(&r, "f", "text");
	uint64_t f = rig_lookup(&r, 1, "f");
	/* A lease of ours: truncating waits until we give it back. */
	auto_close int lease = open(rig_path(&r, "f"), O_RDONLY | O_CLOEXEC);
	cr_assert_eq(fcntl(lease, F_SETLEASE, F_RDLCK), 0);
	(void)rig_send(&r, FUSE_SETATTR, f, &cut, sizeof(cut), NULL, NULL);
	while (fcntl(lease, F_GETLEASE) == F_RDLCK)
		(void)sched_yield();
	int old = r.fd;
	r.fd = rig_connect(&r);
	cr_assert_eq(rig_hello(&r, r.fd, 0, 1).status, 0);
	p.fd = r.fd;
	cr_expect_eq(poll(&p, 1, 50), 0, "READY too soon");
	cr_assert_eq(fcntl(lease, F_SETLEASE, F_UNLCK), 0);
	rig_ready(r.fd, false, NULL, 0);
	(void)rig_lookup(&r, 1, "f");
	(void)close(old);
}

/* The lock it waited for must be free for others when the waiter is gone. */
Test(fp_server, a_wait_ends_with_its_stream)
{
	auto_rig struct rig r = {0};
	uint64_t fh;

	rig_start(&r, NULL);
	uint64_t f = rig_create(&r, 1, "f", 0600, &fh);
	struct fuse_lk_in in = {.fh = fh, .owner = 1, .lk = {.end = INT64_MAX, .type = F_WRLCK}};
	cr_assert_eq(RIG_CALL(&r, FUSE_SETLK, f, &in, NULL), 0);
	in.owner = 2;
	(void)rig_send(&r, FUSE_SETLKW, f, &in, sizeof(in), NULL, NULL);
	(void)rig_lookup(&r, 1, "f");
	cleanup_close_p(&r.fd);
	while (fp_server_count(r.server).streams > 0)
		(void)sched_yield();
	r.fd = rig_connect(&r);
	(void)rig_hello(&r, r.fd, 0, 1);
	rig_ready(r.fd, false, NULL, 0);
	in.owner = 1;
	in.lk.type = F_UNLCK;
	cr_expect_eq(RIG_CALL(&r, FUSE_SETLK, f, &in, NULL), 0);
	in.owner = 3;
	in.lk.type = F_WRLCK;
	cr_expect_eq(RIG_CALL(&r, FUSE_SETLK, f, &in, NULL), 0);
}

Test(fp_server, a_new_server_goes_on_from_the_records)
{
	auto_rig struct rig r = {.keeps_records = true};
	auto_buf struct buf records = BUF_INIT(FP_TRAILER_MAX);
	struct fuse_getattr_in attr = {0};
	uint64_t fh;

	rig_need_root();
	rig_start(&r, NULL);
	uint64_t d = rig_mkdir(&r, 1, "d");
	uint16_t n = rig_collect(&r, &records);
	uint64_t f = rig_create(&r, d, "f", 0600, &fh);
	n = (uint16_t)(n + rig_collect(&r, &records));
	cr_assert_eq(n, 3);
	rig_write_file(&r, "d/f", "text");
	rig_come_back(&r, &records, n);
	struct fuse_read_in in = {.fh = fh, .size = 10};
	cr_expect_eq(RIG_CALL(&r, FUSE_READ, f, &in, NULL), 0);
	cr_expect(r.out_len == 4 && memcmp(r.out, "text", 4) == 0);
	cr_expect_eq(rig_lookup(&r, d, "f"), f, "the same node");
	cr_expect_eq(rig_lookup(&r, 1, "d"), d);
	struct fuse_write_in w = {.fh = fh};
	cr_expect_eq(RIG_CALL(&r, FUSE_WRITE, f, &w, NULL), 0, "open for writing as before");
	cr_expect_eq(RIG_CALL(&r, FUSE_GETATTR, f + 1, &attr, NULL), -ESTALE);
}

/* The guest forgot the node, then looked it up again over the stream that was back first. */
Test(fp_server, a_forget_that_waited_for_its_stream_takes_no_node_that_was_looked_up_since)
{
	auto_rig struct rig r = {.keeps_records = true};
	auto_buf struct buf records = BUF_INIT(FP_TRAILER_MAX);
	struct fuse_forget_in forget = {.nlookup = 2};
	struct fuse_getattr_in attr = {0};

	rig_need_root();
	rig_start(&r, NULL);
	rig_write_file(&r, "f", "");
	uint64_t f = rig_lookup(&r, 1, "f");
	uint16_t n = rig_collect(&r, &records);
	(void)rig_lookup(&r, 1, "f");
	rig_come_back(&r, &records, n);
	const uint64_t now = now_ms();
	atomic_store(&hooks_now_ms, now);
	cr_assert_eq(rig_lookup(&r, 1, "f"), f);
	atomic_store(&hooks_now_ms, now + 5000);
	const int first = r.fd;
	r.fd = rig_connect(&r);
	cr_assert_eq(rig_hello(&r, r.fd, 1, 2).status, 0);
	rig_ready(r.fd, false, NULL, 0);
	(void)rig_send(&r, FUSE_FORGET, f, &forget, sizeof(forget), NULL, NULL);
	cr_expect_eq(RIG_CALL(&r, FUSE_GETATTR, f, &attr, NULL), 0);
	(void)close(first);
}

Test(fp_server, what_vanished_meanwhile_is_stale)
{
	auto_rig struct rig r = {.keeps_records = true};
	auto_buf struct buf records = BUF_INIT(FP_TRAILER_MAX);
	struct fuse_getattr_in attr = {0};
	uint64_t fh;

	rig_need_root();
	rig_start(&r, NULL);
	uint64_t f = rig_create(&r, 1, "f", 0600, &fh);
	uint16_t n = rig_collect(&r, &records);
	cleanup_close_p(&r.fd);
	cr_assert_eq(unlink(rig_path(&r, "f")), 0);
	rig_come_back(&r, &records, n);
	cr_expect_eq(RIG_CALL(&r, FUSE_GETATTR, f, &attr, NULL), -ESTALE);
	struct fuse_read_in in = {.fh = fh, .size = 10};
	cr_expect_eq(RIG_CALL(&r, FUSE_READ, f, &in, NULL), -ESTALE);
}

/* A guest that makes up a handle for a file outside the directory. */
Test(fp_server, forged_records_open_nothing)
{
	auto_rig struct rig r = {.keeps_records = true};
	auto_buf struct buf records = BUF_INIT(FP_TRAILER_MAX);
	struct fuse_getattr_in attr = {0};

	rig_need_root();
	rig_start(&r, NULL);
	uint64_t d = rig_mkdir(&r, 1, "d");
	uint16_t n = rig_collect(&r, &records);
	for (size_t i = FP_ITEM_SIZE + FP_KEY_SIZE; i < records.len; i++)
		records.data[i] = (char)(records.data[i] ^ 1);
	rig_come_back(&r, &records, n);
	cr_expect_eq(RIG_CALL(&r, FUSE_GETATTR, d, &attr, NULL), -ESTALE);
	cr_expect_eq(RIG_CALL(&r, FUSE_GETATTR, 1, &attr, NULL), 0);
}

Test(fp_server, requests_before_ready_end_the_stream)
{
	auto_rig struct rig r = {0};

	rig_start(&r, NULL);
	cleanup_close_p(&r.fd);
	r.session[0] ^= 1;
	struct fp_hello h = {.status = -EBUSY};
	while (h.status == -EBUSY) {
		cleanup_close_p(&r.fd);
		r.fd = rig_connect(&r);
		h = rig_hello(&r, r.fd, 0, 1);
	}
	(void)rig_send(&r, FUSE_LOOKUP, 1, NULL, 0, "x", NULL);
	cr_expect(rig_is_cut(&r));
}

Test(fp_server, broken_frames_end_the_stream_and_nothing_else)
{
	static const uint8_t frames[][16] = {
		{0xff, 0xff, 0xff, 0xff},                 /* length */
		{9},                                      /* not a multiple of 8 */
		{8, 0, 0, 0, 0, 0, 0, 0, 40},             /* the message is longer than the frame */
		{8, 0, 0, 0, 0, 0, 1, 0, 8},              /* an item that is not there */
		{8, 0, 0, 0, 2, 0, 1, 0, 1, 0, 0, 0, 99}, /* an item longer than the frame */
		{8, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff},
	};
	auto_rig struct rig r = {0};

	rig_start(&r, NULL);
	rig_write_file(&r, "f", "");
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		rig_raw(&r, frames[i], 16);
		cr_expect(rig_is_cut(&r), "%zu", i);
		cleanup_close_p(&r.fd);
		r.fd = rig_connect(&r);
		cr_assert_eq(rig_hello(&r, r.fd, 0, 1).status, 0);
		rig_ready(r.fd, false, NULL, 0);
		(void)rig_lookup(&r, 1, "f");
	}
}

Test(fp_server, malformed_requests_are_answered)
{
	auto_rig struct rig r = {0};

	rig_start(&r, NULL);
	cr_expect_eq(rig_call(&r, FUSE_OPEN, 1, NULL, 0, NULL, NULL), -EINVAL);
	cr_expect_eq(rig_call(&r, FUSE_IOCTL, 1, NULL, 0, NULL, NULL), -ENOSYS);
	cr_expect_eq(rig_call(&r, 4096, 1, NULL, 0, NULL, NULL), -ENOSYS);
	cr_expect_eq(rig_lookup_error(&r, 1, ".."), -EINVAL);
	cr_expect_eq(rig_lookup_error(&r, 0, "x"), -ESTALE);
	cr_expect_eq(rig_lookup_error(&r, UINT64_MAX, "x"), -ESTALE);
	struct fuse_forget_in forget = {.nlookup = UINT64_MAX};
	(void)rig_send(&r, FUSE_FORGET, UINT64_MAX, &forget, sizeof(forget), NULL, NULL);
	(void)rig_send(&r, FUSE_FORGET, 1, &forget, sizeof(forget), NULL, NULL);
	(void)rig_send(&r, FUSE_FORGET, 1, NULL, 0, NULL, NULL);
	struct {
		struct fuse_batch_forget_in in;
		struct fuse_forget_one one[2];
	} batch = {{.count = 2}, {{1, 1}, {0, UINT64_MAX}}};
	(void)rig_send(&r, FUSE_BATCH_FORGET, 0, &batch, sizeof(batch), NULL, NULL);
	(void)rig_mkdir(&r, 1, "d");
}

/* Replies that nobody takes: the guest has stopped reading and goes on asking. */
Test(fp_server, a_guest_that_does_not_read_stops_only_itself)
{
	auto_rig struct rig r = {0};
	auto_free char *text = xmalloc(60001);
	uint64_t fh;

	rig_start(&r, NULL);
	memset(text, 'x', 60000);
	text[60000] = '\0';
	uint64_t f = rig_create(&r, 1, "f", 0600, &fh);
	rig_write_file(&r, "f", text);
	struct fuse_read_in in = {.fh = fh, .size = 60000};
	int n = 0;
	while (io_wait(r.fd, POLLOUT, deadline_in(200)) == 1 && n < 10000) {
		(void)rig_send(&r, FUSE_READ, f, &in, sizeof(in), NULL, NULL);
		n++;
	}
	cr_assert_lt(n, 10000, "the server stopped taking requests");
	int other = rig_connect(&r), first = r.fd;
	cr_assert_eq(rig_hello(&r, other, 1, 2).status, 0);
	rig_ready(other, false, NULL, 0);
	r.fd = other;
	cr_expect_eq(rig_lookup(&r, 1, "f"), f);
	r.fd = first;
	for (; n > 0; n--) {
		rig_receive(&r);
		cr_assert_eq(r.out_len, 60000);
	}
	(void)close(other);
}

Test(fp_server, an_old_kernel_is_refused_at_init)
{
	auto_rig struct rig r = {0};
	struct fuse_init_in in = {.major = 7, .minor = 31, .flags = FUSE_BIG_WRITES};

	rig_start(&r, NULL);
	cr_expect_eq(RIG_CALL(&r, FUSE_INIT, 0, &in, NULL), -EPROTO);
	in.major = 8;
	cr_expect_eq(RIG_CALL(&r, FUSE_INIT, 0, &in, NULL), -EPROTO);
}

Test(fp_server, at_rest_it_is_drained)
{
	auto_rig struct rig r = {0};

	rig_start(&r, NULL);
	rig_write_file(&r, "f", "x");
	(void)rig_lookup(&r, 1, "f");
	cr_expect_eq(fp_server_drain(r.server, deadline_in(60000)), 0);
}

static atomic_bool hold, held;

static void hold_the_receiver(void)
{
	atomic_store(&held, true);
	while (atomic_load(&hold))
		(void)sched_yield();
}

Test(fp_server, what_is_received_and_not_executed_yet_is_not_at_rest)
{
	auto_rig struct rig r = {0};
	struct fuse_getattr_in attr = {0};

	rig_start(&r, NULL);
	cr_assert_eq(fp_server_drain(r.server, deadline_in(60000)), 0);
	atomic_store(&hold, true);
	atomic_store(&hooks_received, hold_the_receiver);
	(void)rig_send(&r, FUSE_GETATTR, 1, &attr, sizeof(attr), NULL, NULL);
	while (!atomic_load(&held))
		(void)sched_yield();
	cr_expect_eq(fp_server_drain(r.server, deadline_in(100)), -ETIMEDOUT);
	atomic_store(&hold, false);
	rig_receive(&r);
	cr_expect_eq(fp_server_drain(r.server, deadline_in(60000)), 0);
}
