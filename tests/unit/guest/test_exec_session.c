#include "exec_session.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "fake_peer.h"
#include "file.h"
#include "io.h"
#include "proto.h"
#include "run.h"
#include "tlv.h"

#define BIG (3u << 20)

struct session {
	struct exec_request req;
	struct strv argv;
	struct exec_result result;
	struct err err;
	int out[2], in[2], errs[2]; /* pipes */
};

static void make(struct session *s, const struct peer *p)
{
	*s = (struct session){.req = {.instance_dir = p->dir}};
	strv_add(&s->argv, "cmd");
	s->req.argv = &s->argv;
	cr_assert_eq(pipe2(s->in, O_CLOEXEC), 0);
	cr_assert_eq(pipe2(s->out, O_CLOEXEC), 0);
	cr_assert_eq(pipe2(s->errs, O_CLOEXEC), 0);
	s->req.in = s->in[0];
	s->req.out = s->out[1];
	s->req.err = s->errs[1];
}

static void done(struct session *s)
{
	strv_free(&s->argv);
	for (int i = 0; i < 2; i++) {
		cleanup_close_p(&s->in[i]);
		cleanup_close_p(&s->out[i]);
		cleanup_close_p(&s->errs[i]);
	}
}
#define auto_session __attribute__((cleanup(done)))

static int say_both(int fd)
{
	auto_buf struct buf body = BUF_INIT(1u << 20);
	struct frame f = {0};

	peer_accept_exec(fd);
	peer_await(fd, MSG_EXEC_START, &f, &body);
	peer_await(fd, MSG_EXEC_STDIN_EOF, &f, &body);
	peer_send(fd, MSG_EXEC_STDOUT, "out", 3);
	peer_send(fd, MSG_EXEC_STDERR, "err", 3);
	peer_send(fd, MSG_EXEC_STDOUT, "put", 3);
	peer_exit(fd, 42, NULL);
	return 0;
}

Test(exec_session, both_streams_and_the_exit_code_come_through)
{
	struct peer p;
	auto_session struct session s;
	char out[7] = {0}, errs[4] = {0};

	peer_start(&p, say_both);
	make(&s, &p);
	cr_assert_geq(exec_session_run(&s.req, &s.result, &s.err), 0, "%s", s.err.msg);
	cr_expect_eq(s.result.code, 42);
	cr_expect_str_eq(s.result.text, "");
	cr_expect_eq(read(s.out[0], out, 6), 6);
	cr_expect_eq(read(s.errs[0], errs, 3), 3);
	cr_expect_str_eq(out, "output");
	cr_expect_str_eq(errs, "err");
	cr_expect_eq(peer_end(&p), 0);
}

static int flood(int fd)
{
	auto_buf struct buf body = BUF_INIT(1u << 20);
	static char piece[32768];
	struct frame f = {0};

	peer_accept_exec(fd);
	peer_await(fd, MSG_EXEC_START, &f, &body);
	memset(piece, 'x', sizeof(piece));
	for (size_t sent = 0; sent < BIG; sent += sizeof(piece))
		peer_send(fd, MSG_EXEC_STDOUT, piece, sizeof(piece));
	peer_exit(fd, 0, NULL);
	return 0;
}

Test(exec_session, a_slow_reader_gets_everything_before_the_end)
{
	struct peer p;
	auto_session struct session s;

	peer_start(&p, flood);
	make(&s, &p);
	pid_t reader = fork();

	if (reader == 0) {
		char piece[1000];
		size_t sum = 0;
		ssize_t n = 0;

		close(s.out[1]);
		while ((n = read(s.out[0], piece, sizeof(piece))) > 0)
			sum += (size_t)n;
		_exit(sum == BIG ? 0 : 1);
	}
	cr_assert_geq(exec_session_run(&s.req, &s.result, &s.err), 0, "%s", s.err.msg);
	cleanup_close_p(&s.out[1]);
	int status = -1;

	cr_assert_eq(waitpid(reader, &status, 0), reader);
	cr_expect_eq(status, 0);
	cr_expect_eq(peer_end(&p), 0);
}

Test(exec_session, a_reader_that_is_gone_ends_the_session_as_sigpipe_would)
{
	struct peer p;
	auto_session struct session s;

	peer_start(&p, flood);
	make(&s, &p);
	cleanup_close_p(&s.out[0]);
	cr_assert_geq(exec_session_run(&s.req, &s.result, &s.err), 0, "%s", s.err.msg);
	cr_expect_eq(s.result.code, 128 + SIGPIPE);
	(void)peer_end(&p);
}

static int count_stdin(int fd)
{
	auto_buf struct buf body = BUF_INIT(1u << 20);
	struct frame f = {0};
	size_t sum = 0;

	peer_accept_exec(fd);
	peer_await(fd, MSG_EXEC_START, &f, &body);
	do {
		if (frame_read(fd, AGENT_CONTROL_MAX, &f, &body, deadline_in(10000), NULL) < 0)
			return 1;
		sum += f.type == MSG_EXEC_STDIN ? f.len : 0;
	} while (f.type != MSG_EXEC_STDIN_EOF);
	peer_exit(fd, sum == BIG ? 0 : 1, NULL);
	return 0;
}

Test(exec_session, stdin_from_a_file_or_a_pipe_arrives_whole)
{
	for (int from_file = 0; from_file < 2; from_file++) {
		struct peer p;
		auto_session struct session s;
		auto_free char *text = calloc(1, BIG), *path = NULL;
		pid_t writer = 0;

		peer_start(&p, count_stdin);
		make(&s, &p);
		path = path_join(p.dir, "input");
		s.req.interactive = true;
		if (from_file) {
			cr_assert_geq(file_replace(path, text, BIG, 0600, NULL), 0);
			cleanup_close_p(&s.in[0]);
			s.in[0] = s.req.in = open(path, O_RDONLY | O_CLOEXEC);
		} else {
			writer = fork();
			if (writer == 0)
				_exit(io_write_full(s.in[1], text, BIG, 0, NULL) < 0);
		}
		cleanup_close_p(&s.in[1]);
		cr_assert_geq(exec_session_run(&s.req, &s.result, &s.err), 0, "%s", s.err.msg);
		cr_expect_eq(s.result.code, 0, "from a %s", from_file ? "file" : "pipe");
		if (writer)
			(void)waitpid(writer, NULL, 0);
		cr_expect_eq(peer_end(&p), 0);
	}
}

static int await_signal(int fd)
{
	auto_buf struct buf body = BUF_INIT(1u << 20);
	struct frame f = {0};
	struct tlv t = {0};
	size_t pos = 0;
	uint64_t sig = 0;

	peer_accept_exec(fd);
	peer_await(fd, MSG_EXEC_START, &f, &body);
	(void)kill(getppid(), SIGTERM);
	peer_await(fd, MSG_EXEC_SIGNAL, &f, &body);
	if (tlv_next(f.body, f.len, &pos, &t, NULL) != 1 || tlv_u64(&t, &sig, NULL) < 0)
		return 1;
	peer_exit(fd, 128 + sig, NULL);
	return 0;
}

Test(exec_session, signals_go_to_the_command)
{
	struct peer p;
	auto_session struct session s;

	peer_start(&p, await_signal);
	make(&s, &p);
	cr_assert_geq(exec_session_run(&s.req, &s.result, &s.err), 0, "%s", s.err.msg);
	cr_expect_eq(s.result.code, 128 + SIGTERM);
	cr_expect_eq(peer_end(&p), 0);
}

static int refuse(int fd)
{
	auto_buf struct buf body = BUF_INIT(1u << 20);
	struct frame f = {0};

	peer_accept_exec(fd);
	peer_await(fd, MSG_EXEC_START, &f, &body);
	peer_exit(fd, 127, "no such command 'cmd'");
	return 0;
}

Test(exec_session, the_agents_reason_comes_with_its_code)
{
	struct peer p;
	auto_session struct session s;

	peer_start(&p, refuse);
	make(&s, &p);
	cr_assert_geq(exec_session_run(&s.req, &s.result, &s.err), 0, "%s", s.err.msg);
	cr_expect_eq(s.result.code, 127);
	cr_expect_str_eq(s.result.text, "no such command 'cmd'");
	(void)peer_end(&p);
}

static int vanish(int fd)
{
	auto_buf struct buf body = BUF_INIT(1u << 20);
	struct frame f = {0};

	peer_accept_exec(fd);
	peer_await(fd, MSG_EXEC_START, &f, &body);
	return 0;
}

static int babble(int fd)
{
	auto_buf struct buf body = BUF_INIT(1u << 20);
	struct frame f = {0};

	peer_accept_exec(fd);
	peer_await(fd, MSG_EXEC_START, &f, &body);
	return io_write_full(fd, "\377\377\377\377\377\377\377\377", 8, 0, NULL) < 0;
}

Test(exec_session, an_end_without_an_exit_code_is_a_failure)
{
	static const struct {
		int (*serve)(int fd);
		const char *says;
	} cases[] = {
		{vanish, "the connection to the guest was lost before the command ended"},
		{babble, "the guest's agent sends malformed frames"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct peer p;
		auto_session struct session s;

		peer_start(&p, cases[i].serve);
		make(&s, &p);
		cr_expect_lt(exec_session_run(&s.req, &s.result, &s.err), 0);
		cr_expect_str_eq(s.err.msg, cases[i].says);
		(void)peer_end(&p);
	}
}

static int look_at_start(int fd)
{
	auto_buf struct buf body = BUF_INIT(1u << 20);
	struct frame f = {0};
	struct tlv t = {0};
	size_t pos = 0;
	uint64_t rows = 0, cols = 0, tty = 0;

	peer_accept_exec(fd);
	peer_await(fd, MSG_EXEC_START, &f, &body);
	while (tlv_next(f.body, f.len, &pos, &t, NULL) > 0) {
		uint64_t *to = t.tag == TAG_ROWS   ? &rows
			       : t.tag == TAG_COLS ? &cols
			       : t.tag == TAG_TTY  ? &tty
						   : NULL;

		if (to)
			(void)tlv_u64(&t, to, NULL);
	}
	peer_exit(fd, tty == 1 && rows == 24 && cols == 100 ? 0 : 1, NULL);
	return 0;
}

Test(exec_session, a_terminal_is_raw_meanwhile_and_as_it_was_afterwards)
{
	struct peer p;
	auto_session struct session s;
	struct winsize size = {.ws_row = 24, .ws_col = 100};
	struct termios before, after;
	int master = -1, slave = -1;

	cr_assert_eq(openpty(&master, &slave, NULL, NULL, &size), 0);
	cr_assert_eq(tcgetattr(slave, &before), 0);
	peer_start(&p, look_at_start);
	make(&s, &p);
	s.req.tty = s.req.interactive = true;
	s.req.in = slave;
	s.req.out = dup(slave);
	cr_assert_geq(exec_session_run(&s.req, &s.result, &s.err), 0, "%s", s.err.msg);
	cr_expect_eq(s.result.code, 0);
	cr_assert_eq(tcgetattr(slave, &after), 0);
	cr_expect_eq(before.c_lflag, after.c_lflag);
	cr_expect_eq(before.c_oflag, after.c_oflag);
	close(s.req.out);
	close(master);
	close(slave);
	(void)peer_end(&p);
}
