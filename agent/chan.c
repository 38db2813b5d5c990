#include "chan.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "xalloc.h"

#define READ_SIZE (64u << 10)
#define READS_PER_EVENT 4

struct chan {
	struct loop *loop;
	int fd;
	struct loop_source src;
	struct chan_ops ops;
	void *data;
	uint32_t frame_max;
	struct buf in, out;
	size_t out_off;
	bool paused;
	bool was_full;
	bool finishing;
	bool shut;   /* finishing, and all is written: waits for the peer to close */
	bool eof;    /* finishing, and the peer sends no more */
	bool broken; /* the peer is to be dropped */
	bool busy;   /* inside a handler: freeing waits */
	bool dead;
	void (*finished)(void *data);
	void *finished_data;
};

static void chan_free(struct chan *c)
{
	loop_remove(c->loop, &c->src);
	(void)close(c->fd);
	buf_free(&c->in);
	buf_free(&c->out);
	free(c);
}

static size_t out_pending(const struct chan *c)
{
	return c->out.len - c->out_off;
}

static void update_interest(struct chan *c)
{
	uint32_t want = 0;

	if (c->finishing ? !c->eof : !c->paused)
		want |= EPOLLIN;
	if (out_pending(c) > 0 || c->broken)
		want |= EPOLLOUT;
	(void)loop_mod(c->loop, &c->src, want);
}

static void write_out(struct chan *c)
{
	while (out_pending(c) > 0 && !c->broken) {
		ssize_t n = send(c->fd, c->out.data + c->out_off, out_pending(c),
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0)
			c->broken = true;
		else
			c->out_off += (size_t)n;
	}
	if (out_pending(c) == 0 || c->out_off > CHAN_OUT_HIGH) {
		buf_consume(&c->out, c->out_off);
		c->out_off = 0;
	}
}

void chan_send(struct chan *c, uint16_t type, const void *body, size_t len)
{
	if (c->dead || c->finishing || c->broken)
		return;
	frame_put(&c->out, type, 0, body, len);
	if (!buf_ok(&c->out) || out_pending(c) > CHAN_OUT_MAX)
		c->broken = true;
	write_out(c);
	if (chan_full(c))
		c->was_full = true;
	update_interest(c);
}

void chan_send_buf(struct chan *c, uint16_t type, const struct buf *body)
{
	if (!buf_ok(body)) {
		c->broken = true;
		update_interest(c);
		return;
	}
	chan_send(c, type, body->data, body->len);
}

bool chan_full(const struct chan *c)
{
	return out_pending(c) > CHAN_OUT_HIGH;
}

/* Frames that are whole already, one by one; a handler may pause, close or finish. */
static void parse_in(struct chan *c)
{
	size_t at = 0;

	while (!c->paused && !c->dead && !c->finishing && !c->broken) {
		struct frame f;
		size_t used;
		int r = frame_get((const uint8_t *)buf_str(&c->in) + at, c->in.len - at,
				  c->frame_max, &f, &used, NULL);
		if (r < 0)
			c->broken = true;
		if (r <= 0)
			break;
		at += used;
		c->ops.frame(c, c->data, &f);
	}
	buf_consume(&c->in, at);
}

/* True when there may be more. */
static bool read_in(struct chan *c)
{
	size_t before = c->in.len;
	void *to = buf_grow(&c->in, READ_SIZE);
	ssize_t n = to ? recv(c->fd, to, READ_SIZE, MSG_DONTWAIT) : -1;
	int code = errno;

	if (!to) {
		c->broken = true;
		return false;
	}
	c->in.len = before + (n > 0 ? (size_t)n : 0);
	if (n < 0 && (code == EAGAIN || code == EINTR))
		return false;
	if (n <= 0) {
		c->broken = true;
		return false;
	}
	parse_in(c);
	return !c->paused && !c->dead && !c->finishing && !c->broken;
}

/* What a handler of ours left behind. */
static void settle(struct chan *c)
{
	if (c->dead) {
		chan_free(c);
		return;
	}
	if (c->finishing && !c->broken && !c->shut && out_pending(c) == 0) {
		(void)shutdown(c->fd, SHUT_WR);
		c->shut = true;
	}
	if (c->finishing && (c->broken || (c->shut && c->eof))) {
		c->busy = true;
		if (c->finished)
			c->finished(c->finished_data);
		chan_free(c);
		return;
	}
	if (c->broken) {
		c->busy = true;
		c->ops.closed(c, c->data);
		chan_free(c);
		return;
	}
	update_interest(c);
}

/* Closing with unread input would reset the connection under the peer, which could then miss our
 * last words: what still comes is read and dropped until it closes. */
static void linger(struct chan *c, uint32_t events)
{
	static char drop[READ_SIZE];

	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	ssize_t n = recv(c->fd, drop, sizeof(drop), MSG_DONTWAIT);
	if (n == 0)
		c->eof = true;
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		c->broken = true;
}

static void on_chan(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct chan *c = src->data;
	bool more = true;

	(void)loop;
	c->busy = true;
	if (events & EPOLLOUT)
		write_out(c);
	if (c->was_full && out_pending(c) < CHAN_OUT_HIGH / 2 && !c->broken && !c->finishing) {
		c->was_full = false;
		if (c->ops.drained)
			c->ops.drained(c, c->data);
	}
	if (c->finishing)
		linger(c, events);
	else if (!c->paused && !c->dead && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		for (int i = 0; more && i < READS_PER_EVENT; i++)
			more = read_in(c);
	/* HUP is reported although nobody asked: a paused peer that left, or one that will not read
	 * what is still to be written. */
	else if (events & (EPOLLHUP | EPOLLERR))
		c->broken = true;
	c->busy = false;
	settle(c);
}

int chan_new(struct loop *loop, int fd, uint32_t frame_max, const struct chan_ops *ops, void *data,
	     struct chan **ret, struct err *err)
{
	auto_close int owned = fd;
	auto_free struct chan *c = xcalloc(1, sizeof(*c));

	c->loop = loop;
	c->fd = fd;
	c->frame_max = frame_max;
	c->ops = *ops;
	c->data = data;
	c->in = (struct buf)BUF_INIT((size_t)frame_max + FRAME_HEAD_SIZE + (size_t)READ_SIZE * 2);
	c->out = (struct buf)BUF_INIT((size_t)CHAN_OUT_MAX * 2);
	int r = io_set_nonblock(fd, true);
	if (r < 0)
		return err_sys_code(err, r, "cannot make a connection non-blocking");
	r = loop_add(loop, &c->src, fd, EPOLLIN, on_chan, c, err);
	if (r < 0)
		return r;
	(void)TAKE_FD(owned);
	*ret = TAKE_PTR(c);
	return 0;
}

void chan_pause(struct chan *c, bool paused)
{
	bool go_on = c->paused && !paused;

	c->paused = paused;
	if (c->dead)
		return;
	/* Frames may lie in our own buffer, where no event tells of them. */
	if (go_on && !c->busy) {
		c->busy = true;
		parse_in(c);
		c->busy = false;
		settle(c);
		return;
	}
	update_interest(c);
}

void chan_close(struct chan *c)
{
	if (c->busy)
		c->dead = true;
	else
		chan_free(c);
}

void chan_finish(struct chan *c)
{
	c->finishing = true;
	write_out(c);
	if (!c->busy)
		settle(c);
}

void chan_on_finished(struct chan *c, void (*fn)(void *data), void *data)
{
	c->finished = fn;
	c->finished_data = data;
}
