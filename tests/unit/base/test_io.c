#include "io.h"

#include "cleanup.h"
#include "file.h"
#include "run.h"
#include "xalloc.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct pair {
	int a, b;
};

static void pair_close(struct pair *p)
{
	cleanup_close_p(&p->a);
	cleanup_close_p(&p->b);
}
#define auto_pair __attribute__((cleanup(pair_close)))

static struct pair make_sockets(void)
{
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	return (struct pair){fds[0], fds[1]};
}

/* a reads, b writes */
static struct pair make_pipe(void)
{
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	return (struct pair){fds[0], fds[1]};
}

Test(deadline, none_is_forever_and_passed_is_zero)
{
	cr_expect_eq(deadline_left(0), -1);
	cr_expect_eq(deadline_left(1), 0);
	cr_expect_eq(deadline_left(UINT64_MAX), INT_MAX);
	cr_expect_eq(deadline_in(UINT64_MAX), UINT64_MAX);
	cr_expect_gt(deadline_left(deadline_in(60000)), 0);
	cr_expect_leq(deadline_left(deadline_in(60000)), 60000);
}

Test(io, reads_all_bytes_in_pieces)
{
	auto_pair struct pair p = make_sockets();
	char got[6];

	cr_assert_eq(write(p.b, "abc", 3), 3);
	cr_assert_eq(write(p.b, "def", 3), 3);
	cr_expect_eq(io_read_full(p.a, got, 6, deadline_in(60000), NULL), 0);
	cr_expect_eq(memcmp(got, "abcdef", 6), 0);
}

Test(io, an_end_before_anything_is_epipe_and_in_the_middle_econnreset)
{
	auto_pair struct pair p = make_sockets();
	struct err err = {0};
	char got[6];

	cr_assert_eq(write(p.b, "abc", 3), 3);
	cleanup_close_p(&p.b);
	cr_expect_eq(io_read_full(p.a, got, 6, 0, &err), -ECONNRESET);
	cr_expect_str_eq(err.msg, "the peer ended after 3 of 6 bytes");
	cr_expect_eq(io_read_full(p.a, got, 6, 0, &err), -EPIPE);
	cr_expect_str_eq(err.msg, "the peer has closed the connection");
}

Test(io, reading_nothing_succeeds_at_once)
{
	auto_pair struct pair p = make_sockets();

	cr_expect_eq(io_read_full(p.a, NULL, 0, 0, NULL), 0);
	cr_expect_eq(io_write_full(p.a, NULL, 0, 0, NULL), 0);
}

static void expect_read_timeout(int fd)
{
	struct err err = {0};
	char got[4];

	cr_expect_eq(io_read_full(fd, got, 4, deadline_in(20), &err), -ETIMEDOUT);
	cr_expect_str_eq(err.msg, "cannot read: the deadline has passed");
}

Test(io, a_silent_peer_ends_at_the_deadline, .timeout = 30)
{
	auto_pair struct pair s = make_sockets();
	auto_pair struct pair p = make_pipe();

	expect_read_timeout(s.a);
	expect_read_timeout(p.a);
	io_set_nonblock(s.a, true);
	io_set_nonblock(p.a, true);
	expect_read_timeout(s.a);
	expect_read_timeout(p.a);
}

static void expect_write_timeout(int fd)
{
	auto_free char *data = xcalloc(1, 4u << 20);
	struct err err = {0};

	cr_expect_eq(io_write_full(fd, data, 4u << 20, deadline_in(20), &err), -ETIMEDOUT);
	cr_expect_str_eq(err.msg, "cannot write: the deadline has passed");
}

Test(io, a_peer_that_does_not_read_ends_at_the_deadline_even_on_blocking_descriptors, .timeout = 30)
{
	auto_pair struct pair s = make_sockets();
	auto_pair struct pair p = make_pipe();

	expect_write_timeout(s.a);
	expect_write_timeout(p.b);
}

Test(io, writing_to_nobody_is_epipe_and_no_signal)
{
	auto_pair struct pair s = make_sockets();
	struct err err = {0};

	cleanup_close_p(&s.b);
	cr_expect_eq(io_write_full(s.a, "x", 1, 0, &err), -EPIPE);
	cr_expect_str_eq(err.msg, "cannot write: Broken pipe");
}

Test(io, wait_reports_readiness_hangup_and_nonsense)
{
	auto_pair struct pair p = make_pipe();

	cr_expect_eq(io_wait(p.a, POLLIN, deadline_in(1)), 0);
	cr_expect_eq(io_wait(p.b, POLLOUT, 0), 1);
	cleanup_close_p(&p.b);
	cr_expect_eq(io_wait(p.a, POLLIN, 0), 1, "the end is something to read");
	cr_expect_eq(io_wait(9999, POLLIN, 0), -EBADF);
}

Test(io, flags_are_set_and_cleared)
{
	auto_pair struct pair p = make_pipe();

	cr_expect_eq(io_set_nonblock(p.a, true), 0);
	cr_expect(fcntl(p.a, F_GETFL) & O_NONBLOCK);
	cr_expect_eq(io_set_nonblock(p.a, false), 0);
	cr_expect_not(fcntl(p.a, F_GETFL) & O_NONBLOCK);
	cr_expect_eq(io_set_cloexec(p.a, false), 0);
	cr_expect_not(fcntl(p.a, F_GETFD) & FD_CLOEXEC);
	cr_expect_eq(io_set_cloexec(p.a, true), 0);
	cr_expect(fcntl(p.a, F_GETFD) & FD_CLOEXEC);
	cr_expect_eq(io_set_nonblock(9999, true), -EBADF);
}

/* --- descriptor passing --- */

Test(io_fds, arrive_close_on_exec_with_their_message)
{
	auto_pair struct pair s = make_sockets();
	auto_pair struct pair p = make_pipe();
	int fds[2] = {-1, -1}, mine[2] = {p.a, p.b};
	size_t n = 9;
	char got[8] = "";

	cr_expect_eq(io_send_fds(s.a, "hi", 2, mine, 2, NULL), 0);
	cr_expect_eq(io_recv_fds(s.b, got, sizeof(got), fds, 2, &n, 0, NULL), 2);
	cr_expect_str_eq(got, "hi");
	cr_assert_eq(n, 2);
	cr_expect(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
	cr_assert_eq(write(fds[1], "x", 1), 1);
	cr_expect_eq(read(p.a, got, 1), 1);
	close(fds[0]);
	close(fds[1]);
}

Test(io_fds, messages_without_descriptors_and_the_end_are_told_apart)
{
	auto_pair struct pair s = make_sockets();
	size_t n = 9;
	char got[8];

	cr_expect_eq(io_recv_fds(s.b, got, 8, NULL, 0, &n, MSG_DONTWAIT, NULL), -EAGAIN);
	cr_expect_eq(n, 9, "outputs are untouched on failure");
	cr_expect_eq(io_send_fds(s.a, "x", 1, NULL, 0, NULL), 0);
	cr_expect_eq(io_recv_fds(s.b, got, 8, NULL, 0, &n, 0, NULL), 1);
	cr_expect_eq(n, 0);
	cleanup_close_p(&s.a);
	cr_expect_eq(io_recv_fds(s.b, got, 8, NULL, 0, &n, 0, NULL), 0);
}

static int count_open(void)
{
	int n = 0;

	for (int fd = 0; fd < 512; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

Test(io_fds, more_than_expected_are_refused_and_none_leaks)
{
	static const size_t sent[] = {2, 3, 32};
	auto_pair struct pair s = make_sockets();
	int many[32], got[1];
	char byte;

	for (size_t i = 0; i < 32; i++)
		many[i] = s.a;
	int before = count_open();
	for (size_t i = 0; i < ARRAY_SIZE(sent); i++) {
		struct err err = {0};
		size_t n = 0;

		cr_assert_eq(io_send_fds(s.a, "x", 1, many, sent[i], NULL), 0);
		cr_expect_eq(io_recv_fds(s.b, &byte, 1, got, 1, &n, 0, &err), -EPROTO);
		cr_expect_str_eq(err.msg, "the peer sent more descriptors than the 1 expected");
		cr_expect_eq(count_open(), before);
	}
}

/* Beyond what io_send_fds() would send: a peer of another make. */
Test(io_fds, a_flood_of_descriptors_is_refused_and_none_leaks)
{
	auto_pair struct pair s = make_sockets();
	char x[] = "x";
	struct iovec iov = {.iov_base = x, .iov_len = 1};
	union {
		char space[CMSG_SPACE(sizeof(int) * 200)];
		struct cmsghdr align;
	} control = {0};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof(control.space)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int fds[200];
	size_t n = 0;
	char byte;

	for (size_t i = 0; i < 200; i++)
		fds[i] = s.a;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(c), fds, sizeof(fds));
	int before = count_open();
	cr_assert_eq(sendmsg(s.a, &msg, 0), 1);
	cr_expect_eq(io_recv_fds(s.b, &byte, 1, fds, 200, &n, 0, NULL), -EPROTO);
	cr_expect_eq(count_open(), before);
}

Test(io_fds, sending_too_many_or_without_a_byte_is_refused)
{
	auto_pair struct pair s = make_sockets();
	struct err err = {0};
	int many[33] = {0};

	cr_expect_eq(io_send_fds(s.a, "x", 1, many, 33, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "cannot pass 33 descriptors with 1 bytes");
	cr_expect_eq(io_send_fds(s.a, "", 0, many, 1, &err), -EINVAL);
}

/* --- sockets by path --- */

static void expect_talk(const char *path)
{
	struct err err = {0};
	auto_close int l = -1, c = -1;
	struct stat st;

	cr_assert_eq(io_unix_listen(path, 4, &l, &err), 0, "%s", err.msg);
	cr_assert_eq(io_unix_connect(path, deadline_in(60000), &c, &err), 0, "%s", err.msg);
	auto_close int a = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	char got = 0;
	cr_expect_eq(io_write_full(c, "x", 1, 0, NULL), 0);
	cr_expect_eq(io_read_full(a, &got, 1, 0, NULL), 0);
	cr_expect_eq(got, 'x');
	cr_expect(fcntl(l, F_GETFD) & FD_CLOEXEC);
	cr_expect(fcntl(c, F_GETFD) & FD_CLOEXEC);
	cr_expect(lstat(path, &st) == 0 && S_ISSOCK(st.st_mode));
}

Test(io_unix, short_and_long_paths_work_and_an_old_socket_is_replaced)
{
	auto_tmpdir char *dir = tmpdir_new("base-io");
	auto_free char *near = path_join(dir, "ctl.sock");
	auto_free char *deep = xasprintf("%s/%0100d/%0100d", dir, 1, 2);
	auto_free char *far = path_join(deep, "ctl.sock");

	cr_assert_eq(file_mkdir_p(deep, 0700, NULL), 0);
	expect_talk(near);
	expect_talk(near);
	expect_talk(far);
	expect_talk(far);
}

Test(io_unix, a_name_no_socket_can_have_is_refused)
{
	auto_tmpdir char *dir = tmpdir_new("base-io");
	auto_free char *path = xasprintf("%s/%0120d", dir, 1);
	struct err err = {0};
	int fd = -1;

	cr_expect_eq(io_unix_listen(path, 4, &fd, &err), -ENAMETOOLONG);
	cr_expect_eq(strncmp(err.msg, "socket name '000", 16), 0, "%s", err.msg);
	cr_expect_eq(fd, -1);
}

Test(io_unix, a_file_in_the_way_is_not_removed)
{
	auto_tmpdir char *dir = tmpdir_new("base-io");
	auto_free char *path = path_join(dir, "data");
	auto_free char *want =
		xasprintf("cannot listen on '%s': it exists and is not a socket", path);
	struct err err = {0};
	int fd = -1;

	cr_assert_eq(file_replace(path, "x", 1, 0600, NULL), 0);
	cr_expect_eq(io_unix_listen(path, 4, &fd, &err), -EEXIST);
	cr_expect_str_eq(err.msg, want);
	cr_expect(file_exists(path));
}

Test(io_unix, connecting_to_nobody_fails_at_once)
{
	auto_tmpdir char *dir = tmpdir_new("base-io");
	auto_free char *path = path_join(dir, "ctl.sock");
	auto_free char *want = xasprintf("cannot connect to '%s': Connection refused", path);
	struct err err = {0};
	int fd = -1;

	cr_expect_eq(io_unix_connect(path, 0, &fd, &err), -ENOENT);
	cr_assert_eq(io_unix_listen(path, 1, &fd, NULL), 0);
	cleanup_close_p(&fd);
	cr_expect_eq(io_unix_connect(path, 0, &fd, &err), -ECONNREFUSED);
	cr_expect_str_eq(err.msg, want);
}

Test(io_unix, a_full_backlog_ends_at_the_deadline, .timeout = 30)
{
	auto_tmpdir char *dir = tmpdir_new("base-io");
	auto_free char *path = path_join(dir, "ctl.sock");
	auto_free char *want = xasprintf("cannot connect to '%s': nobody accepted in time", path);
	auto_close int l = -1;
	struct err err = {0};
	int fds[16], r = 0, n = 0;

	cr_assert_eq(io_unix_listen(path, 1, &l, NULL), 0);
	while (n < 16 && (r = io_unix_connect(path, deadline_in(20), &fds[n], &err)) == 0)
		n++;
	cr_expect_eq(r, -ETIMEDOUT);
	cr_expect_str_eq(err.msg, want);
	while (n--)
		close(fds[n]);
}

/* --- time and names --- */

Test(io, times_are_rfc3339_with_milliseconds)
{
	static const struct {
		int64_t ms;
		const char *text;
	} cases[] = {
		{0, "1970-01-01T00:00:00.000Z"},
		{1700000000123, "2023-11-14T22:13:20.123Z"},
		{-1, "1969-12-31T23:59:59.999Z"},
		{951782400000, "2000-02-29T00:00:00.000Z"},
		{INT64_MAX, "9999-12-31T23:59:59.999Z"},
		{INT64_MIN, "0000-01-01T00:00:00.000Z"},
	};
	char text[IO_TIME_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		io_time_rfc3339(cases[i].ms, text);
		cr_expect_str_eq(text, cases[i].text);
	}
	cr_expect_gt(io_unix_ms(), 1700000000000);
}

Test(io, uuids_have_the_form_of_version_4_and_differ)
{
	static const char form[] = "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx";
	char a[37], b[37];

	io_uuid(a);
	io_uuid(b);
	cr_expect_str_neq(a, b);
	for (size_t i = 0; i < 36; i++) {
		const char *set = form[i] == 'x' ? "0123456789abcdef" : "89ab";
		if (form[i] == '-' || form[i] == '4')
			cr_expect_eq(a[i], form[i]);
		else
			cr_expect(strchr(set, a[i]) && a[i], "%s", a);
	}
	cr_expect_eq(a[36], '\0');
}
