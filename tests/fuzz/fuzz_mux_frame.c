/* fuzz_mux_frame.c - the channel's multiplexer fed by a hostile peer, as guest and as host.
 *
 * Byte 0 is how: bit 0 host; bit 1 the link is brought up properly first; bit 2 local sockets are
 * closed when they have got something; bit 3 local sockets answer; bit 4 the host opens a stream;
 * bits 5-7 how much is written at once. Everything after it comes from the peer. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "frame.h"
#include "io.h"
#include "mux.h"
#include "mux_link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond)              \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

#define LOCALS_MAX 32
enum { AS_HOST = 1, LINK_UP = 2, HANG_UP = 4, ANSWER = 8, OPEN = 16 };

struct run {
	unsigned int how;
	struct loop *loop;
	struct mux *mux;
	int peer;               /* the other end of the link */
	int locals[LOCALS_MAX]; /* the other ends of streams */
	size_t n_locals;
	bool lost;
};

static int on_accept(void *data, uint32_t port, int *ret_fd)
{
	struct run *r = data;
	int pair[2];

	if (port % 7 == 0 || r->n_locals == LOCALS_MAX)
		return -ECONNREFUSED;
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	r->locals[r->n_locals++] = pair[0];
	*ret_fd = pair[1];
	return 0;
}

static void on_synced(void *data, bool fresh)
{
	(void)data;
	(void)fresh;
}

static void on_quiesced(void *data)
{
	(void)data;
}

static void on_lost(void *data, const char *why)
{
	struct run *r = data;

	CHECK(*why);
	r->lost = true;
}

static void serve_local(struct run *r, int *fd)
{
	char piece[4096];
	ssize_t n = *fd < 0 ? -1 : recv(*fd, piece, sizeof(piece), 0);

	if (n > 0 && (r->how & ANSWER))
		(void)send(*fd, piece, (size_t)n, MSG_NOSIGNAL);
	if (n == 0 || (n > 0 && (r->how & HANG_UP)))
		cleanup_close_p(fd);
}

/* Everybody does what waits; the peer reads all there is. */
static void settle(struct run *r)
{
	char sink[65536];

	for (int i = 0; i < 4; i++) {
		CHECK(loop_once(r->loop, 0, NULL) >= 0);
		for (size_t k = 0; k < r->n_locals; k++)
			serve_local(r, &r->locals[k]);
		while (recv(r->peer, sink, sizeof(sink), 0) > 0)
			;
	}
}

static void put_head(uint8_t *to, uint8_t type, uint16_t len)
{
	memset(to, 0, MUX_HEAD_SIZE);
	to[4] = type;
	store_le16(to + 6, len);
}

/* The link id of a host is random: no input can hold the answer to it. */
static void bring_up(struct run *r)
{
	uint8_t frame[MUX_HEAD_SIZE + 2 + MUX_LINK_ID_SIZE] = {0};
	uint8_t ack[MUX_HEAD_SIZE + 1 + MUX_LINK_ID_SIZE];

	if (r->how & AS_HOST) {
		CHECK(recv(r->peer, frame, sizeof(frame), 0) == (ssize_t)sizeof(frame));
		put_head(ack, MUX_SYNC_ACK, 1 + MUX_LINK_ID_SIZE);
		ack[MUX_HEAD_SIZE] = MUX_VERSION;
		memcpy(ack + MUX_HEAD_SIZE + 1, frame + MUX_HEAD_SIZE + 2, MUX_LINK_ID_SIZE);
		CHECK(send(r->peer, ack, sizeof(ack), 0) == (ssize_t)sizeof(ack));
	} else {
		put_head(frame, MUX_SYNC, 2 + MUX_LINK_ID_SIZE);
		frame[MUX_HEAD_SIZE] = MUX_VERSION;
		CHECK(send(r->peer, frame, sizeof(frame), 0) == (ssize_t)sizeof(frame));
	}
	settle(r);
	CHECK(!r->lost);
}

static void open_stream(struct run *r)
{
	int fd = -1;

	if (on_accept(r, 1, &fd) == 0)
		(void)mux_open(r->mux, 1, fd, NULL, NULL, NULL);
}

static void feed(struct run *r, const uint8_t *data, size_t size)
{
	size_t chunk = (size_t)1 << (2 * (r->how >> 5));

	for (size_t at = 0; at < size && !r->lost;) {
		size_t want = size - at < chunk ? size - at : chunk;
		ssize_t n = send(r->peer, data + at, want, MSG_NOSIGNAL);

		at += n > 0 ? (size_t)n : 0;
		settle(r);
		/* Control frames can be queued without end only if we never read: we do. */
		CHECK(n > 0 || errno == EAGAIN || r->lost);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct mux_ops ops = {on_accept, on_synced, on_quiesced, on_lost};
	auto_loop struct loop *loop = NULL;
	struct run r = {.how = size ? data[0] : 0};
	int pair[2];

	CHECK(loop_new(&loop, NULL) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	r.loop = loop;
	r.peer = pair[1];
	CHECK(mux_new(loop, pair[0], r.how & AS_HOST, &ops, &r, &r.mux, NULL) == 0);
	if (r.how & AS_HOST)
		CHECK(mux_sync(r.mux, false, NULL) == 0);
	if (r.how & LINK_UP)
		bring_up(&r);
	if (r.how & OPEN)
		open_stream(&r);
	if (size > 1)
		feed(&r, data + 1, size - 1);
	cleanup_close_p(&r.peer);
	CHECK(loop_once(loop, 0, NULL) >= 0);
	mux_free(r.mux);
	(void)close(pair[0]);
	for (size_t i = 0; i < r.n_locals; i++)
		cleanup_close_p(&r.locals[i]);
	return 0;
}
