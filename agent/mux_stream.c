/* mux_stream.c - the mux's streams: a local socket on one side, credits and frames on the other.
 *
 * Local sockets are watched edge-triggered: a closed one reports HUP for ever, also while its last
 * bytes wait for credit. What the edges said is remembered in `readable` and `hup`. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "mux_link.h"
#include "xalloc.h"

/* Announced in steps, so that small reads do not cost a frame each. */
#define WINDOW_STEP (MUX_WINDOW / 4)

static struct mux_stream **slot_of(struct mux *mux, uint32_t id)
{
	return &mux->streams[(id >> 1) % MUX_HASH_SIZE];
}

struct mux_stream *mux_stream_find(struct mux *mux, uint32_t id)
{
	struct mux_stream *st = *slot_of(mux, id);

	while (st && st->id != id)
		st = st->hash_next;
	return st;
}

static bool may_send(const struct mux_stream *st)
{
	return st->open && st->readable && !st->fin_sent && !st->deaf && st->credit > 0;
}

static void line_up(struct mux_stream *st)
{
	struct mux *mux = st->mux;

	if (st->waiting || !may_send(st))
		return;
	st->waiting = true;
	st->wait_next = NULL;
	if (mux->wait_tail)
		mux->wait_tail->wait_next = st;
	else
		mux->wait_head = st;
	mux->wait_tail = st;
}

static void leave_line(struct mux_stream *st)
{
	struct mux *mux = st->mux;
	struct mux_stream *prev = NULL;

	if (!st->waiting)
		return;
	for (struct mux_stream *s = mux->wait_head; s != st; s = s->wait_next)
		prev = s;
	if (prev)
		prev->wait_next = st->wait_next;
	else
		mux->wait_head = st->wait_next;
	if (mux->wait_tail == st)
		mux->wait_tail = prev;
	st->waiting = false;
}

static void stream_free(struct mux_stream *st)
{
	struct mux_stream **at = slot_of(st->mux, st->id);

	while (*at != st)
		at = &(*at)->hash_next;
	*at = st->hash_next;
	leave_line(st);
	st->mux->n_streams--;
	loop_remove(st->mux->loop, &st->src);
	(void)close(st->fd);
	buf_free(&st->in);
	free(st);
}

void mux_stream_drop(struct mux_stream *st, int code)
{
	if (!st->open && st->opened)
		st->opened(st->opened_data, st->fd, code);
	stream_free(st);
}

void mux_stream_drop_all(struct mux *mux)
{
	for (size_t i = 0; i < MUX_HASH_SIZE; i++)
		while (mux->streams[i])
			mux_stream_drop(mux->streams[i], -ECONNRESET);
}

/* Behind the stream's own data, so that what was sent before still arrives. */
static void send_bulk(struct mux_stream *st, enum mux_type type)
{
	mux_queue_put(&st->mux->bulk, mux_node_new(type, st->id, 0));
}

static void stream_abort(struct mux_stream *st)
{
	send_bulk(st, MUX_RESET);
	mux_stream_drop(st, -ECONNRESET);
}

static size_t pending_in(const struct mux_stream *st)
{
	return st->in.len - st->in_off;
}

/* Ends what is done in either direction. False when the stream is gone. */
static bool stream_settle(struct mux_stream *st)
{
	if (st->fin_got && !st->shut && pending_in(st) == 0) {
		(void)shutdown(st->fd, SHUT_WR);
		st->shut = true;
	}
	if (st->shut && (st->fin_sent || st->deaf)) {
		stream_free(st);
		return false;
	}
	/* Nobody reads fd any more, and all it had to say is sent. A host's client that is gone
	 * does not wait for a service that does not read: what it began is to end. */
	if (st->hup && (st->fin_sent || (st->mux->host && st->credit == 0))) {
		stream_abort(st);
		return false;
	}
	return true;
}

static void announce(struct mux_stream *st)
{
	if (st->consumed < WINDOW_STEP || st->fin_got)
		return;
	mux_send_u32(st->mux, MUX_WINDOW_ADD, st->id, st->consumed);
	st->consumed = 0;
}

/* Bytes fd took now; 0 when it is full, -1 when it is gone. */
static ssize_t local_write(struct mux_stream *st, const uint8_t *data, size_t len)
{
	ssize_t n;

	do {
		n = send(st->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	st->consumed += (uint32_t)n;
	return n;
}

void mux_stream_data(struct mux_stream *st, const uint8_t *data, uint32_t len)
{
	ssize_t n = 0;

	if (pending_in(st) + st->consumed + len > MUX_WINDOW) {
		mux_fail(st->mux, "stream %u got more than its window", st->id);
		return;
	}
	if (pending_in(st) == 0)
		n = local_write(st, data, len);
	if (n < 0) {
		stream_abort(st);
		return;
	}
	if (n < (ssize_t)len)
		buf_add(&st->in, data + n, len - (size_t)n);
	announce(st);
}

void mux_stream_window(struct mux_stream *st, uint32_t bytes)
{
	if (bytes > MUX_WINDOW || st->credit > MUX_WINDOW - bytes) {
		mux_fail(st->mux, "stream %u got credit for more than its window", st->id);
		return;
	}
	st->credit += bytes;
	line_up(st);
}

void mux_stream_fin(struct mux_stream *st)
{
	st->fin_got = true;
	(void)stream_settle(st);
}

void mux_stream_reset(struct mux_stream *st)
{
	/* After a FIN the peer has only stopped listening: what it sent still goes to fd. Of a
	 * host's client it ends the service, which may never read the rest. */
	if (!st->fin_got || (!st->mux->host && pending_in(st) > 0)) {
		mux_stream_drop(st, -ECONNRESET);
		return;
	}
	st->deaf = true;
	(void)stream_settle(st);
}

/* Moves what waits in `in` to fd. False when the stream is gone. */
static bool drain_in(struct mux_stream *st)
{
	ssize_t n;

	do {
		n = local_write(st, (const uint8_t *)st->in.data + st->in_off, pending_in(st));
		if (n < 0) {
			stream_abort(st);
			return false;
		}
		st->in_off += (size_t)n;
	} while (n > 0 && pending_in(st) > 0);
	if (pending_in(st) == 0 || st->in_off >= MUX_WINDOW / 2) {
		buf_consume(&st->in, st->in_off);
		st->in_off = 0;
	}
	announce(st);
	return stream_settle(st);
}

/* Reads once from fd into a DATA frame. */
static void read_local(struct mux_stream *st)
{
	uint32_t room = st->credit < MUX_PAYLOAD_MAX ? st->credit : MUX_PAYLOAD_MAX;
	auto_free struct mux_node *node = mux_node_new(MUX_DATA, st->id, room);
	ssize_t n = recv(st->fd, mux_node_payload(node), room, MSG_DONTWAIT);

	if (n > 0) {
		mux_node_set_len(node, (uint32_t)n);
		mux_queue_put(&st->mux->bulk, TAKE_PTR(node));
		st->credit -= (uint32_t)n;
		line_up(st);
		(void)stream_settle(st);
		return;
	}
	if (n < 0 && errno == EINTR) {
		line_up(st);
		return;
	}
	st->readable = false;
	if (n < 0 && errno == EAGAIN)
		return;
	/* An error after the last byte reads as the end; HUP says the rest. */
	st->fin_sent = true;
	send_bulk(st, MUX_FIN);
	(void)stream_settle(st);
}

void mux_stream_pump(struct mux *mux)
{
	while (mux->wait_head && mux->bulk.bytes < MUX_TX_HIGH && !mux->failed) {
		struct mux_stream *st = mux->wait_head;

		leave_line(st);
		if (may_send(st))
			read_local(st);
		mux_flush(mux);
	}
}

static void on_local(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct mux_stream *st = src->data;
	struct mux *mux = st->mux;

	(void)loop;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		st->readable = true;
	if (events & (EPOLLHUP | EPOLLERR))
		st->hup = true;
	line_up(st);
	if (pending_in(st) > 0)
		(void)drain_in(st);
	else
		(void)stream_settle(st);
	mux_flush(mux);
	mux_stream_pump(mux);
	if (mux->failed)
		mux_lost(mux);
}

struct mux_stream *mux_stream_new(struct mux *mux, uint32_t id, int fd)
{
	auto_close int owned = fd;
	auto_free struct mux_stream *st = xcalloc(1, sizeof(*st));

	st->mux = mux;
	st->id = id;
	st->fd = fd;
	st->in = (struct buf)BUF_INIT((size_t)MUX_WINDOW * 2);
	st->credit = MUX_WINDOW;
	if (loop_add(mux->loop, &st->src, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, on_local,
		     st, NULL) < 0)
		return NULL;
	struct mux_stream **slot = slot_of(mux, id);
	st->hash_next = *slot;
	*slot = st;
	mux->n_streams++;
	(void)TAKE_FD(owned);
	return TAKE_PTR(st);
}

void mux_stream_opened(struct mux_stream *st)
{
	st->open = true;
	if (st->opened)
		st->opened(st->opened_data, st->fd, 0);
	line_up(st);
}
