#include "fake_ends.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"

#define WAIT_MS 20000
#define QUIET_MS 50

static int fake_connect(void *data, uint16_t stream, int *ret_fd, struct err *err)
{
	struct ends *e = data;
	int pair[2];

	(void)stream;
	if (e->refuse)
		return err_set(err, ERR_HOST, -ECONNREFUSED, "nobody listens");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "socketpair");
	int r = io_send_fds(e->streams[0], "", 1, &pair[1], 1, err);
	close(pair[1]);
	*ret_fd = pair[0];
	return r;
}

static int fake_mount(void *data, int *ret_fd, struct err *err)
{
	struct ends *e = data;

	(void)err;
	*ret_fd = TAKE_FD(e->pump_kernel);
	return 0;
}

static void *start_main(void *arg)
{
	struct ends *e = arg;

	e->start_result = guest_pump_start(&e->config, &e->pump, &e->err);
	return NULL;
}

void ends_start(struct ends *e, unsigned int reconnect_ms)
{
	static const uint8_t init[64];
	int pair[2];

	*e = (struct ends){
		.config = {.queues = 1,
			   .spin_us = 20,
			   .reconnect_ms = reconnect_ms,
			   .connect = fake_connect,
			   .mount = fake_mount},
		.host = -1,
		.in = BUF_INIT(8u << 20),
		.frame = BUF_INIT(8u << 20),
	};
	e->config.data = e;
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	e->kernel = pair[0];
	e->pump_kernel = pair[1];
	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, e->streams), 0);
	kernel_send(e, FUSE_INIT, 2, init, sizeof(init));
	cr_assert_eq(pthread_create(&e->starter, NULL, start_main, e), 0);
}

static void wait_readable(int fd, const char *what)
{
	cr_assert_eq(io_wait(fd, POLLIN, deadline_in(WAIT_MS)), 1, "no %s in time", what);
}

void ends_accept(struct ends *e, uint16_t flags, int32_t status, struct fp_hello *ret)
{
	struct fp_hello hello;
	uint8_t bytes[FP_HELLO_SIZE];
	struct err err = {0};
	size_t n = 0;
	char byte;

	wait_readable(e->streams[1], "stream");
	cr_assert_eq(io_recv_fds(e->streams[1], &byte, 1, &e->host, 1, &n, 0, &err), 1);
	cr_assert_eq(n, 1);
	buf_reset(&e->in);
	cr_assert_eq(io_read_full(e->host, bytes, sizeof(bytes), deadline_in(WAIT_MS), &err), 0,
		     "%s", err.msg);
	cr_assert_eq(fp_hello_get(bytes, &hello, &err), 0, "%s", err.msg);
	if (ret)
		*ret = hello;
	hello.flags = flags;
	hello.status = status;
	hello.epoch = 1;
	fp_hello_put(&hello, bytes);
	cr_assert_eq(io_write_full(e->host, bytes, sizeof(bytes), deadline_in(WAIT_MS), &err), 0);
}

void ends_ready(struct ends *e, uint16_t opcode)
{
	const struct fp_group_rule rule = {.opcode = opcode};
	auto_buf struct buf out = BUF_INIT(4096);

	(void)buf_grow(&out, FP_HEAD_SIZE);
	if (opcode)
		fp_item_put(&out, FP_T_RULES, &rule, sizeof(rule));
	fp_head_put((uint8_t *)out.data, FP_F_BARE | FP_F_READY, opcode ? 1 : 0, 0,
		    out.len - FP_HEAD_SIZE);
	cr_assert_eq(io_write_full(e->host, out.data, out.len, deadline_in(WAIT_MS), NULL), 0);
}

void ends_up(struct ends *e, uint16_t rule_opcode)
{
	struct fuse_in_header in;

	ends_accept(e, FP_H_FRESH | FP_H_RECORDS, 0, NULL);
	cr_assert_eq(host_expect(e, &in).flags, FP_F_BARE | FP_F_END);
	ends_ready(e, rule_opcode);
	cr_assert_eq(host_expect(e, &in).n, 0);
	cr_assert_eq(in.opcode, FUSE_INIT);
	host_answer(e, in.unique, 0, NULL, 0);
	cr_assert_eq(kernel_expect(e, 2), 0);
	cr_assert_eq(ends_join(e), 0, "%s", e->err.msg);
}

int ends_join(struct ends *e)
{
	cr_assert_eq(pthread_join(e->starter, NULL), 0);
	return e->start_result;
}

void ends_down(struct ends *e)
{
	int *const fds[] = {&e->kernel, &e->pump_kernel, &e->streams[0], &e->streams[1], &e->host};

	guest_pump_free_p(&e->pump);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		cleanup_close_p(fds[i]);
	buf_free(&e->in);
	buf_free(&e->frame);
}

void kernel_send(struct ends *e, uint32_t opcode, uint64_t unique, const void *body, size_t len)
{
	auto_buf struct buf out = BUF_INIT(FP_MSG_MAX);
	struct fuse_in_header in = {.len = (uint32_t)(sizeof(in) + len),
				    .opcode = opcode,
				    .unique = unique,
				    .nodeid = 1,
				    .pid = (uint32_t)getpid()};

	buf_add(&out, &in, sizeof(in));
	buf_add(&out, body, len);
	cr_assert_eq(send(e->kernel, out.data, out.len, MSG_NOSIGNAL), (ssize_t)out.len);
}

int kernel_expect(struct ends *e, uint64_t unique)
{
	struct fuse_out_header out;

	wait_readable(e->kernel, "answer for the kernel");
	cr_assert_geq(recv(e->kernel, &out, sizeof(out), MSG_TRUNC), (ssize_t)sizeof(out));
	cr_assert_eq(out.unique, unique, "answer to %ju, not to %ju", (uintmax_t)out.unique,
		     (uintmax_t)unique);
	return out.error;
}

bool kernel_is_quiet(struct ends *e)
{
	return io_wait(e->kernel, POLLIN, deadline_in(QUIET_MS)) == 0;
}

struct fp_frame host_expect(struct ends *e, struct fuse_in_header *ret_in)
{
	struct fp_frame f = {0};
	struct err err = {0};
	char chunk[65536];
	size_t used = 0;

	while (fp_frame_get((const uint8_t *)e->in.data, e->in.len, &f, &used, &err) == 0) {
		wait_readable(e->host, "frame for the host");
		ssize_t n = recv(e->host, chunk, sizeof(chunk), 0);
		cr_assert_gt(n, 0, "end of stream");
		buf_add(&e->in, chunk, (size_t)n);
	}
	cr_assert_gt(used, 0, "%s", err.msg);
	buf_reset(&e->frame);
	buf_add(&e->frame, e->in.data, used);
	buf_consume(&e->in, used);
	cr_assert_eq(fp_frame_get((const uint8_t *)e->frame.data, e->frame.len, &f, &used, &err),
		     1);
	if (f.msg)
		memcpy(ret_in, f.msg, sizeof(*ret_in));
	return f;
}

void host_answer(struct ends *e, uint64_t unique, int error, const struct buf *items, uint16_t n)
{
	struct fuse_out_header out = {.len = sizeof(out), .error = error, .unique = unique};
	auto_buf struct buf frame = BUF_INIT(FP_FRAME_MAX);
	size_t len = items ? items->len : 0;

	fp_head_put(buf_grow(&frame, FP_HEAD_SIZE), 0, n, sizeof(out), len);
	buf_add(&frame, &out, sizeof(out));
	if (len)
		buf_add(&frame, items->data, len);
	cr_assert_eq(io_write_full(e->host, frame.data, frame.len, deadline_in(WAIT_MS), NULL), 0);
}

bool host_has_more(struct ends *e)
{
	char byte;

	if (e->in.len)
		return true;
	wait_readable(e->host, "frame or end");
	return recv(e->host, &byte, 1, MSG_PEEK) > 0;
}

void host_hang_up(struct ends *e)
{
	cleanup_close_p(&e->host);
	e->host = -1;
}
