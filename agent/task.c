/* task.c - a command of which only the exit code and the last words matter: hooks, probes. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "launch.h"
#include "xalloc.h"

#define OUTPUT_MAX 1024u

struct task {
	struct agent *agent;
	struct launch *launch;
	struct loop_source out;
	int out_fd;
	struct buf tail;
	task_done done;
	void *data;
};

static void task_free(struct task *t)
{
	loop_remove(t->agent->loop, &t->out);
	cleanup_close_p(&t->out_fd);
	buf_free(&t->tail);
	free(t);
}

static void keep_tail(struct buf *tail, const char *data, size_t len)
{
	size_t keep = len < OUTPUT_MAX ? len : OUTPUT_MAX;

	if (tail->len + keep > OUTPUT_MAX)
		buf_consume(tail, tail->len + keep - OUTPUT_MAX);
	buf_add(tail, data + len - keep, keep);
}

/* True while there may be more. */
static bool read_some(struct task *t)
{
	char piece[4096];
	ssize_t n = read(t->out_fd, piece, sizeof(piece));

	if (n > 0)
		keep_tail(&t->tail, piece, (size_t)n);
	if (n == 0)
		loop_remove(t->agent->loop, &t->out);
	return n > 0;
}

static void on_out(struct loop *loop, struct loop_source *src, uint32_t events)
{
	(void)loop;
	(void)events;
	(void)read_some(src->data);
}

/* One line for a message: control characters and the line ends at the end go. */
static void make_printable(struct buf *b)
{
	for (size_t i = 0; i < b->len; i++)
		if ((unsigned char)b->data[i] < 0x20 || b->data[i] == 0x7f)
			b->data[i] = ' ';
	while (b->len && b->data[b->len - 1] == ' ')
		b->data[--b->len] = '\0';
}

static void on_ended(void *data, int code, const char *text)
{
	struct task *t = data;

	/* A background child may hold the pipe open and talk for ever: what is there now is it. */
	for (int i = 0; i < 256 && read_some(t); i++)
		;
	if (*text)
		keep_tail(&t->tail, text, strlen(text));
	make_printable(&t->tail);
	t->launch = NULL;
	t->done(t->data, code, buf_str(&t->tail));
	task_free(t);
}

int task_start(struct agent *agent, const struct launch_spec *spec, task_done done, void *data,
	       struct task **ret, struct err *err)
{
	static const struct launch_ops ops = {.ended = on_ended};
	struct launch_spec with_out = *spec;
	int pipe_fds[2];

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	auto_close int out = pipe_fds[1];
	struct task *t = xcalloc(1, sizeof(*t));
	t->agent = agent;
	t->out_fd = pipe_fds[0];
	t->tail = (struct buf)BUF_INIT((size_t)OUTPUT_MAX * 2);
	t->done = done;
	t->data = data;
	with_out.in = -1;
	with_out.out = with_out.err = out;
	int r = io_set_nonblock(t->out_fd, true);
	if (r == 0)
		r = loop_add(agent->loop, &t->out, t->out_fd, EPOLLIN, on_out, t, err);
	if (r == 0)
		r = launch_start(agent, &with_out, &ops, t, &t->launch, err);
	if (r < 0) {
		task_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

void task_abandon(struct task *t)
{
	if (t->launch)
		launch_abandon(t->launch);
	task_free(t);
}
