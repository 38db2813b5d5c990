#include "exec_session.h"

#include "agent_client.h"
#include "buf.h"
#include "cleanup.h"
#include "exec_term.h"
#include "frame.h"
#include "io.h"
#include "loop.h"
#include "proto.h"
#include "tlv.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_MS 15000
#define LATE_MS 15000 /* after the command's own timeout */
#define CHUNK 32768u
#define HIGH (256u << 10) /* bytes held for a slow reader before we stop reading */
#define START_MAX AGENT_CONTROL_MAX

struct session;

struct output {
	struct session *s;
	int fd;
	struct loop_source src;
	struct buf pending;
	bool gone; /* nobody reads it any more */
};

struct session {
	const struct exec_request *req;
	struct loop *loop;
	struct exec_result result;
	struct loop_source conn, in, signals, late;
	bool in_always; /* stdin is a file: epoll refuses it, reading never blocks */
	bool in_open, ended;
	struct buf from, to;
	struct output out, err;
	bool masked;
	sigset_t mask;
	void (*on_pipe)(int sig);
	struct err *why;
};

static void finish(struct session *s, int value)
{
	loop_stop(s->loop, value);
}

static void fail(struct session *s, int code, const char *text)
{
	(void)err_set(s->why, ERR_GUEST, code, "%s", text);
	finish(s, code);
}

/* --- to the guest --------------------------------------------------------------------------- */

static void pace(struct session *s)
{
	bool room_out = s->out.pending.len < HIGH && s->err.pending.len < HIGH;
	uint32_t want = (room_out && !s->ended ? EPOLLIN : 0u) | (s->to.len > 0 ? EPOLLOUT : 0u);

	(void)loop_mod(s->loop, &s->conn, want);
	if (s->in_open && !s->in_always)
		(void)loop_mod(s->loop, &s->in, s->to.len < HIGH ? EPOLLIN : 0u);
}

static void flush_to(struct session *s)
{
	while (s->to.len > 0 && !s->ended) {
		ssize_t n = send(s->conn.fd, s->to.data, s->to.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		/* That the guest is gone shows up where we read: its last words may be there. */
		if (n < 0 && errno != EAGAIN)
			buf_reset(&s->to);
		if (n < 0)
			break;
		buf_consume(&s->to, (size_t)n);
	}
	pace(s);
}

static void put(struct session *s, enum agent_msg msg, const void *body, size_t len)
{
	frame_put(&s->to, (uint16_t)msg, 0, body, len);
}

static void close_in(struct session *s)
{
	if (!s->in_open)
		return;
	s->in_open = false;
	if (!s->in_always)
		loop_remove(s->loop, &s->in);
	put(s, MSG_EXEC_STDIN_EOF, NULL, 0);
}

static void read_in(struct session *s)
{
	char chunk[CHUNK];
	ssize_t n = read(s->req->in, chunk, sizeof(chunk));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		close_in(s);
	else
		put(s, MSG_EXEC_STDIN, chunk, (size_t)n);
	flush_to(s);
}

static void read_file(struct session *s)
{
	while (s->in_always && s->in_open && s->to.len < HIGH)
		read_in(s);
}

static void on_in(struct loop *loop, struct loop_source *src, uint32_t events)
{
	(void)loop;
	(void)events;
	read_in(src->data);
}

static void put_size(struct session *s, enum agent_msg msg)
{
	auto_buf struct buf body = BUF_INIT(256);

	exec_term_put_size(s->req->out, &body);
	put(s, msg, buf_str(&body), body.len);
}

static void on_signal(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct session *s = src->data;
	auto_buf struct buf body = BUF_INIT(64);
	struct signalfd_siginfo info;

	(void)loop;
	(void)events;
	if (read(src->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH) {
		if (s->req->tty)
			put_size(s, MSG_EXEC_RESIZE);
	} else {
		tlv_put_u64(&body, TAG_SIGNAL, info.ssi_signo);
		put(s, MSG_EXEC_SIGNAL, body.data, body.len);
	}
	flush_to(s);
}

/* --- from the guest ------------------------------------------------------------------------- */

static void settle(struct session *s)
{
	if (s->ended && s->out.pending.len == 0 && s->err.pending.len == 0)
		finish(s, 0);
}

static bool writable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	return poll(&p, 1, 0) > 0;
}

/* As a local command would end; the guest's dies with the connection. Nobody misses stderr. */
static void reader_gone(struct output *o)
{
	o->gone = true;
	buf_reset(&o->pending);
	loop_remove(o->s->loop, &o->src);
	if (o == &o->s->out) {
		o->s->result.code = 128 + SIGPIPE;
		finish(o->s, 0);
	}
	settle(o->s);
}

/* Descriptors are shared with others and stay blocking: a pipe that is writable takes PIPE_BUF
 * bytes without blocking, so that much is written at a time. */
static void flush_output(struct output *o)
{
	while (o->pending.len > 0 && writable(o->fd)) {
		size_t len = o->pending.len < PIPE_BUF ? o->pending.len : PIPE_BUF;
		ssize_t n = write(o->fd, o->pending.data, len);

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			break;
		if (n < 0) {
			reader_gone(o);
			return;
		}
		buf_consume(&o->pending, (size_t)n);
	}
	(void)loop_mod(o->s->loop, &o->src, o->pending.len > 0 ? EPOLLOUT : 0u);
	pace(o->s);
	settle(o->s);
}

static void on_output(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct output *o = src->data;

	(void)loop;
	if (events & (EPOLLERR | EPOLLHUP))
		reader_gone(o);
	else
		flush_output(o);
}

static void take_output(struct output *o, const struct frame *f)
{
	if (o->gone)
		return;
	buf_add(&o->pending, f->body, f->len);
	flush_output(o);
}

static void take_exit(struct session *s, const struct frame *f)
{
	size_t pos = 0;
	struct tlv t = {0};
	uint64_t code = 125;

	while (tlv_next(f->body, f->len, &pos, &t, NULL) > 0) {
		auto_free char *text = NULL;

		if (t.tag == TAG_EXIT_CODE)
			(void)tlv_u64(&t, &code, NULL);
		else if (t.tag == TAG_TEXT && tlv_str(&t, START_MAX, &text, NULL) >= 0)
			(void)snprintf(s->result.text, sizeof(s->result.text), "%s", text);
	}
	s->result.code = code > 255 ? 125 : (int)code;
	s->ended = true;
	close_in(s);
	pace(s);
	settle(s);
}

static void take_frames(struct session *s)
{
	while (!s->ended) {
		struct frame f = {0};
		size_t used = 0;
		int r = frame_get((const uint8_t *)buf_str(&s->from), s->from.len,
				  AGENT_CONTROL_MAX, &f, &used, NULL);

		if (r < 0)
			fail(s, r, "the guest's agent sends malformed frames");
		if (r <= 0)
			return;
		if (f.type == MSG_EXEC_STDOUT)
			take_output(&s->out, &f);
		else if (f.type == MSG_EXEC_STDERR)
			take_output(&s->err, &f);
		else if (f.type == MSG_EXEC_EXIT)
			take_exit(s, &f);
		buf_consume(&s->from, used);
	}
}

static void on_conn(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct session *s = src->data;
	char chunk[CHUNK];
	ssize_t n = 0;

	(void)loop;
	if (events & EPOLLOUT)
		flush_to(s);
	read_file(s);
	if (s->ended) {
		/* Nothing but our own readers is waited for; a hang-up cannot be silenced. */
		loop_remove(s->loop, src);
		return;
	}
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || s->out.pending.len >= HIGH ||
	    s->err.pending.len >= HIGH)
		return;
	n = recv(src->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		fail(s, -ECONNRESET,
		     "the connection to the guest was lost before the command ended");
		return;
	}
	buf_add(&s->from, chunk, (size_t)n);
	take_frames(s);
}

static void on_late(struct loop *loop, struct loop_source *src, uint32_t events)
{
	(void)loop;
	(void)events;
	fail(src->data, -ETIMEDOUT, "the guest did not end the command in time");
}

/* --- set up --------------------------------------------------------------------------------- */

static int put_start(struct session *s, struct err *err)
{
	const struct exec_request *q = s->req;
	auto_buf struct buf body = BUF_INIT(START_MAX);

	for (size_t i = 0; i < q->argv->n; i++)
		tlv_put_str(&body, TAG_ARG, q->argv->v[i]);
	for (size_t i = 0; q->env && i < q->env->n; i++)
		tlv_put_str(&body, TAG_ENV, q->env->v[i]);
	tlv_put_str(&body, TAG_CWD, q->cwd);
	tlv_put_str(&body, TAG_USER, q->user);
	tlv_put_str(&body, TAG_NAME, q->container ? q->container : "");
	tlv_put_u64(&body, TAG_TTY, q->tty);
	tlv_put_u64(&body, TAG_TIMEOUT_MS, q->timeout_ms);
	if (q->tty) {
		tlv_put_str(&body, TAG_TERM, q->term);
		exec_term_put_size(q->out, &body);
	}
	if (!buf_ok(&body))
		return err_set(err, ERR_SPEC, -E2BIG,
			       "the command and its environment are longer than %u KiB",
			       START_MAX >> 10);
	put(s, MSG_EXEC_START, body.data, body.len);
	return 0;
}

static struct err *err_copy(struct err *to, const struct err *from)
{
	if (to)
		*to = *from;
	return to;
}

static int watch_in(struct session *s, struct err *err)
{
	struct err refused = {0};
	int r = 0;

	s->in_open = true;
	s->in_always = true;
	if (!s->req->interactive) {
		close_in(s);
		return 0;
	}
	r = loop_add(s->loop, &s->in, s->req->in, EPOLLIN, on_in, s, &refused);
	s->in_always = r == -EPERM;
	return r < 0 && !s->in_always ? err_wrap(err_copy(err, &refused), "stdin") : 0;
}

/* A file is always writable, and epoll refuses it. */
static int watch_output(struct session *s, struct output *o, int fd, struct err *err)
{
	struct err refused = {0};
	int r = 0;

	o->s = s;
	o->fd = fd;
	o->pending = (struct buf)BUF_INIT(HIGH + AGENT_CONTROL_MAX);
	r = loop_add(s->loop, &o->src, fd, 0, on_output, o, &refused);
	return r < 0 && r != -EPERM ? err_wrap(err_copy(err, &refused), "output") : 0;
}

static int watch_signals(struct session *s, struct err *err)
{
	static const int forwarded[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT,
					SIGUSR1, SIGUSR2, SIGWINCH};
	sigset_t set;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(forwarded); i++)
		(void)sigaddset(&set, forwarded[i]);
	(void)sigprocmask(SIG_BLOCK, &set, &s->mask);
	s->on_pipe = signal(SIGPIPE, SIG_IGN);
	s->masked = true;
	return loop_signals(s->loop, &s->signals, &set, on_signal, s, err);
}

static int set_up(struct session *s, int conn, struct err *err)
{
	int r = loop_add(s->loop, &s->conn, conn, EPOLLIN, on_conn, s, err);

	if (r >= 0)
		r = watch_output(s, &s->out, s->req->out, err);
	if (r >= 0)
		r = watch_output(s, &s->err, s->req->err, err);
	if (r >= 0)
		r = watch_signals(s, err);
	if (r >= 0)
		r = put_start(s, err);
	if (r >= 0)
		r = watch_in(s, err);
	if (r >= 0 && s->req->timeout_ms)
		r = loop_timer(s->loop, &s->late, s->req->timeout_ms + LATE_MS, 0, on_late, s, err);
	if (r < 0)
		return r;
	read_file(s);
	flush_to(s);
	return 0;
}

static void session_free(struct session *s)
{
	if (s->masked) {
		(void)sigprocmask(SIG_SETMASK, &s->mask, NULL);
		(void)signal(SIGPIPE, s->on_pipe);
	}
	buf_free(&s->from);
	buf_free(&s->to);
	buf_free(&s->out.pending);
	buf_free(&s->err.pending);
}

int exec_session_run(const struct exec_request *req, struct exec_result *ret, struct err *err)
{
	auto_loop struct loop *loop = NULL;
	auto_close int conn = -1;
	struct exec_term term = {.fd = -1};
	struct err local = {0};
	struct session s = {
		.req = req,
		.from = BUF_INIT(FRAME_HEAD_SIZE + AGENT_CONTROL_MAX + CHUNK),
		.to = BUF_INIT(4 * HIGH + START_MAX),
		.why = err ? err : &local,
	};
	int r = loop_new(&loop, err);

	if (r >= 0)
		r = agent_client_connect(req->instance_dir, AGENT_PORT_EXEC,
					 deadline_in(CONNECT_MS), &conn, err);
	if (r < 0)
		return r;
	s.loop = loop;
	r = set_up(&s, conn, err);
	if (r >= 0 && req->tty && req->interactive)
		exec_term_raw(&term, req->in);
	if (r >= 0)
		r = loop_run(loop, err);
	exec_term_restore(&term);
	session_free(&s);
	if (r >= 0)
		*ret = s.result;
	return r;
}
