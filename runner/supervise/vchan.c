#include "vchan.h"

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "mux.h"
#include "parse.h"
#include "vsock.h"
#include "xalloc.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_WORD "CONNECT "

struct waiting {
	struct vchan *ch;
	struct waiting *prev, *next;
	struct loop_source src;
};

/* What carries the streams: the mux and the vsock do the same things. */
struct carrier {
	int (*sync)(struct vchan *ch, bool keep, struct err *err);
	int (*quiesce)(struct vchan *ch, struct err *err);
	int (*open)(struct vchan *ch, uint32_t port, int local,
		    void (*opened)(void *data, int local, int code), void *data, struct err *err);
	bool keeps_streams;
};

struct vchan {
	struct loop *loop;
	char *path; /* v.sock */
	const struct carrier *carrier;
	struct mux *mux;     /* one of these */
	struct vsock *vsock; /* is there */
	struct vchan_ops ops;
	void *data;
	bool listening;
	struct loop_source listener;
	struct waiting *waiting;
	size_t n_waiting;
	uint32_t opened; /* the n of "OK n" */
};

int vchan_parse_connect(const char *data, size_t len, uint32_t *ret_port, size_t *ret_used)
{
	const size_t word = sizeof(CONNECT_WORD) - 1;
	size_t head = len < word ? len : word;
	size_t max = len < VCHAN_LINE_MAX ? len : VCHAN_LINE_MAX;
	const char *end = len > 0 ? memchr(data, '\n', max) : NULL;
	char number[VCHAN_LINE_MAX + 1];
	uint64_t port = 0;

	if (memcmp(data, CONNECT_WORD, head) != 0)
		return -EINVAL;
	if (!end)
		return len < VCHAN_LINE_MAX ? 0 : -EINVAL;
	if ((size_t)(end - data) <= word)
		return -EINVAL;
	size_t n = (size_t)(end - data) - word;

	memcpy(number, data + word, n);
	number[n] = '\0';
	if (strlen(number) != n || parse_u64(number, 1, UINT32_MAX, &port, NULL) < 0)
		return -EINVAL;
	*ret_port = (uint32_t)port;
	*ret_used = (size_t)(end - data) + 1;
	return 1;
}

static int waiting_remove(struct waiting *w)
{
	struct vchan *ch = w->ch;
	int fd = w->src.fd;

	loop_remove(ch->loop, &w->src);
	if (w->prev)
		w->prev->next = w->next;
	else
		ch->waiting = w->next;
	if (w->next)
		w->next->prev = w->prev;
	ch->n_waiting--;
	free(w);
	return fd;
}

/* The answer goes out before the mux may write a byte of the guest's. */
static void on_opened(void *data, int local, int code)
{
	struct vchan *ch = data;
	char line[VCHAN_LINE_MAX];
	int n = 0;

	if (code < 0)
		return;
	n = snprintf(line, sizeof(line), "OK %u\n", 1024 + ch->opened++ % (UINT32_MAX - 1024));
	(void)send(local, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The line is peeked at first: what stands behind it belongs to the stream. Half a line stays where
 * it is, so the descriptor is watched by edges. */
static void on_waiting(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct waiting *w = src->data;
	struct vchan *ch = w->ch;
	char line[VCHAN_LINE_MAX];
	ssize_t n = recv(src->fd, line, sizeof(line), MSG_PEEK | MSG_DONTWAIT);
	uint32_t port = 0;
	size_t used = 0;
	int r = 0;

	(void)loop;
	r = n > 0 ? vchan_parse_connect(line, (size_t)n, &port, &used) : -ECONNRESET;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		r = 0;
	if (r == 0 && !(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
		return;
	auto_close int fd = waiting_remove(w);

	if (r <= 0 || recv(fd, line, used, MSG_DONTWAIT) != (ssize_t)used)
		return;
	(void)ch->carrier->open(ch, port, TAKE_FD(fd), on_opened, ch, NULL);
}

static void on_listen(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct vchan *ch = src->data;
	auto_close int fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct waiting *w = NULL;

	(void)events;
	if (fd < 0 || ch->n_waiting >= VCHAN_WAITING_MAX)
		return;
	w = xcalloc(1, sizeof(*w));
	w->ch = ch;
	if (loop_add(loop, &w->src, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, on_waiting, w, NULL) < 0) {
		free(w);
		return;
	}
	(void)TAKE_FD(fd);
	w->next = ch->waiting;
	if (w->next)
		w->next->prev = w;
	ch->waiting = w;
	ch->n_waiting++;
}

static void start_listening(struct vchan *ch)
{
	auto_close int fd = -1;

	if (io_unix_listen(ch->path, 64, &fd, NULL) < 0)
		return;
	(void)io_set_nonblock(fd, true);
	if (loop_add(ch->loop, &ch->listener, fd, EPOLLIN, on_listen, ch, NULL) < 0)
		return;
	(void)TAKE_FD(fd);
	ch->listening = true;
}

static void on_synced(void *data, bool fresh)
{
	struct vchan *ch = data;

	if (!ch->listening)
		start_listening(ch);
	ch->ops.synced(ch->data, fresh);
}

static void on_quiesced(void *data)
{
	struct vchan *ch = data;

	ch->ops.quiesced(ch->data);
}

static void on_lost(void *data, const char *why)
{
	struct vchan *ch = data;

	ch->ops.lost(ch->data, why);
}

/* Firecracker's way: whoever wants what the guest opens listens on v.sock_<port>. */
static int on_guest_open(void *data, uint32_t port, int *ret_fd)
{
	struct vchan *ch = data;
	auto_free char *path = xasprintf("%s_%u", ch->path, port);

	return io_unix_connect(path, now_ms(), ret_fd, NULL) < 0 ? -ECONNREFUSED : 0;
}

static const struct mux_ops mux_ops = {
	.accept = on_guest_open,
	.synced = on_synced,
	.quiesced = on_quiesced,
	.lost = on_lost,
};

static int sync_mux(struct vchan *ch, bool keep, struct err *err)
{
	return mux_sync(ch->mux, keep, err);
}

static int quiesce_mux(struct vchan *ch, struct err *err)
{
	return mux_quiesce(ch->mux, err);
}

static int open_mux(struct vchan *ch, uint32_t port, int local,
		    void (*opened)(void *data, int local, int code), void *data, struct err *err)
{
	return mux_open(ch->mux, port, local, opened, data, err);
}

static const struct carrier mux_carrier = {sync_mux, quiesce_mux, open_mux, true};

static int sync_vsock(struct vchan *ch, bool keep, struct err *err)
{
	return vsock_sync(ch->vsock, keep, err);
}

static int quiesce_vsock(struct vchan *ch, struct err *err)
{
	return vsock_quiesce(ch->vsock, err);
}

static int open_vsock(struct vchan *ch, uint32_t port, int local,
		      void (*opened)(void *data, int local, int code), void *data, struct err *err)
{
	return vsock_open(ch->vsock, port, local, opened, data, err);
}

static const struct carrier vsock_carrier = {sync_vsock, quiesce_vsock, open_vsock, false};

static int carry(struct vchan *ch, const struct vchan_far *far, struct err *err)
{
	static const struct vsock_ops vsock_ops = {.synced = on_synced, .quiesced = on_quiesced};
	const struct vsock_far vsock = {far->vsock_dir, far->vsock_name, far->vsock_uid};

	if (far->mux_fd >= 0) {
		ch->carrier = &mux_carrier;
		return mux_new(ch->loop, far->mux_fd, true, &mux_ops, ch, &ch->mux, err);
	}
	ch->carrier = &vsock_carrier;
	vsock_new(ch->loop, &vsock, &vsock_ops, ch, &ch->vsock);
	return 0;
}

int vchan_new(struct loop *loop, const char *dir, const struct vchan_far *far,
	      const struct vchan_ops *ops, void *data, struct vchan **ret, struct err *err)
{
	struct vchan *ch = xcalloc(1, sizeof(*ch));
	int r = 0;

	ch->loop = loop;
	ch->path = path_join(dir, VCHAN_SOCK);
	ch->ops = *ops;
	ch->data = data;
	r = carry(ch, far, err);
	if (r < 0) {
		vchan_free(ch);
		return r;
	}
	*ret = ch;
	return 0;
}

void vchan_free(struct vchan *ch)
{
	struct waiting *next = NULL;

	if (!ch)
		return;
	if (ch->listening) {
		(void)unlink(ch->path);
		loop_remove(ch->loop, &ch->listener);
		close(ch->listener.fd);
	}
	for (struct waiting *w = ch->waiting; w; w = next) {
		next = w->next;
		close(waiting_remove(w));
	}
	mux_free(ch->mux);
	vsock_free(ch->vsock);
	free(ch->path);
	free(ch);
}

int vchan_sync(struct vchan *ch, bool keep, struct err *err)
{
	return ch->carrier->sync(ch, keep, err);
}

int vchan_quiesce(struct vchan *ch, struct err *err)
{
	return ch->carrier->quiesce(ch, err);
}

int vchan_open(struct vchan *ch, uint32_t port, int *ret_fd, struct err *err)
{
	int pair[2] = {-1, -1}, r = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return err_sys(err, "cannot make a socket pair");
	r = ch->carrier->open(ch, port, pair[1], NULL, NULL, err);
	if (r < 0) {
		close(pair[0]);
		return r;
	}
	*ret_fd = pair[0];
	return 0;
}

bool vchan_keeps_streams(const struct vchan *ch)
{
	return ch->carrier->keeps_streams;
}
