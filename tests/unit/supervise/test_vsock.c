#include "vsock.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "run.h"

/* A VMM's vsock, played by the test: what is asked of it and what it answers. */
struct rig {
	char *dir;
	struct loop *loop;
	struct vsock *v;
	int listener, synced, fresh, quiesced, code;
};

static void on_synced(void *data, bool fresh)
{
	struct rig *r = data;

	r->synced++;
	r->fresh = fresh;
}

static void on_quiesced(void *data)
{
	((struct rig *)data)->quiesced++;
}

static void on_opened(void *data, int local, int code)
{
	(void)local;
	((struct rig *)data)->code = code;
}

static void rig_up(struct rig *r)
{
	static const struct vsock_ops ops = {on_synced, on_quiesced};

	*r = (struct rig){.dir = tmpdir_new("vsock"), .listener = -1, .code = 1};
	const struct vsock_far far = {r->dir, "v.sock", geteuid()};
	auto_free char *path = path_join(r->dir, "v.sock");

	cr_assert_eq(io_unix_listen(path, 16, &r->listener, NULL), 0);
	cr_assert_eq(io_set_nonblock(r->listener, true), 0);
	cr_assert_eq(loop_new(&r->loop, NULL), 0);
	vsock_new(r->loop, &far, &ops, r, &r->v);
}

static void rig_down(struct rig *r)
{
	vsock_free(r->v);
	loop_free_p(&r->loop);
	cleanup_close_p(&r->listener);
	tmpdir_remove(&r->dir);
}

static void turn(struct rig *r)
{
	cr_assert_geq(loop_once(r->loop, 20, NULL), 0);
}

/* The next connection, with the line it begins with. */
static int take(struct rig *r, char line[33])
{
	uint64_t deadline_ms = deadline_in(10000);
	int fd = -1;

	while ((fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) < 0 &&
	       now_ms() < deadline_ms)
		turn(r);
	cr_assert_geq(fd, 0);
	cr_assert_eq(io_wait(fd, POLLIN, deadline_ms), 1);
	ssize_t n = recv(fd, line, 32, 0);

	line[n > 0 ? n : 0] = '\0';
	return fd;
}

static int open_stream(struct rig *r)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	cr_assert_eq(vsock_open(r->v, 4998, pair[1], on_opened, r, NULL), 0);
	return pair[0];
}

static void say(int fd, const char *text)
{
	cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void expect_end(struct rig *r, int fd)
{
	uint64_t deadline_ms = deadline_in(10000);
	char byte;
	ssize_t n;

	while ((n = recv(fd, &byte, 1, MSG_DONTWAIT)) < 0 && errno == EAGAIN &&
	       now_ms() < deadline_ms)
		turn(r);
	cr_expect_eq(n, 0);
}

Test(vsock, the_line_goes_out_whole_and_the_answer_may_come_in_pieces)
{
	struct rig r;
	char line[33], text[16] = "";

	rig_up(&r);
	auto_close int near = open_stream(&r);
	auto_close int far = take(&r, line);

	cr_expect_str_eq(line, "CONNECT 4998\n");
	say(far, "OK 10");
	turn(&r);
	cr_expect_eq(r.code, 1, "half an answer is none");
	say(far, "73\nhello");
	while (r.code == 1)
		turn(&r);
	cr_expect_eq(r.code, 0);
	while (recv(near, text, sizeof(text), MSG_DONTWAIT) < 0)
		turn(&r);
	cr_expect_str_eq(text, "hello", "what stands behind the answer is the stream's");
	rig_down(&r);
}

Test(vsock, a_port_nobody_serves_is_refused_and_nonsense_is_too)
{
	static const char *const answers[] = {"", "NO 1\n", "OK 11111111111111111111111111111111"};

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct rig r;
		char line[33];

		rig_up(&r);
		auto_close int near = open_stream(&r);
		auto_close int far = take(&r, line);

		if (*answers[i])
			say(far, answers[i]);
		else
			cleanup_close_p(&far);
		while (r.code == 1)
			turn(&r);
		cr_expect_eq(r.code, -ECONNREFUSED, "'%s'", answers[i]);
		expect_end(&r, near);
		rig_down(&r);
	}
}

Test(vsock, much_data_gets_through_a_slow_reader_both_ways)
{
	enum { TOTAL = 3 << 20 };
	struct rig r;
	char line[33];
	static char chunk[30000], got[30000];
	size_t to_far = 0, to_near = 0, at_far = 0, at_near = 0;

	rig_up(&r);
	memset(chunk, 'x', sizeof(chunk));
	auto_close int near = open_stream(&r);
	auto_close int far = take(&r, line);

	say(far, "OK 1\n");
	while (r.code == 1)
		turn(&r);
	while (at_far < TOTAL || at_near < TOTAL) {
		ssize_t n = send(near, chunk, sizeof(chunk), MSG_DONTWAIT | MSG_NOSIGNAL);

		to_far += n > 0 && to_far < TOTAL ? (size_t)n : 0;
		n = send(far, chunk, sizeof(chunk), MSG_DONTWAIT | MSG_NOSIGNAL);
		to_near += n > 0 && to_near < TOTAL ? (size_t)n : 0;
		n = recv(far, got, sizeof(got) / 7, MSG_DONTWAIT);
		at_far += n > 0 ? (size_t)n : 0;
		n = recv(near, got, sizeof(got) / 5, MSG_DONTWAIT);
		at_near += n > 0 ? (size_t)n : 0;
		cr_assert_geq(loop_once(r.loop, 0, NULL), 0);
	}
	rig_down(&r);
}

Test(vsock, an_end_is_the_others_end_but_a_half_close_is_not_passed_on)
{
	struct rig r;
	char line[33], byte;

	rig_up(&r);
	auto_close int near = open_stream(&r);
	auto_close int far = take(&r, line);

	say(far, "OK 1\n");
	while (r.code == 1)
		turn(&r);
	cr_assert_eq(shutdown(near, SHUT_WR), 0);
	turn(&r);
	say(far, "y");
	while (recv(near, &byte, 1, MSG_DONTWAIT) < 0)
		turn(&r);
	cr_expect_eq(byte, 'y', "it still hears");
	cr_expect_lt(recv(far, &byte, 1, MSG_DONTWAIT), 0, "the guest was not told");
	cleanup_close_p(&near);
	expect_end(&r, far);
	rig_down(&r);
}

Test(vsock, what_was_said_before_the_end_arrives)
{
	struct rig r;
	char line[33], text[8] = "";

	rig_up(&r);
	auto_close int near = open_stream(&r);
	auto_close int far = take(&r, line);

	say(far, "OK 1\nbye");
	cleanup_close_p(&far);
	while (recv(near, text, sizeof(text) - 1, MSG_DONTWAIT) < 0)
		turn(&r);
	cr_expect_str_eq(text, "bye");
	expect_end(&r, near);
	rig_down(&r);
}

/* A stream that is open, as the two ends have it. */
static int open_both(struct rig *r, int *ret_far)
{
	int near = open_stream(r);
	char line[33];

	*ret_far = take(r, line);
	say(*ret_far, "OK 1\n");
	while (r->code == 1)
		turn(r);
	cr_assert_eq(r->code, 0);
	return near;
}

/* Until nothing more goes into the stream; how much it was. */
static size_t stuff(struct rig *r, int fd)
{
	static const char chunk[10000];
	size_t sum = 0;
	ssize_t n;

	do {
		while ((n = send(fd, chunk, sizeof(chunk), MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
			sum += (size_t)n;
	} while (loop_once(r->loop, 0, NULL) > 0);
	return sum;
}

/* Everything up to the end. */
static size_t drain(struct rig *r, int fd)
{
	uint64_t deadline_ms = deadline_in(10000);
	char chunk[10000];
	size_t sum = 0;
	ssize_t n = -1;

	while (n != 0 && now_ms() < deadline_ms) {
		n = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
		cr_assert(n >= 0 || errno == EAGAIN || errno == ECONNRESET);
		sum += n > 0 ? (size_t)n : 0;
		if (n < 0)
			turn(r);
	}
	cr_expect_eq(n, 0);
	return sum;
}

Test(vsock, an_end_that_hangs_up_while_the_other_takes_nothing_costs_no_turn)
{
	for (int guest = 0; guest < 2; guest++) {
		struct rig r;
		int end[2];

		rig_up(&r);
		end[0] = open_both(&r, &end[1]);
		size_t sum = stuff(&r, end[guest]);

		cleanup_close_p(&end[guest]);
		turn(&r); /* the news */
		cr_expect_eq(loop_once(r.loop, 0, NULL), 0, "the guest's end: %d", guest);
		cr_expect_eq(drain(&r, end[!guest]), sum, "and nothing is lost");
		cleanup_close_p(&end[!guest]);
		rig_down(&r);
	}
}

Test(vsock, an_end_that_goes_with_bytes_unread_has_said_all_it_said)
{
	static const char text[150000];
	struct rig r;
	int far = -1;

	rig_up(&r);
	auto_close int near = open_both(&r, &far);

	say(near, "nobody will read this");
	turn(&r);
	cr_assert_eq(send(far, text, sizeof(text), MSG_NOSIGNAL), (ssize_t)sizeof(text));
	cleanup_close_p(&far);
	cr_expect_eq(drain(&r, near), sizeof(text));
	rig_down(&r);
}

Test(vsock, an_end_that_takes_no_more_has_said_all_it_said)
{
	for (int guest = 0; guest < 2; guest++) {
		struct rig r;
		int end[2];

		rig_up(&r);
		end[0] = open_both(&r, &end[1]);
		/* All of it is in the stream when the end goes that it was for. */
		(void)stuff(&r, end[!guest]);
		size_t sum = stuff(&r, end[guest]);

		cleanup_close_p(&end[guest]);
		cr_expect_eq(drain(&r, end[!guest]), sum, "the guest's end: %d", guest);
		cleanup_close_p(&end[!guest]);
		rig_down(&r);
	}
}

Test(vsock, who_only_listened_and_goes_is_the_others_end)
{
	struct rig r;
	int far = -1;

	rig_up(&r);
	auto_close int near = open_both(&r, &far);

	(void)stuff(&r, near);
	cr_assert_eq(shutdown(near, SHUT_WR), 0);
	turn(&r);
	cleanup_close_p(&near);
	turn(&r);
	cr_expect_eq(loop_once(r.loop, 0, NULL), 0);
	(void)drain(&r, far);
	cleanup_close_p(&far);
	rig_down(&r);
}

Test(vsock, it_knocks_until_the_agent_answers)
{
	struct rig r;
	char line[33];

	rig_up(&r);
	cr_assert_eq(vsock_sync(r.v, false, NULL), 0);
	for (int i = 0; i < 3; i++) {
		(void)close(take(&r, line));

		cr_expect_str_eq(line, "CONNECT 4999\n");
	}
	cr_expect_eq(r.synced, 0);
	auto_close int far = take(&r, line);

	say(far, "OK 1\n");
	while (!r.synced)
		turn(&r);
	cr_expect_eq(r.fresh, true);
	rig_down(&r);
}

Test(vsock, after_a_snapshot_all_streams_are_gone)
{
	struct rig r;
	char line[33];

	rig_up(&r);
	auto_close int near = open_stream(&r);
	auto_close int far = take(&r, line);

	say(far, "OK 1\n");
	while (r.code == 1)
		turn(&r);
	cr_assert_eq(vsock_quiesce(r.v, NULL), 0);
	cr_expect_eq(r.quiesced, 0, "not from inside the call");
	while (!r.quiesced)
		turn(&r);
	cr_assert_eq(vsock_sync(r.v, true, NULL), 0);
	expect_end(&r, near);
	auto_close int again = take(&r, line);

	say(again, "OK 2\n");
	while (!r.synced)
		turn(&r);
	cr_expect_eq(r.fresh, false);
	rig_down(&r);
}

Test(vsock, a_socket_of_somebody_else_is_not_connected_to)
{
	static const struct vsock_ops ops = {on_synced, on_quiesced};
	struct rig r;
	struct vsock *other = NULL;
	struct err err;
	int pair[2];

	rig_up(&r);
	const struct vsock_far far = {r.dir, "v.sock", geteuid() + 1};

	vsock_new(r.loop, &far, &ops, &r, &other);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	cr_expect_eq(vsock_open(other, 1, pair[1], NULL, NULL, &err), -EPERM);
	expect_end(&r, pair[0]);
	(void)close(pair[0]);
	vsock_free(other);
	rig_down(&r);
}
