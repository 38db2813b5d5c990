/* mux.c - the link: bytes in and out, SYNC and QUIESCE from the host's side. What a frame does is
 * in mux_frames.c, streams are in mux_stream.c.
 *
 * The link's descriptor is watched edge-triggered: a virtio port without a host reports HUP for
 * ever, and a level-triggered loop would spin on it. */
#include "mux.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "cleanup.h"
#include "frame.h"
#include "io.h"
#include "mux_link.h"
#include "xalloc.h"

#define READS_PER_EVENT 16

static const uint32_t link_events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

struct mux_node *mux_node_new(enum mux_type type, uint32_t id, uint32_t len)
{
	struct mux_node *node = xmalloc(sizeof(*node) + MUX_HEAD_SIZE + len);

	node->next = NULL;
	node->len = MUX_HEAD_SIZE + len;
	node->off = 0;
	node->hold = false;
	store_le32(node->raw, id);
	node->raw[4] = (uint8_t)type;
	node->raw[5] = 0;
	store_le16(node->raw + 6, (uint16_t)len);
	return node;
}

uint8_t *mux_node_payload(struct mux_node *node)
{
	return node->raw + MUX_HEAD_SIZE;
}

void mux_node_set_len(struct mux_node *node, uint32_t len)
{
	node->len = MUX_HEAD_SIZE + len;
	store_le16(node->raw + 6, (uint16_t)len);
}

void mux_queue_put(struct mux_queue *queue, struct mux_node *node)
{
	if (queue->tail)
		queue->tail->next = node;
	else
		queue->head = node;
	queue->tail = node;
	queue->bytes += node->len;
}

void mux_queue_put_front(struct mux_queue *queue, struct mux_node *node)
{
	node->next = queue->head;
	queue->head = node;
	if (!queue->tail)
		queue->tail = node;
	queue->bytes += node->len;
}

static struct mux_node *queue_take(struct mux_queue *queue)
{
	struct mux_node *node = queue->head;

	if (!node)
		return NULL;
	queue->head = node->next;
	if (!queue->head)
		queue->tail = NULL;
	queue->bytes -= node->len;
	node->next = NULL;
	return node;
}

void mux_queue_clear(struct mux_queue *queue)
{
	struct mux_node *node;

	while ((node = queue_take(queue)))
		free(node);
}

void mux_send_ctl(struct mux *mux, enum mux_type type, uint32_t id, const void *payload,
		  uint32_t len)
{
	struct mux_node *node = mux_node_new(type, id, len);

	if (len)
		memcpy(mux_node_payload(node), payload, len);
	mux_queue_put(&mux->ctl, node);
}

void mux_send_u32(struct mux *mux, enum mux_type type, uint32_t id, uint32_t value)
{
	uint8_t payload[4];

	store_le32(payload, value);
	mux_send_ctl(mux, type, id, payload, sizeof(payload));
}

void mux_fail(struct mux *mux, const char *fmt, ...)
{
	va_list ap;

	if (mux->failed)
		return;
	mux->failed = true;
	va_start(ap, fmt);
	(void)vsnprintf(mux->why, sizeof(mux->why), fmt, ap);
	va_end(ap);
}

static bool node_is_sync(const struct mux_node *node)
{
	return node && (node->raw[4] == MUX_SYNC || node->raw[4] == MUX_SYNC_ACK);
}

static struct mux_node *pick_node(struct mux *mux)
{
	if (mux->held && !node_is_sync(mux->ctl.head))
		return NULL;
	return mux->ctl.head ? queue_take(&mux->ctl) : queue_take(&mux->bulk);
}

void mux_flush(struct mux *mux)
{
	while (!mux->failed) {
		if (!mux->cur)
			mux->cur = pick_node(mux);
		struct mux_node *node = mux->cur;
		if (!node)
			return;
		ssize_t n = write(mux->fd, node->raw + node->off, node->len - node->off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			mux->ended = true;
			mux_fail(mux, "cannot write to the peer: %s", strerror(errno));
			return;
		}
		node->off += (uint32_t)n;
		if (node->off < node->len)
			continue;
		if (node->hold)
			mux->held = true;
		free(node);
		mux->cur = NULL;
	}
}

/* A fresh link: every stream and everything queued belongs to a peer that is gone. */
void mux_reset(struct mux *mux)
{
	mux_stream_drop_all(mux);
	mux_queue_clear(&mux->ctl);
	mux_queue_clear(&mux->bulk);
}

/* --- in -----------------------------------------------------------------------------------------
 */

/* Guest without a link: skips to what looks like a SYNC. Half a frame of an older host may lie in
 * front of it. Returns the bytes to drop. */
static size_t find_sync(const uint8_t *data, size_t len)
{
	static const uint8_t head[MUX_HEAD_SIZE] = {0, 0, 0, 0, MUX_SYNC, 0, MUX_SYNC_SIZE, 0};
	size_t at = 0;

	while (at < len) {
		size_t n = len - at < sizeof(head) ? len - at : sizeof(head);

		if (memcmp(data + at, head, n) == 0)
			break;
		at++;
	}
	return at;
}

static void parse_rx(struct mux *mux)
{
	size_t at = 0, used;

	do {
		if (!mux->host && !mux->synced)
			at += find_sync(mux->rx + at, mux->rx_len - at);
		used = mux_take_frame(mux, mux->rx + at, mux->rx_len - at);
		at += used;
	} while (used > 0);
	mux->rx_len -= at;
	memmove(mux->rx, mux->rx + at, mux->rx_len);
}

static void link_ended(struct mux *mux, const char *why)
{
	/* A guest that never had a host, or has lost it already, has nothing to tell. */
	if (!mux->host && !mux->synced) {
		mux->rx_len = 0;
		return;
	}
	mux->ended = true;
	mux_fail(mux, "%s", why);
}

/* True when there may be more to read. */
static bool link_read(struct mux *mux)
{
	ssize_t n = read(mux->fd, mux->rx + mux->rx_len, sizeof(mux->rx) - mux->rx_len);

	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		link_ended(mux, n == 0 ? "peer closed the link" : strerror(errno));
		return false;
	}
	mux->rx_len += (size_t)n;
	parse_rx(mux);
	return !mux->failed;
}

/* Edge-triggered: a changed interest set reports again what is still there. With bytes left unread
 * a virtio port may never report again by itself (its interrupts are suppressed meanwhile). */
static void read_again(struct mux *mux)
{
	(void)loop_mod(mux->loop, &mux->src, mux->src.events ^ EPOLLRDHUP);
}

void mux_lost(struct mux *mux)
{
	mux_reset(mux);
	if (mux->ended) {
		free(mux->cur);
		mux->cur = NULL;
	}
	mux->synced = false;
	mux->held = true;
	mux->rx_len = 0;
	/* The guest's end lives on and waits for the next SYNC; the host's is finished. */
	if (mux->host) {
		loop_remove(mux->loop, &mux->src);
	} else {
		mux->failed = mux->ended = false;
		read_again(mux);
	}
	mux->ops.lost(mux->data, mux->why);
}

static void on_link(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct mux *mux = src->data;
	bool more = true;

	(void)loop;
	(void)events;
	for (int i = 0; more && mux->ctl.bytes < MUX_CTL_HIGH && i < READS_PER_EVENT; i++)
		more = link_read(mux);
	mux_flush(mux);
	mux_stream_pump(mux);
	if (mux->failed) {
		mux_lost(mux);
		return;
	}
	/* While too much is queued the next edge is the link's room to write. */
	if (more && mux->ctl.bytes < MUX_CTL_HIGH)
		read_again(mux);
}

/* --- the outside -------------------------------------------------------------------------- */

int mux_new(struct loop *loop, int fd, bool host, const struct mux_ops *ops, void *data,
	    struct mux **ret, struct err *err)
{
	auto_free struct mux *mux = xcalloc(1, sizeof(*mux));

	mux->loop = loop;
	mux->fd = fd;
	mux->host = host;
	mux->ops = *ops;
	mux->data = data;
	mux->held = true;
	mux->next_id = host ? 2 : 1;
	if (io_set_nonblock(fd, true) < 0)
		return err_sys(err, "cannot make the channel non-blocking");
	int r = loop_add(loop, &mux->src, fd, link_events, on_link, mux, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(mux);
	return 0;
}

void mux_free(struct mux *mux)
{
	if (!mux)
		return;
	mux_reset(mux);
	/* Off the loop already when it was lost; a link that only failed to write is still on it.
	 */
	loop_remove(mux->loop, &mux->src);
	free(mux->cur);
	free(mux);
}

static int check_host(const struct mux *mux, struct err *err)
{
	if (mux->failed)
		return err_set(err, ERR_GUEST, -EPIPE, "channel to the guest is lost: %s",
			       mux->why);
	return 0;
}

int mux_sync(struct mux *mux, bool keep, struct err *err)
{
	int r = check_host(mux, err);

	if (r < 0)
		return r;
	if (!keep && getrandom(mux->link_id, sizeof(mux->link_id), 0) < 0)
		return err_sys(err, "cannot draw a link id");
	if (!keep)
		mux_reset(mux);
	struct mux_node *node = mux_node_new(MUX_SYNC, 0, MUX_SYNC_SIZE);
	uint8_t *p = mux_node_payload(node);
	p[0] = MUX_VERSION;
	p[1] = keep;
	memcpy(p + 2, mux->link_id, MUX_LINK_ID_SIZE);
	mux->synced = false;
	mux->sync_keep = keep;
	node->hold = true;
	mux_queue_put_front(&mux->ctl, node);
	mux_flush(mux);
	return 0;
}

int mux_quiesce(struct mux *mux, struct err *err)
{
	int r = check_host(mux, err);

	if (r < 0)
		return r;
	struct mux_node *node = mux_node_new(MUX_QUIESCE, 0, 0);
	node->hold = true;
	mux_queue_put(&mux->ctl, node);
	mux_flush(mux);
	return 0;
}

static uint32_t pick_id(struct mux *mux)
{
	while (mux->next_id == 0 || mux_stream_find(mux, mux->next_id))
		mux->next_id += 2;
	uint32_t id = mux->next_id;
	mux->next_id += 2;
	return id;
}

int mux_open(struct mux *mux, uint32_t port, int local,
	     void (*opened)(void *data, int local, int code), void *data, struct err *err)
{
	auto_close int fd = local;
	int r = check_host(mux, err);

	if (r < 0)
		return r;
	if (mux->n_streams >= MUX_STREAMS_MAX)
		return err_set(err, ERR_GUEST, -EMFILE, "channel has %u streams open, the limit",
			       MUX_STREAMS_MAX);
	struct mux_stream *st = mux_stream_new(mux, pick_id(mux), TAKE_FD(fd));
	if (!st)
		return err_set(err, ERR_FAILED, -ENOMEM, "cannot watch a stream's socket");
	st->opened = opened;
	st->opened_data = data;
	mux_send_u32(mux, MUX_OPEN, st->id, port);
	mux_flush(mux);
	return 0;
}
