#include "fp_stream.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "fp_run.h"
#include "io.h"
#include "xalloc.h"

#define IN_SIZE ((FP_FRAME_MAX + (256u << 10)) & ~63u)
#define FLUSH_AT (192u << 10)
#define OUT_SIZE ((size_t)FLUSH_AT + FP_SCRATCH_SIZE)
#define PENDING_MAX (4u << 20)
#define SLOW_MS 20 /* an operation that takes longer loses the stream to another thread */
#define SLOW_FOR_MS 1000
#define TAKEN 1
#define CLAIMED UINT64_MAX

/* What a receiving thread holds. */
struct fp_rx {
	struct fp_stream *st;
	uint8_t *in;
	size_t pos, end;
	uint8_t *out; /* frames ready to leave, then the one being made */
	size_t out_len;
	struct buf items;
	bool spins; /* the last request came soon */
	/* Since when an operation runs here; 0 when none does, CLAIMED when the watchdog has given
	 * the stream to another thread meanwhile. */
	_Atomic uint64_t busy_ms;
	atomic_bool waits; /* for what comes next: whatever was received has been executed */
};

struct fp_stream *fp_stream_new(int fd)
{
	struct fp_stream *st = xcalloc(1, sizeof(*st));

	st->fd = fd;
	st->refs = 1;
	st->pending = (struct buf)BUF_INIT(PENDING_MAX + OUT_SIZE);
	(void)pthread_mutex_init(&st->lock, NULL);
	(void)pthread_mutex_init(&st->rx_lock, NULL);
	(void)pthread_cond_init(&st->sent, NULL);
	return st;
}

void fp_stream_free(struct fp_stream *st)
{
	cleanup_close_p(&st->fd);
	buf_free(&st->pending);
	(void)pthread_cond_destroy(&st->sent);
	(void)pthread_mutex_destroy(&st->rx_lock);
	(void)pthread_mutex_destroy(&st->lock);
	free(st);
}

void fp_stream_ref(struct fp_stream *st)
{
	(void)atomic_fetch_add(&st->refs, 1);
}

void fp_stream_unref(struct fp_stream *st)
{
	if (atomic_fetch_sub(&st->refs, 1) == 1)
		st->on_idle(st);
}

void fp_stream_cut(struct fp_stream *st)
{
	atomic_store(&st->broken, true);
	(void)shutdown(st->fd, SHUT_RDWR);
}

/* --- sending: whoever comes while another thread writes leaves its bytes with that one --- */

static void break_stream(struct fp_stream *st)
{
	atomic_store(&st->broken, true);
	(void)shutdown(st->fd, SHUT_RDWR);
	buf_reset(&st->pending);
}

/* Under the lock, which is let go of while writing. */
static void write_out(struct fp_stream *st, const void *data, size_t len)
{
	(void)pthread_mutex_unlock(&st->lock);
	int r = io_write_full(st->fd, data, len, 0, NULL);
	(void)pthread_mutex_lock(&st->lock);
	if (r < 0)
		break_stream(st);
}

void fp_stream_send(struct fp_stream *st, const void *data, size_t len)
{
	(void)pthread_mutex_lock(&st->lock);
	while (st->sending && st->pending.len > PENDING_MAX && !st->broken)
		(void)pthread_cond_wait(&st->sent, &st->lock);
	if (st->broken) {
		(void)pthread_mutex_unlock(&st->lock);
		return;
	}
	if (st->sending) {
		buf_add(&st->pending, data, len);
		(void)pthread_mutex_unlock(&st->lock);
		return;
	}
	st->sending = true;
	write_out(st, data, len);
	while (st->pending.len && !st->broken) {
		struct buf mine = st->pending;

		st->pending = (struct buf)BUF_INIT(PENDING_MAX + OUT_SIZE);
		write_out(st, mine.data, mine.len);
		buf_free(&mine);
	}
	st->sending = false;
	(void)pthread_cond_broadcast(&st->sent);
	(void)pthread_mutex_unlock(&st->lock);
}

/* --- the receiving thread --- */

static struct fp_rx *new_rx(struct fp_stream *st)
{
	struct fp_rx *rx = xcalloc(1, sizeof(*rx));

	rx->st = st;
	rx->in = aligned_alloc(64, IN_SIZE);
	rx->out = aligned_alloc(64, OUT_SIZE & ~(size_t)63);
	if (!rx->in || !rx->out)
		abort();
	rx->items = (struct buf)BUF_INIT(FP_TRAILER_MAX);
	return rx;
}

static void free_rx(struct fp_rx *rx)
{
	free(rx->in);
	free(rx->out);
	buf_free(&rx->items);
	free(rx);
}

static void flush(struct fp_rx *rx)
{
	if (rx->out_len)
		fp_stream_send(rx->st, rx->out, rx->out_len);
	rx->out_len = 0;
}

/* 0, or TAKEN when the watchdog gave the stream to another thread meanwhile: it has copies of what
 * was received and of what was ready to leave, and this reply is all that is left to do here. */
static int run_inline(struct fp_rx *rx, const struct fp_request *q, int r, uint64_t now)
{
	struct fp_stream *st = rx->st;
	uint8_t *at = rx->out + rx->out_len;

	atomic_store(&rx->busy_ms, now);
	size_t len = fp_run(st, q, r, at, &rx->items);
	if (atomic_exchange(&rx->busy_ms, 0) == CLAIMED) {
		/* The watchdog is done with rx once it lets go of this. */
		(void)pthread_mutex_lock(&st->rx_lock);
		(void)pthread_mutex_unlock(&st->rx_lock);
		if (len)
			fp_stream_send(st, at, len);
		return TAKEN;
	}
	rx->out_len += len;
	if (rx->out_len >= FLUSH_AT)
		flush(rx);
	return 0;
}

/* rx->pos is behind the frame already. */
static int handle(struct fp_rx *rx, const struct fp_frame *f, const uint8_t *start, size_t len)
{
	const uint64_t now = now_ms();
	struct fp_request q;

	if (!f->msg)
		return 0;
	int r = fp_decode(f, &q);
	if (fp_run_is_void(rx->st, &q))
		return 0;
	if (r == 0 && fp_run_blocks(rx->st, &q, now)) {
		/* The queue may be full: what is done already must not wait for it. */
		flush(rx);
		fp_run_later(rx->st, start, len);
		return 0;
	}
	return run_inline(rx, &q, r, now);
}

static int handle_all(struct fp_rx *rx, struct err *err)
{
	for (;;) {
		const uint8_t *start = rx->in + rx->pos;
		struct fp_frame f;
		size_t used;
		int r = fp_frame_get(start, rx->end - rx->pos, &f, &used, err);

		if (r <= 0)
			return r;
		rx->pos += used;
		r = handle(rx, &f, start, used);
		if (r != 0)
			return r;
	}
}

static uint64_t now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* True with *ret when something (or the end) came in time. */
static bool spin(struct fp_stream *st, void *at, size_t size, uint64_t until, ssize_t *ret)
{
	do {
		*ret = recv(st->fd, at, size, MSG_DONTWAIT);
		if (*ret >= 0 || (errno != EAGAIN && errno != EINTR))
			return true;
		(void)sched_yield(); /* whom we wait for may need this processor */
	} while (now_us() < until);
	return false;
}

/* Not in recv() itself: who is in there may have received already. */
static ssize_t await(struct fp_rx *rx, void *at, size_t size)
{
	struct pollfd p = {.fd = rx->st->fd, .events = POLLIN};
	ssize_t n = recv(p.fd, at, size, MSG_DONTWAIT);

	while (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		atomic_store(&rx->waits, true);
		(void)poll(&p, 1, -1);
		atomic_store(&rx->waits, false);
		n = recv(p.fd, at, size, MSG_DONTWAIT);
	}
	return n;
}

/* The next request often follows at once, and asking for it costs less than being woken: as long as
 * that proves true. Where others need the processor, requests take longer to follow, and asking
 * ends by itself. */
static ssize_t receive(struct fp_rx *rx, void *at, size_t size)
{
	struct fp_stream *st = rx->st;
	const uint64_t begun = st->spin_us ? now_us() : 0;
	ssize_t n;

	if (rx->spins && spin(st, at, size, begun + st->spin_us, &n))
		return n;
	n = await(rx, at, size);
	rx->spins = st->spin_us && now_us() - begun <= 3ull * st->spin_us;
	return n;
}

/* Frames are multiples of 8 from an aligned start, so what is moved to the front stays aligned. */
static void make_room(struct fp_rx *rx)
{
	if (rx->pos == rx->end) {
		rx->pos = rx->end = 0;
	} else if (IN_SIZE - rx->pos < FP_FRAME_MAX) {
		memmove(rx->in, rx->in + rx->pos, rx->end - rx->pos);
		rx->end -= rx->pos;
		rx->pos = 0;
	}
}

static int serve(struct fp_rx *rx, struct err *err)
{
	for (;;) {
		int r = handle_all(rx, err);

		if (r == TAKEN)
			return TAKEN;
		flush(rx);
		if (r < 0)
			return r;
		make_room(rx);
		ssize_t n = receive(rx, rx->in + rx->end, IN_SIZE - rx->end);
		(void)atomic_fetch_add(&rx->st->received, 1);
		if (n == 0)
			return 0;
		if (n < 0)
			return err_sys(err, "cannot receive from the guest");
		rx->end += (size_t)n;
	}
}

static void end_stream(struct fp_stream *st)
{
	(void)pthread_mutex_lock(&st->lock);
	break_stream(st);
	(void)pthread_mutex_unlock(&st->lock);
}

static int serve_and_free(struct fp_rx *rx, struct err *err)
{
	struct fp_stream *st = rx->st;
	int r = serve(rx, err);

	if (r != TAKEN) {
		end_stream(st);
		/* The guest asks again when it is back: the old wait must not take the lock. */
		fp_locks_cancel(st->vol->locks, st);
		(void)pthread_mutex_lock(&st->rx_lock);
		st->rx = NULL;
		(void)pthread_mutex_unlock(&st->rx_lock);
	}
	free_rx(rx);
	return r == TAKEN ? 0 : r;
}

int fp_stream_serve(struct fp_stream *st, struct err *err)
{
	struct fp_rx *rx = new_rx(st);

	(void)pthread_mutex_lock(&st->rx_lock);
	st->rx = rx;
	(void)pthread_mutex_unlock(&st->rx_lock);
	return serve_and_free(rx, err);
}

/* In this order: who waits when nothing is left to read has received it all, and what then still
 * runs (jobs, locks that wait) holds the stream, too; one reference is the receiving thread's. */
bool fp_stream_is_quiet(struct fp_stream *st, uint64_t *ret_received)
{
	int unread = 0;

	*ret_received = atomic_load(&st->received);
	if (ioctl(st->fd, FIONREAD, &unread) == 0 && unread > 0)
		return false;
	(void)pthread_mutex_lock(&st->rx_lock);
	bool waits = !st->rx || atomic_load(&st->rx->waits);
	(void)pthread_mutex_unlock(&st->rx_lock);
	return waits && atomic_load(&st->refs) == 1;
}

/* --- the watchdog --- */

static void *go_on(void *data)
{
	struct fp_rx *rx = data;
	struct fp_stream *st = rx->st;

	fp_creds_must_init(st->vol->proc_fd);
	(void)serve_and_free(rx, NULL);
	fp_stream_unref(st);
	return NULL;
}

static struct fp_rx *copy_rx(const struct fp_rx *rx)
{
	struct fp_rx *mine = new_rx(rx->st);

	mine->end = rx->end - rx->pos;
	memcpy(mine->in, rx->in + rx->pos, mine->end);
	mine->out_len = rx->out_len;
	memcpy(mine->out, rx->out, mine->out_len);
	return mine;
}

/* The thread that runs the operation touches nothing of this until it ends, which may be as soon as
 * the lock is free: by then the next one's reference is there. */
static struct fp_rx *claim(struct fp_stream *st, uint64_t now)
{
	struct fp_rx *mine = NULL;

	(void)pthread_mutex_lock(&st->rx_lock);
	uint64_t since = st->rx ? atomic_load(&st->rx->busy_ms) : 0;
	if (since && now >= since + SLOW_MS &&
	    atomic_compare_exchange_strong(&st->rx->busy_ms, &since, CLAIMED)) {
		mine = copy_rx(st->rx);
		st->rx = mine;
		fp_stream_ref(st);
	}
	(void)pthread_mutex_unlock(&st->rx_lock);
	return mine;
}

bool fp_stream_watch(struct fp_stream *st, uint64_t now)
{
	struct fp_rx *mine = claim(st, now);
	pthread_attr_t attr;
	pthread_t thread;

	if (!mine)
		return true;
	atomic_store(&st->slow_until_ms, now + SLOW_FOR_MS);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int error = pthread_create(&thread, &attr, go_on, mine);
	(void)pthread_attr_destroy(&attr);
	if (error == 0)
		return true;
	(void)pthread_mutex_lock(&st->rx_lock);
	st->rx = NULL;
	(void)pthread_mutex_unlock(&st->rx_lock);
	end_stream(st);
	free_rx(mine);
	return false;
}

void fp_stream_abandon(struct fp_stream *st)
{
	fp_locks_cancel(st->vol->locks, st);
	fp_stream_unref(st);
}
