#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent_rig.h"
#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "logs.h"
#include "proto.h"
#include "proto_workload.h"

static void take(struct logring *ring, int stream, const char *want)
{
	auto_free struct logring_line *line = logring_take(ring);

	cr_assert_not_null(line, "wanted '%s'", want);
	cr_expect_eq(line->stream, stream);
	cr_expect_eq(line->len, strlen(want), "%.*s", (int)line->len, line->text);
	cr_expect_eq(memcmp(line->text, want, line->len), 0, "%.*s", (int)line->len, line->text);
}

Test(logring, gives_lines_back_in_order)
{
	struct logring ring = {0};

	logring_put(&ring, 1, 10, "one", 3);
	logring_put(&ring, 2, 20, "", 0);
	take(&ring, 1, "one");
	take(&ring, 2, "");
	cr_expect_null(logring_take(&ring));
	cr_expect_eq(ring.bytes, 0);
}

Test(logring, a_full_one_loses_the_oldest_lines_and_says_how_many)
{
	static char line[16384];
	struct logring ring = {0};
	size_t put = 0;

	memset(line, 'x', sizeof(line));
	while (!ring.dropped) {
		logring_put(&ring, 1, ++put, line, sizeof(line));
		cr_assert_lt(put, 1000);
	}
	for (int i = 0; i < 4; i++)
		logring_put(&ring, 1, ++put, line, sizeof(line));
	cr_expect_leq(ring.bytes, LOGRING_MAX);
	take(&ring, 2, "fcvm: 5 lines lost here");
	auto_free struct logring_line *oldest = logring_take(&ring);
	cr_expect_eq(oldest->unix_ns, 6);
	logring_clear(&ring);
	cr_expect_null(logring_take(&ring));
}

/* Everything a logs client got, as "STREAM:TEXT|". */
struct seen {
	struct buf text;
	int n;
};

static void on_log(struct chan *chan, void *data, const struct frame *f)
{
	struct seen *s = data;
	const uint8_t *value = NULL;
	uint64_t stream = 0;
	size_t len = 0;

	(void)chan;
	cr_assert_eq(f->type, MSG_LOG);
	cr_assert_eq(proto_find_u64(f->body, f->len, TAG_STREAM, 0, &stream, NULL), 0);
	cr_assert_eq(proto_find(f->body, f->len, TAG_DATA, &value, &len, NULL), 1);
	buf_addf(&s->text, "%d:", (int)stream);
	buf_add(&s->text, value, len);
	buf_add_char(&s->text, '|');
	s->n++;
}

static void on_gone(struct chan *chan, void *data)
{
	(void)chan;
	(void)data;
}

static struct chan *connect_logs(struct agent_rig *r, struct seen *s)
{
	static const struct chan_ops ops = {on_log, NULL, on_gone};
	struct chan *chan;
	int pair[2];

	*s = (struct seen){.text = BUF_INIT(8u << 20)};
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(chan_new(r->loop, pair[0], AGENT_CONTROL_MAX, &ops, s, &chan, NULL), 0);
	logs_accept(&r->agent, pair[1]);
	return chan;
}

static int attach(struct agent_rig *r, int stream)
{
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	cr_assert_eq(logs_attach(&r->agent, stream, fds[0], NULL), 0);
	return fds[1];
}

static void say(int fd, const char *text)
{
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

Test(logs, lines_are_cut_at_newlines_whatever_the_writes_were)
{
	struct agent_rig r;
	struct seen s;

	agent_rig_new(&r);
	auto_close int out = attach(&r, 1);
	struct chan *chan = connect_logs(&r, &s);
	say(out, "one\ntw");
	RIG_UNTIL(&r, s.n == 1);
	say(out, "o\n\nlast");
	RIG_UNTIL(&r, s.n == 3);
	cleanup_close_p(&out);
	RIG_UNTIL(&r, s.n == 4);
	cr_expect_str_eq(buf_str(&s.text), "1:one|1:two|1:|1:last|");
	chan_close(chan);
	buf_free(&s.text);
	agent_rig_free(&r);
}

Test(logs, podmans_id_is_taken_out_of_the_containers_stream_wherever_it_falls)
{
#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ID "\nfirst\n", "1:first|"},          {"first\n" ID "\n", "1:first|"},
		{"half" ID "\nline\n", "1:halfline|"}, {ID "\n" ID "\n", "1:" ID "|"},
		{"a" ID "b\n", "1:a" ID "b|"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct agent_rig r;
		struct seen s;

		agent_rig_new(&r);
		auto_free char *path = path_join(r.dir, "id");
		cr_assert_eq(file_replace(path, ID, strlen(ID), 0600, NULL), 0);
		auto_close int out = attach(&r, 1);
		logs_expect_id(&r.agent, path);
		struct chan *chan = connect_logs(&r, &s);
		say(out, cases[i].text);
		RIG_UNTIL(&r, s.n == 1);
		cr_expect_str_eq(buf_str(&s.text), cases[i].want, "%s", buf_str(&s.text));
		chan_close(chan);
		buf_free(&s.text);
		agent_rig_free(&r);
	}
#undef ID
}

Test(logs, what_nobody_reads_is_kept_up_to_the_limit_and_the_writer_goes_on)
{
	static char line[1001];
	struct agent_rig r;
	struct seen s;

	memset(line, 'x', sizeof(line));
	line[1000] = '\n';
	agent_rig_new(&r);
	auto_close int out = attach(&r, 2);
	for (int i = 0; i < 3000; i++) {
		cr_assert_eq(write(out, line, sizeof(line)), (ssize_t)sizeof(line));
		(void)loop_once(r.loop, 0, NULL);
		logs_drain(&r.agent);
	}
	struct chan *chan = connect_logs(&r, &s);
	RIG_UNTIL(&r, s.n > 900);
	while (loop_once(r.loop, 50, NULL) > 0)
		;
	cr_expect_eq(strncmp(buf_str(&s.text), "2:fcvm: ", 8), 0, "%.64s", buf_str(&s.text));
	cr_expect_lt(s.text.len, LOGRING_MAX);
	chan_close(chan);
	buf_free(&s.text);
	agent_rig_free(&r);
}

Test(logs, a_clone_forgets_what_its_source_had_not_delivered)
{
	struct agent_rig r;
	struct seen s;

	agent_rig_new(&r);
	auto_close int out = attach(&r, 1);
	say(out, "before\n");
	logs_drain(&r.agent);
	logs_clear(&r.agent);
	say(out, "after\n");
	struct chan *chan = connect_logs(&r, &s);
	RIG_UNTIL(&r, s.n == 1);
	cr_expect_str_eq(buf_str(&s.text), "1:after|");
	chan_close(chan);
	buf_free(&s.text);
	agent_rig_free(&r);
}

static void on_done(void *data)
{
	*(bool *)data = true;
}

/* Fills the ring through the container's pipe; returns the lines that are on their way. */
static int burst(struct agent_rig *r, int out)
{
	static char line[1001];

	memset(line, 'x', sizeof(line));
	line[1000] = '\n';
	for (int i = 0; i < 600; i++) {
		cr_assert_eq(write(out, line, sizeof(line)), (ssize_t)sizeof(line));
		logs_drain(&r->agent);
	}
	return 600;
}

Test(logs, the_last_words_are_taken_by_the_supervisor_before_they_count_as_sent)
{
	struct agent_rig r;
	struct seen s;
	bool done = false;

	agent_rig_new(&r);
	auto_close int out = attach(&r, 1);
	struct chan *chan = connect_logs(&r, &s);
	chan_pause(chan, true);
	int n = burst(&r, out);
	say(out, "last\n");
	logs_finish(&r.agent, RIG_DEADLINE_MS, on_done, &done);
	while (loop_once(r.loop, 50, NULL) > 0)
		;
	cr_expect_not(done);
	chan_pause(chan, false);
	RIG_UNTIL(&r, done);
	cr_expect_eq(s.n, n + 1);
	cr_expect_str_eq(buf_str(&s.text) + s.text.len - 7, "1:last|");
	buf_free(&s.text);
	agent_rig_free(&r);
}

Test(logs, a_supervisor_that_does_not_read_holds_up_the_end_no_longer_than_allowed)
{
	struct agent_rig r;
	struct seen s;
	bool done = false;

	agent_rig_new(&r);
	auto_close int out = attach(&r, 1);
	struct chan *chan = connect_logs(&r, &s);
	chan_pause(chan, true);
	(void)burst(&r, out);
	logs_finish(&r.agent, 10, on_done, &done);
	RIG_UNTIL(&r, done);
	chan_close(chan);
	buf_free(&s.text);
	agent_rig_free(&r);
}

Test(logs, where_nobody_listens_the_last_words_hold_nothing_up)
{
	struct agent_rig r;
	bool done = false;

	agent_rig_new(&r);
	auto_close int out = attach(&r, 1);
	say(out, "unheard\n");
	logs_finish(&r.agent, RIG_DEADLINE_MS, on_done, &done);
	cr_expect(done);
	agent_rig_free(&r);
}
