#include "qmp.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "xalloc.h"

#define TIMEOUT_MS 20000
#define GREETING "{\"QMP\":{\"version\":{},\"capabilities\":[]}}\r\n"

/* A monitor whose peer has said everything already; hang_up closes the peer's end behind it. */
static struct qmp *monitor(const char *said, bool hang_up, int *ret_peer)
{
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	cr_assert_eq(io_write_full(fds[1], said, strlen(said), deadline_in(TIMEOUT_MS), NULL), 0);
	if (hang_up)
		cr_assert_eq(shutdown(fds[1], SHUT_WR), 0);
	*ret_peer = fds[1];
	return qmp_new(fds[0]);
}

static void expect_said(int peer, const char *want)
{
	char got[1000];
	ssize_t n = recv(peer, got, sizeof(got) - 1, MSG_DONTWAIT);

	got[n > 0 ? n : 0] = '\0';
	cr_expect_str_eq(got, want);
}

Test(qmp, greeting_negotiates_no_capabilities)
{
	auto_close int peer = -1;
	auto_qmp struct qmp *q = monitor(GREETING "{\"return\":{},\"id\":1}\r\n", false, &peer);
	struct err err;

	cr_expect_eq(qmp_greet(q, deadline_in(TIMEOUT_MS), &err), 0, "%s", err.msg);
	expect_said(peer, "{\"execute\":\"qmp_capabilities\",\"id\":1}\n");
}

Test(qmp, a_reply_comes_back_and_events_before_it_wait_in_order)
{
	auto_close int peer = -1;
	auto_qmp struct qmp *q =
		monitor("{\"event\":\"STOP\",\"data\":{}}\n"
			"{\"event\":\"NIC_RX_FILTER_CHANGED\"}\n"
			"{\"event\":\"MIGRATION\",\"data\":{\"status\":\"active\"}}\n"
			"{\"return\":{\"running\":true},\"id\":1}\n"
			"{\"event\":\"RESUME\"}\n",
			false, &peer);
	const struct qmp_command cmd = {.name = "query-status"};
	auto_json struct json_object *ret = NULL;
	auto_json struct json_object *a = NULL, *b = NULL, *c = NULL;
	enum qmp_event event;
	struct err err;

	cr_assert_eq(qmp_call(q, &cmd, deadline_in(TIMEOUT_MS), &ret, &err), 0, "%s", err.msg);
	cr_expect(json_opt_bool(ret, "running", false));
	cr_assert_eq(qmp_next_event(q, deadline_in(TIMEOUT_MS), &event, &a, &err), 0);
	cr_expect_eq(event, QMP_STOP);
	cr_assert_eq(qmp_next_event(q, deadline_in(TIMEOUT_MS), &event, &b, &err), 0);
	cr_expect_eq(event, QMP_MIGRATION);
	cr_expect_str_eq(json_opt_str(b, "status", ""), "active");
	cr_assert_eq(qmp_next_event(q, deadline_in(TIMEOUT_MS), &event, &c, &err), 0);
	cr_expect_eq(event, QMP_RESUME);
	cr_expect_eq(c, NULL);
}

Test(qmp, arguments_and_a_descriptor_travel_with_the_command)
{
	auto_close int peer = -1;
	auto_qmp struct qmp *q = monitor("{\"return\":{},\"id\":1}\n", false, &peer);
	auto_close int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct stat a, b;
	char text[200];
	int got[2];
	size_t n_got = 0;
	struct err err;

	cr_assert_eq(qmp_give_fd(q, "state", file, deadline_in(TIMEOUT_MS), &err), 0, "%s",
		     err.msg);
	ssize_t n = io_recv_fds(peer, text, sizeof(text) - 1, got, 2, &n_got, MSG_DONTWAIT, &err);
	cr_assert_gt(n, 0);
	text[n] = '\0';
	cr_expect_str_eq(text,
			 "{\"execute\":\"getfd\",\"id\":1,\"arguments\":{\"fdname\":\"state\"}}\n");
	cr_assert_eq(n_got, 1);
	cr_assert_eq(fstat(got[0], &a), 0);
	cr_assert_eq(fstat(file, &b), 0);
	cr_expect_eq(a.st_rdev, b.st_rdev);
	(void)close(got[0]);
}

Test(qmp, what_a_bad_peer_says_is_an_error_with_a_sentence)
{
	static const struct {
		const char *said;
		int code;
		const char *message;
	} cases[] = {
		{"", -ECONNRESET, "cont: qemu closed its monitor"},
		{"{\"return\":{},\"id\"", -ECONNRESET, "cont: qemu closed its monitor"},
		{"{\"return\":{},\"id\":2}\n", -EPROTO,
		 "qemu answered something other than our cont"},
		{"{\"return\":{}}\n", -EPROTO, "qemu answered something other than our cont"},
		{"{\"id\":1}\n", -EPROTO, "qemu's answer to cont has no result"},
		{"{\"error\":{\"class\":\"G\",\"desc\":\"not now\"},\"id\":1}\n", -EIO,
		 "qemu refuses cont: not now"},
		{"{\"error\":{},\"id\":1}\n", -EIO, "qemu refuses cont: no reason given"},
		{"[]\n", -EPROTO, "cont: qemu sent something other than a JSON object"},
		{"17\n", -EPROTO, "cont: qemu sent something other than a JSON object"},
		{"null\n", -EPROTO, "cont: qemu sent something other than a JSON object"},
		{"{\"event\":7}\n{\"event\":\"STOP\",\"data\":3}\n{\"id\":1}\n", -EPROTO,
		 "qemu's answer to cont has no result"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_close int peer = -1;
		auto_qmp struct qmp *q = monitor(cases[i].said, true, &peer);
		struct err err = {.msg = ""};

		cr_expect_eq(qmp_do(q, "cont", deadline_in(TIMEOUT_MS), &err), cases[i].code,
			     "%s: %d", cases[i].said, err.code);
		cr_expect_str_eq(err.msg, cases[i].message);
	}
}

Test(qmp, text_that_is_no_json_is_refused)
{
	auto_close int peer = -1;
	auto_qmp struct qmp *q = monitor("hello\n", true, &peer);
	struct err err;

	cr_expect_lt(qmp_greet(q, deadline_in(TIMEOUT_MS), &err), 0);
	cr_expect_eq(strncmp(err.msg, "qemu's monitor: ", 16), 0, "%s", err.msg);
}

Test(qmp, another_greeting_is_refused)
{
	auto_close int peer = -1;
	auto_qmp struct qmp *q = monitor("{\"return\":{}}\n", true, &peer);
	struct err err;

	cr_expect_eq(qmp_greet(q, deadline_in(TIMEOUT_MS), &err), -EPROTO);
	cr_expect_str_eq(err.msg, "qemu did not greet us as QMP does");
}

Test(qmp, silence_ends_at_the_deadline)
{
	auto_close int peer = -1;
	auto_qmp struct qmp *q = monitor("{\"return\"", false, &peer);
	struct err err;

	cr_expect_eq(qmp_greet(q, deadline_in(1), &err), -ETIMEDOUT);
	cr_expect_str_eq(err.msg, "qemu did not answer in time");
	cr_expect_eq(err.class, ERR_TIMEOUT);
}

/* A peer process that writes text n times. */
static struct qmp *flooded(const char *text, size_t times, pid_t *ret_peer)
{
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	*ret_peer = fork();
	if (*ret_peer == 0) {
		(void)close(fds[0]);
		for (size_t i = 0; i < times; i++) {
			if (send(fds[1], text, strlen(text), MSG_NOSIGNAL) < 0)
				break;
		}
		_exit(0);
	}
	(void)close(fds[1]);
	return qmp_new(fds[0]);
}

Test(qmp, an_endless_line_hits_the_limit_not_the_memory)
{
	pid_t peer;
	struct qmp *q = flooded("0123456789abcdef0123456789abcdef", (64u << 20) / 32, &peer);
	struct err err;

	cr_expect_eq(qmp_greet(q, deadline_in(TIMEOUT_MS), &err), -EMSGSIZE);
	cr_expect_str_eq(err.msg, "qemu sent a line of more than 1048576 bytes");
	qmp_free_p(&q);
	cr_expect_eq(waitpid(peer, NULL, 0), peer);
}

Test(qmp, endless_events_hit_the_limit_of_the_queue)
{
	pid_t peer;
	struct qmp *q = flooded("{\"event\":\"STOP\"}\n", 100000, &peer);
	struct err err;

	cr_expect_eq(qmp_do(q, "cont", deadline_in(TIMEOUT_MS), &err), -EPROTO);
	cr_expect_str_eq(err.msg, "cont: qemu floods us with STOP events");
	qmp_free_p(&q);
	cr_expect_eq(waitpid(peer, NULL, 0), peer);
}

Test(qmp, draining_keeps_half_a_message_whole)
{
	static const char rest[] = "eturn\":{},\"id\":1}\n";
	auto_close int peer = -1;
	auto_qmp struct qmp *q =
		monitor("{\"event\":\"STOP\"}\n{\"event\":\"RESUME\"}\n{\"r", false, &peer);
	struct err err;

	cr_expect_eq(qmp_drain(q, &err), 0);
	cr_expect_eq(qmp_drain(q, &err), 0);
	cr_assert_eq(write(peer, rest, strlen(rest)), (ssize_t)strlen(rest));
	cr_expect_eq(qmp_do(q, "cont", deadline_in(TIMEOUT_MS), &err), 0, "%s", err.msg);
	(void)shutdown(peer, SHUT_RDWR);
	cr_expect_eq(qmp_drain(q, &err), -ECONNRESET);
}

Test(qmp, clearing_forgets_what_was_queued)
{
	auto_close int peer = -1;
	auto_qmp struct qmp *q =
		monitor("{\"event\":\"STOP\",\"data\":{}}\n{\"return\":{},\"id\":1}\n"
			"{\"event\":\"RESUME\"}\n",
			false, &peer);
	auto_json struct json_object *data = NULL;
	enum qmp_event event;
	struct err err;

	cr_assert_eq(qmp_do(q, "cont", deadline_in(TIMEOUT_MS), &err), 0);
	qmp_clear_events(q);
	cr_assert_eq(qmp_next_event(q, deadline_in(TIMEOUT_MS), &event, &data, &err), 0);
	cr_expect_eq(event, QMP_RESUME);
}

/* One that never stops talking is always ready, and would outlast every deadline. */
Test(qmp, what_comes_after_the_deadline_comes_too_late)
{
	auto_close int peer = -1;
	auto_qmp struct qmp *q = monitor("{\"return\":{},\"id\":1}\n", false, &peer);
	struct err err;

	cr_expect_eq(qmp_do(q, "cont", now_ms() - 1, &err), -ETIMEDOUT);
	cr_expect_str_eq(err.msg, "cont: qemu did not answer in time");
}

/* One that never stops talking must not keep its reader from everything else. */
Test(qmp, draining_takes_no_more_at_a_time_than_a_few_reads)
{
	auto_free char *text = xcalloc(1, 32768);
	auto_close int peer = -1;
	auto_qmp struct qmp *q = monitor("", false, &peer);
	struct err err;
	int left = 0;

	while (send(peer, text, 32768, MSG_DONTWAIT) > 0)
		continue;
	cr_expect_eq(qmp_drain(q, &err), 0);
	cr_assert_eq(ioctl(qmp_fd(q), FIONREAD, &left), 0);
	cr_expect_gt(left, 0);
}
