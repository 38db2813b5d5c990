#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent_rig.h"
#include "cleanup.h"
#include "crun_rig.h"
#include "file.h"
#include "io.h"
#include "proto.h"
#include "tlv.h"
#include "xalloc.h"

struct how {
	const char *cwd, *user, *container, *env;
	bool tty;
	uint64_t rows, cols, timeout_ms;
};

static void start(struct agent_rig *r, struct client *c, const char *const *argv, struct how how)
{
	auto_buf struct buf body = BUF_INIT(1u << 18);

	client_open(r, AGENT_PORT_EXEC, c);
	for (; *argv; argv++)
		tlv_put_str(&body, TAG_ARG, *argv);
	tlv_put_str(&body, TAG_ENV, how.env);
	tlv_put_str(&body, TAG_CWD, how.cwd);
	tlv_put_str(&body, TAG_USER, how.user);
	tlv_put_str(&body, TAG_NAME, how.container);
	tlv_put_u64(&body, TAG_TTY, how.tty);
	tlv_put_u64(&body, TAG_ROWS, how.rows);
	tlv_put_u64(&body, TAG_COLS, how.cols);
	tlv_put_u64(&body, TAG_TIMEOUT_MS, how.timeout_ms);
	chan_send_buf(c->chan, MSG_EXEC_START, &body);
}

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})

struct exec_case {
	const char *what;
	const char *argv[4];
	struct how how;
	int code;
	const char *out, *err, *text;
};

Test(exec, a_command_says_what_it_writes_and_how_it_ends)
{
	static const struct exec_case cases[] = {
		{"output", {"sh", "-c", "echo out; echo err >&2"}, {0}, 0, "out\n", "err\n", ""},
		{"exit code", {"sh", "-c", "exit 42"}, {0}, 42, "", "", ""},
		{"signal", {"sh", "-c", "kill -TERM $$"}, {0}, 143, "", "", ""},
		{"not found",
		 {"no-such-program"},
		 {0},
		 127,
		 "",
		 "",
		 "cannot run 'no-such-program': No such file or directory"},
		{"a directory", {"/tmp"}, {0}, 126, "", "", "cannot run '/tmp': Permission denied"},
		{"cwd", {"pwd"}, {.cwd = "/usr"}, 0, "/usr\n", "", ""},
		{"no cwd",
		 {"pwd"},
		 {.cwd = "/no/where"},
		 126,
		 "",
		 "",
		 "cannot enter the working directory: No such file or directory"},
		{"environment", {"sh", "-c", "echo $A"}, {.env = "A=b c"}, 0, "b c\n", "", ""},
		{"user by number",
		 {"sh", "-c", "id -u; id -g; echo $HOME"},
		 {.user = "12345:54321"},
		 0,
		 "12345\n54321\n/\n",
		 "",
		 ""},
		{"user by name", {"id", "-un"}, {.user = "nobody"}, 0, "nobody\n", "", ""},
		{"no user",
		 {"id"},
		 {.user = "no-such-user"},
		 125,
		 "",
		 "",
		 "no user 'no-such-user' in /etc/passwd"},
		{"no container",
		 {"id"},
		 {.container = "main"},
		 125,
		 "",
		 "",
		 "no container 'main' in this VM"},
		{"no command", {""}, {0}, 125, "", "", "no command to run"},
		{"timeout",
		 {"sleep", "1000"},
		 {.timeout_ms = 50},
		 124,
		 "",
		 "",
		 "timed out after 50ms"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct exec_case *k = &cases[i];
		struct agent_rig r;
		struct client c;

		agent_rig_new(&r);
		start(&r, &c, k->argv, k->how);
		RIG_UNTIL(&r, c.closed);
		cr_expect(c.ended, "%s", k->what);
		cr_expect_eq(c.code, k->code, "%s: %d %s", k->what, c.code, c.text);
		cr_expect_str_eq(buf_str(&c.out), k->out, "%s: %s", k->what, buf_str(&c.out));
		cr_expect_str_eq(buf_str(&c.err), k->err, "%s: %s", k->what, buf_str(&c.err));
		cr_expect_str_eq(c.text, k->text, "%s: %s", k->what, c.text);
		client_close(&c);
		agent_rig_free(&r);
	}
}

enum { PATTERN = 10 << 20 };

static uint8_t *pattern_new(void)
{
	uint8_t *data = xmalloc(PATTERN);

	for (size_t i = 0; i < PATTERN; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13);
	return data;
}

Test(exec, ten_mebibytes_go_through_cat_unchanged)
{
	enum { SIZE = PATTERN, STEP = 60000 };
	struct agent_rig r;
	struct client c;
	uint8_t *data = pattern_new();

	agent_rig_new(&r);
	start(&r, &c, ARGV("cat"), (struct how){0});
	for (size_t at = 0; at < SIZE;) {
		size_t n = SIZE - at < STEP ? SIZE - at : STEP;

		/* The agent's back-pressure is ours to respect. */
		RIG_UNTIL(&r, !chan_full(c.chan));
		chan_send(c.chan, MSG_EXEC_STDIN, data + at, n);
		at += n;
	}
	chan_send(c.chan, MSG_EXEC_STDIN_EOF, NULL, 0);
	RIG_UNTIL(&r, c.closed);
	cr_expect_eq(c.code, 0);
	cr_assert_eq(c.out.len, SIZE);
	cr_expect_eq(memcmp(c.out.data, data, SIZE), 0);
	free(data);
	client_close(&c);
	agent_rig_free(&r);
}

Test(exec, a_client_that_does_not_read_stops_the_command_and_not_the_agent)
{
	struct agent_rig r;
	struct client slow, other;

	agent_rig_new(&r);
	start(&r, &slow, ARGV("sh", "-c", "head -c 8000000 /dev/zero; echo done >&2"),
	      (struct how){0});
	RIG_UNTIL(&r, slow.frames > 0);
	chan_pause(slow.chan, true);
	start(&r, &other, ARGV("echo", "hello"), (struct how){0});
	RIG_UNTIL(&r, other.closed);
	cr_expect_str_eq(buf_str(&other.out), "hello\n");
	/* Held up: sockets, pipe and queue are full, the rest is not written yet. */
	cr_expect_lt(slow.out.len, 8000000);
	cr_expect_eq(slow.err.len, 0);
	chan_pause(slow.chan, false);
	RIG_UNTIL(&r, slow.closed);
	cr_expect_eq(slow.out.len, 8000000);
	cr_expect_str_eq(buf_str(&slow.err), "done\n");
	client_close(&slow);
	client_close(&other);
	agent_rig_free(&r);
}

static bool gone(pid_t pid)
{
	return kill(pid, 0) < 0;
}

/* One of a command's own outputs, written by the test. */
struct tap {
	int fd;
	size_t len; /* written so far, of the pattern */
};

static struct tap tap_open(pid_t pid, int fd)
{
	auto_free char *path = xasprintf("/proc/%d/fd/%d", (int)pid, fd);
	struct tap t = {.fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC)};

	cr_assert_geq(t.fd, 0);
	cr_assert_eq(fcntl(t.fd, F_SETPIPE_SZ, 1 << 20), 1 << 20);
	return t;
}

/* False when nothing more went in. */
static bool tap_fill(struct tap *t, const uint8_t *pattern)
{
	ssize_t n = write(t->fd, pattern + t->len, PATTERN - t->len);

	if (n > 0)
		t->len += (size_t)n;
	return n > 0;
}

Test(exec, all_that_large_pipes_hold_at_the_end_reaches_a_client_that_reads_late)
{
	struct agent_rig r;
	struct client c;
	uint8_t *pattern = pattern_new();

	agent_rig_new(&r);
	start(&r, &c, ARGV("sh", "-c", "echo $$; read x; exit 3"), (struct how){0});
	RIG_UNTIL(&r, memchr(buf_str(&c.out), '\n', c.out.len));
	pid_t pid = (pid_t)strtoul(c.out.data, NULL, 10);
	struct tap taps[] = {tap_open(pid, 1), tap_open(pid, 2)};
	buf_reset(&c.out);
	/* Until socket, queue and both pipes are full. */
	chan_pause(c.chan, true);
	while (tap_fill(&taps[0], pattern) || tap_fill(&taps[1], pattern) ||
	       loop_once(r.loop, 50, NULL) > 0)
		;
	for (int i = 0; i < 2; i++)
		(void)close(taps[i].fd);
	chan_send(c.chan, MSG_EXEC_STDIN, "\n", 1);
	RIG_UNTIL(&r, gone(pid));
	chan_pause(c.chan, false);
	RIG_UNTIL(&r, c.closed);
	cr_expect(c.ended);
	cr_expect_eq(c.code, 3);
	cr_assert_eq(c.out.len, taps[0].len);
	cr_assert_eq(c.err.len, taps[1].len);
	cr_expect_eq(memcmp(c.out.data, pattern, c.out.len), 0);
	cr_expect_eq(memcmp(c.err.data, pattern, c.err.len), 0);
	free(pattern);
	client_close(&c);
	agent_rig_free(&r);
}

Test(exec, a_command_that_does_not_read_holds_its_client_up_and_frees_it_when_it_ends)
{
	static uint8_t block[60000];
	struct agent_rig r;
	struct client c;

	agent_rig_new(&r);
	start(&r, &c, ARGV("sh", "-c", "sleep 0.3; exit 5"), (struct how){0});
	for (int i = 0; i < 100 && c.chan && !chan_full(c.chan); i++) {
		chan_send(c.chan, MSG_EXEC_STDIN, block, sizeof(block));
		(void)loop_once(r.loop, 5, NULL);
	}
	cr_expect_not(c.ended);
	RIG_UNTIL(&r, c.closed);
	cr_expect_eq(c.code, 5);
	client_close(&c);
	agent_rig_free(&r);
}

Test(exec, a_client_that_leaves_takes_the_whole_group_with_it)
{
	struct agent_rig r;
	struct client c;

	agent_rig_new(&r);
	start(&r, &c, ARGV("sh", "-c", "sleep 1000 & echo $! $$; wait"), (struct how){0});
	RIG_UNTIL(&r, memchr(buf_str(&c.out), '\n', c.out.len));
	char *end;
	pid_t first = (pid_t)strtoul(c.out.data, &end, 10);
	pid_t second = (pid_t)strtoul(end, NULL, 10);
	cr_assert_gt(first, 1);
	cr_assert_gt(second, 1);
	client_close(&c);
	RIG_UNTIL(&r, gone(first) && gone(second));
	agent_rig_free(&r);
}

Test(exec, a_background_child_that_keeps_the_pipe_does_not_keep_the_client)
{
	struct agent_rig r;
	struct client c;

	agent_rig_new(&r);
	start(&r, &c, ARGV("sh", "-c", "sleep 1000 & echo $!"), (struct how){0});
	RIG_UNTIL(&r, c.closed);
	cr_expect_eq(c.code, 0);
	(void)kill((pid_t)strtoul(buf_str(&c.out), NULL, 10), SIGKILL);
	client_close(&c);
	agent_rig_free(&r);
}

static void send_number(struct client *c, uint16_t msg, uint16_t tag, uint64_t v, uint16_t tag2,
			uint64_t v2)
{
	auto_buf struct buf body = BUF_INIT(256);

	tlv_put_u64(&body, tag, v);
	tlv_put_u64(&body, tag2, v2);
	chan_send_buf(c->chan, msg, &body);
}

Test(exec, a_signal_reaches_the_command)
{
	struct agent_rig r;
	struct client c;

	agent_rig_new(&r);
	start(&r, &c,
	      ARGV("sh", "-c",
		   "trap 'echo caught; exit 9' USR1; echo up; while :; do sleep 0.05; done"),
	      (struct how){0});
	RIG_UNTIL(&r, c.out.len >= 3);
	send_number(&c, MSG_EXEC_SIGNAL, TAG_SIGNAL, SIGUSR1, TAG_CODE, 0);
	RIG_UNTIL(&r, c.closed);
	cr_expect_eq(c.code, 9);
	cr_expect_not_null(strstr(buf_str(&c.out), "caught"), "%s", buf_str(&c.out));
	client_close(&c);
	agent_rig_free(&r);
}

Test(exec, a_terminal_has_the_size_it_was_given_and_follows_resizes)
{
	struct agent_rig r;
	struct client c;

	agent_rig_new(&r);
	start(&r, &c,
	      ARGV("sh", "-c",
		   "trap 'stty size' WINCH; echo $TERM; stty size; "
		   "while [ -z \"$x\" ]; do read x; done; echo got $x"),
	      (struct how){.tty = true, .rows = 33, .cols = 99});
	RIG_UNTIL(&r, strstr(buf_str(&c.out), "33 99\r\n"));
	cr_expect_eq(strncmp(buf_str(&c.out), "xterm\r\n", 7), 0);
	send_number(&c, MSG_EXEC_RESIZE, TAG_ROWS, 20, TAG_COLS, 70);
	RIG_UNTIL(&r, strstr(buf_str(&c.out), "20 70\r\n"));
	chan_send(c.chan, MSG_EXEC_STDIN, "yes\n", 4);
	RIG_UNTIL(&r, c.closed);
	cr_expect_eq(c.code, 0);
	cr_expect_not_null(strstr(buf_str(&c.out), "got yes\r\n"), "%s", buf_str(&c.out));
	client_close(&c);
	agent_rig_free(&r);
}

Test(exec, the_end_of_stdin_is_the_end_of_file_of_a_terminal)
{
	struct agent_rig r;
	struct client c;

	agent_rig_new(&r);
	start(&r, &c, ARGV("sh", "-c", "stty -echo; echo up; cat; echo end"),
	      (struct how){.tty = true});
	RIG_UNTIL(&r, c.out.len >= 2);
	chan_send(c.chan, MSG_EXEC_STDIN, "text\n", 5);
	chan_send(c.chan, MSG_EXEC_STDIN_EOF, NULL, 0);
	RIG_UNTIL(&r, c.closed);
	cr_expect_str_eq(buf_str(&c.out), "up\r\ntext\r\nend\r\n");
	client_close(&c);
	agent_rig_free(&r);
}

/* Without the fix accept() blocks the whole loop, so nothing but Criterion can end the test. */
Test(exec, a_terminal_of_a_container_whose_crun_never_connects_ends_with_it, .timeout = 60)
{
	static const struct {
		const char *crun;
		uint64_t timeout_ms;
		int code;
		const char *text;
	} cases[] = {
		{"exit 9", 0, 9, ""},
		{"kill -KILL $$", 0, 137, ""},
		{"exec sleep 1000", 50, 124, "timed out after 50ms"},
	};
	struct crun_rig r;

	crun_rig_new(&r, "exec sleep 1000");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct client c;

		crun_rig_program(&r, "crun", cases[i].crun);
		start(&r.rig, &c, ARGV("id"),
		      (struct how){.container = CRUN_RIG_NAME,
				   .tty = true,
				   .timeout_ms = cases[i].timeout_ms});
		RIG_UNTIL(&r.rig, c.closed);
		cr_expect(c.ended, "%s", cases[i].crun);
		cr_expect_eq(c.code, cases[i].code, "%s: %d", cases[i].crun, c.code);
		cr_expect_str_eq(c.text, cases[i].text, "%s: %s", cases[i].crun, c.text);
		client_close(&c);
	}
	crun_rig_free(&r);
}

Test(exec, hostile_frames_end_the_connection_or_the_command_and_nothing_else)
{
	static const uint8_t big[AGENT_CONTROL_MAX + 1];
	static const struct {
		const char *what;
		const void *body;
		uint32_t len;
		bool dropped; /* without an EXIT */
	} cases[] = {
		{"a body over the limit", big, sizeof(big), true},
		{"a field past the body", "\x15\0\0\0\xff\xff\0\0", 8, false},
		{"half a field", "\x15\0\0", 3, false},
		{"nothing to run", "", 0, false},
		{"a NUL in a word", "\x15\0\0\0\3\0\0\0a\0b", 11, false},
		{"a short number", "\x2a\0\0\0\1\0\0\0\1", 9, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct agent_rig r;
		struct client c;

		agent_rig_new(&r);
		client_open(&r, AGENT_PORT_EXEC, &c);
		chan_send(c.chan, MSG_EXEC_START, cases[i].body, cases[i].len);
		RIG_UNTIL(&r, c.closed);
		cr_expect_eq(c.ended, !cases[i].dropped, "%s", cases[i].what);
		if (c.ended)
			cr_expect_eq(c.code, 125, "%s: %d", cases[i].what, c.code);
		client_close(&c);
		agent_rig_free(&r);
	}
}
