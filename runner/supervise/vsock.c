#include "vsock.h"

#include "buf.h"
#include "cleanup.h"
#include "io.h"
#include "proto.h"
#include "xalloc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINE_BYTES 32u
#define CHUNK_MAX 65536u
#define RETRY_FIRST_MS 2u
#define RETRY_MAX_MS 64u

struct side {
	struct loop_source src;
	int fd;
	struct buf out; /* what it shall get */
	bool mute;      /* says no more, or nobody hears it */
	bool hup;       /* has hung up: what it said before still counts */
};

struct stream {
	struct vsock *v;
	struct stream *prev, *next;
	struct side near, far;
	bool open;
	void (*opened)(void *data, int local, int code);
	void *data;
};

struct vsock {
	struct loop *loop;
	char *dir, *name;
	uid_t uid;
	struct vsock_ops ops;
	void *data;
	struct stream *streams;
	size_t n_streams;
	int knock_fd; /* our end of the stream that finds out whether the agent is there */
	bool keep;
	uint64_t pause_ms;
	struct loop_source retry, silence;
};

/* --- streams -------------------------------------------------------------------------------- */

static void side_close(struct vsock *v, struct side *side)
{
	loop_remove(v->loop, &side->src);
	cleanup_close_p(&side->fd);
}

static void stream_free(struct stream *s)
{
	struct vsock *v = s->v;

	side_close(v, &s->near);
	side_close(v, &s->far);
	buf_free(&s->near.out);
	buf_free(&s->far.out);
	if (s->prev)
		s->prev->next = s->next;
	else
		v->streams = s->next;
	if (s->next)
		s->next->prev = s->prev;
	v->n_streams--;
	free(s);
}

/* Tells the outcome; the stream is the caller's to free on failure. */
static void tell(struct stream *s, int code)
{
	void (*opened)(void *data, int local, int code) = TAKE_PTR(s->opened);

	if (opened)
		opened(s->data, s->near.fd, code);
}

/* With nothing to wait for, by edges: a hang-up cannot be masked, and would be told for ever. */
static void watch(const struct stream *s, struct side *side, const struct side *other)
{
	uint32_t events = side->out.len ? EPOLLOUT : 0u;

	/* What the other has not taken yet holds this one back. */
	if ((!side->mute || side->hup) && other->fd >= 0 && other->out.len == 0)
		events |= EPOLLIN;
	if (side->fd >= 0)
		(void)loop_mod(s->v->loop, &side->src, events ? events : EPOLLET);
}

/* What it takes no more, ever, is nothing to wait for; what it has said itself still is. */
static void flush(struct side *side, struct side *other)
{
	while (side->out.len > 0) {
		ssize_t n =
			send(side->fd, side->out.data, side->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			buf_reset(&side->out);
			other->mute = true;
			return;
		}
		buf_consume(&side->out, (size_t)n);
	}
}

/* 1: more may come; 0: no more; what came is in to->out. */
static int fill(const struct side *from, struct side *to)
{
	char chunk[CHUNK_MAX];
	ssize_t n = recv(from->fd, chunk, sizeof(chunk), MSG_DONTWAIT);

	if (n > 0)
		buf_add(&to->out, chunk, (size_t)n);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* One end is gone: the other gets what is on its way, then its end. */
static void side_ended(struct stream *s, struct side *side, struct side *other)
{
	side_close(s->v, side);
	if (other->out.len == 0)
		stream_free(s);
	else
		watch(s, other, side);
}

/* `side` has events; `other` gets what it says. */
static void pump(struct stream *s, struct side *side, struct side *other, uint32_t events)
{
	bool lives = true;

	side->hup |= (events & (EPOLLHUP | EPOLLERR)) != 0;
	if (events & EPOLLOUT)
		flush(side, other);
	if (other->fd < 0) {
		if (side->out.len == 0 || side->hup)
			stream_free(s);
		return;
	}
	/* To its end: an error stands behind the last byte. */
	if (other->out.len == 0 && (side->hup || (events & EPOLLIN)))
		lives = fill(side, other);
	flush(other, side);
	side->mute |= !lives;
	/* A near end that only says no more still listens, and the far one cannot be told. */
	if (!lives && (side == &s->far || side->hup)) {
		side_ended(s, side, other);
		return;
	}
	watch(s, side, other);
	watch(s, other, side);
}

static void on_near(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct stream *s = src->data;

	(void)loop;
	if (s->open) {
		pump(s, &s->near, &s->far, events);
		return;
	}
	/* Whoever asked has gone away before there was an answer. */
	tell(s, -ECONNRESET);
	stream_free(s);
}

/* 1: "OK <n>\n" is taken off; 0: not all of it is there; negative: refused. */
static int take_answer(int fd)
{
	char line[LINE_BYTES];
	ssize_t n = recv(fd, line, sizeof(line), MSG_PEEK | MSG_DONTWAIT);
	const char *end = n > 0 ? memchr(line, '\n', (size_t)n) : NULL;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0 || (n >= 3 && memcmp(line, "OK ", 3) != 0) || (!end && n == sizeof(line)))
		return -ECONNREFUSED;
	if (!end)
		return 0;
	return recv(fd, line, (size_t)(end - line) + 1, MSG_DONTWAIT) > 0 ? 1 : -ECONNREFUSED;
}

static void on_far(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct stream *s = src->data;
	int r = s->open ? 1 : take_answer(s->far.fd);

	(void)loop;
	if (s->open) {
		pump(s, &s->far, &s->near, events);
		return;
	}
	if (r == 0 && !(events & (EPOLLHUP | EPOLLERR)))
		return;
	if (r <= 0) {
		tell(s, r < 0 ? r : -ECONNREFUSED);
		stream_free(s);
		return;
	}
	s->open = true;
	tell(s, 0);
	watch(s, &s->near, &s->far);
	watch(s, &s->far, &s->near);
}

/* In one write: Firecracker drops a connection whose line it finds half. */
static int knock(const struct vsock *v, uint32_t port, int *ret_fd, struct err *err)
{
	auto_close int fd = -1;
	char line[LINE_BYTES];
	int n = snprintf(line, sizeof(line), "CONNECT %u\n", port);
	int r = io_unix_connect_owned(v->dir, v->name, v->uid, deadline_in(0), &fd, err);

	if (r == 0)
		r = io_set_nonblock(fd, true);
	if (r < 0)
		return r;
	if (send(fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n)
		return err_set(err, ERR_GUEST, -ECONNREFUSED, "the VMM takes no connection");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int vsock_open(struct vsock *v, uint32_t port, int local,
	       void (*opened)(void *data, int local, int code), void *data, struct err *err)
{
	auto_close int near = local, far = -1;
	struct stream *s = NULL;
	int r = 0;

	if (v->n_streams >= VSOCK_STREAMS_MAX)
		return err_set(err, ERR_GUEST, -EMFILE, "the guest has %u streams open, the limit",
			       VSOCK_STREAMS_MAX);
	r = knock(v, port, &far, err);
	if (r < 0)
		return r;
	s = xcalloc(1, sizeof(*s));
	*s = (struct stream){.v = v, .next = v->streams, .opened = opened, .data = data};
	s->near = (struct side){.fd = -1, .out = BUF_INIT(CHUNK_MAX)};
	s->far = (struct side){.fd = -1, .out = BUF_INIT(CHUNK_MAX)};
	if (s->next)
		s->next->prev = s;
	v->streams = s;
	v->n_streams++;
	/* By edges: half an answer stays where it is, and must not wake us again. */
	r = loop_add(v->loop, &s->far.src, far, EPOLLIN | EPOLLET, on_far, s, err);
	if (r >= 0)
		s->far.fd = TAKE_FD(far);
	if (r >= 0)
		r = loop_add(v->loop, &s->near.src, near, 0, on_near, s, err);
	if (r < 0) {
		stream_free(s);
		return r;
	}
	s->near.fd = TAKE_FD(near);
	return 0;
}

/* --- is the agent there? -------------------------------------------------------------------- */

static void on_retry(struct loop *loop, struct loop_source *src, uint32_t events);

static void retry(struct vsock *v)
{
	(void)loop_timer(v->loop, &v->retry, v->pause_ms, 0, on_retry, v, NULL);
	v->pause_ms = v->pause_ms < RETRY_MAX_MS ? 2 * v->pause_ms : RETRY_MAX_MS;
}

static void on_knocked(void *data, int local, int code)
{
	struct vsock *v = data;

	(void)local;
	cleanup_close_p(&v->knock_fd);
	if (code < 0)
		retry(v);
	else
		v->ops.synced(v->data, !v->keep);
}

static int try(struct vsock *v, struct err *err)
{
	int pair[2] = {-1, -1}, r = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return err_sys(err, "cannot make a socket pair");
	v->knock_fd = pair[0];
	r = vsock_open(v, AGENT_PORT_STATUS, pair[1], on_knocked, v, err);
	if (r < 0)
		cleanup_close_p(&v->knock_fd);
	return r;
}

static void on_retry(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct vsock *v = src->data;

	(void)loop;
	(void)events;
	if (try(v, NULL) < 0)
		retry(v);
}

static void drop_streams(struct vsock *v)
{
	struct stream *next = NULL;

	loop_remove(v->loop, &v->retry);
	for (struct stream *s = v->streams; s; s = next) {
		next = s->next;
		stream_free(s);
	}
	cleanup_close_p(&v->knock_fd);
}

int vsock_sync(struct vsock *v, bool keep, struct err *err)
{
	(void)err;
	drop_streams(v);
	v->keep = keep;
	v->pause_ms = RETRY_FIRST_MS;
	if (try(v, NULL) < 0)
		retry(v);
	return 0;
}

static void on_silence(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct vsock *v = src->data;

	(void)loop;
	(void)events;
	v->ops.quiesced(v->data);
}

/* There is nothing to cut between: whatever is on its way is lost, and everybody knows. */
int vsock_quiesce(struct vsock *v, struct err *err)
{
	return loop_timer(v->loop, &v->silence, 0, 0, on_silence, v, err);
}

void vsock_new(struct loop *loop, const struct vsock_far *far, const struct vsock_ops *ops,
	       void *data, struct vsock **ret)
{
	struct vsock *v = xcalloc(1, sizeof(*v));

	*v = (struct vsock){
		.loop = loop, .ops = *ops, .data = data, .uid = far->uid, .knock_fd = -1};
	v->dir = xstrdup(far->dir);
	v->name = xstrdup(far->name);
	*ret = v;
}

void vsock_free(struct vsock *v)
{
	if (!v)
		return;
	loop_remove(v->loop, &v->silence);
	drop_streams(v);
	free(v->dir);
	free(v->name);
	free(v);
}
