/* mux.c - the link: frames in and out, SYNC and QUIESCE. Streams are in mux_stream.c.
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

#define SYNC_SIZE (2u + MUX_LINK_ID_SIZE)
#define SYNC_ACK_SIZE (1u + MUX_LINK_ID_SIZE)
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

static void queue_put_front(struct mux_queue *queue, struct mux_node *node)
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
static void link_reset(struct mux *mux)
{
	mux_stream_drop_all(mux);
	mux_queue_clear(&mux->ctl);
	mux_queue_clear(&mux->bulk);
}

/* --- frames in ---------------------------------------------------------------------------- */

struct mux_frame {
	uint32_t id;
	uint8_t type;
	uint16_t len;
	const uint8_t *payload;
};

static void answer_sync(struct mux *mux)
{
	struct mux_node *node = mux_node_new(MUX_SYNC_ACK, 0, SYNC_ACK_SIZE);
	uint8_t *p = mux_node_payload(node);

	p[0] = MUX_VERSION;
	memcpy(p + 1, mux->link_id, MUX_LINK_ID_SIZE);
	queue_put_front(&mux->ctl, node);
}

static void on_sync(struct mux *mux, const struct mux_frame *f)
{
	bool keep = f->payload[1];
	bool same = memcmp(mux->link_id, f->payload + 2, MUX_LINK_ID_SIZE) == 0;

	if (f->payload[0] != MUX_VERSION) {
		answer_sync(mux);
		mux_flush(mux);
		mux_fail(mux, "peer speaks mux version %d, this is version %d", f->payload[0],
			 MUX_VERSION);
		return;
	}
	if (keep && !same) {
		mux_fail(mux, "peer wants to keep the streams of another link");
		return;
	}
	if (!keep)
		link_reset(mux);
	memcpy(mux->link_id, f->payload + 2, MUX_LINK_ID_SIZE);
	mux->synced = true;
	mux->held = false;
	answer_sync(mux);
	mux->ops.synced(mux->data, !keep);
}

static void on_sync_ack(struct mux *mux, const struct mux_frame *f)
{
	if (f->payload[0] != MUX_VERSION) {
		mux_fail(mux, "guest speaks mux version %d, this is version %d", f->payload[0],
			 MUX_VERSION);
		return;
	}
	/* An answer to an older SYNC: ours is still under way. */
	if (memcmp(mux->link_id, f->payload + 1, MUX_LINK_ID_SIZE) != 0)
		return;
	mux->held = false;
	if (mux->synced)
		return;
	mux->synced = true;
	mux->ops.synced(mux->data, !mux->sync_keep);
}

static void refuse(struct mux *mux, uint32_t id, int code)
{
	uint8_t payload[2];

	store_le16(payload, (uint16_t)-code);
	mux_send_ctl(mux, MUX_REFUSED, id, payload, sizeof(payload));
}

static void on_open(struct mux *mux, const struct mux_frame *f)
{
	bool from_host = f->id % 2 == 0;
	int fd = -1;

	if (f->id == 0 || from_host == mux->host || mux_stream_find(mux, f->id)) {
		mux_fail(mux, "OPEN of stream %u, which is not the peer's to open", f->id);
		return;
	}
	if (mux->n_streams >= MUX_STREAMS_MAX) {
		refuse(mux, f->id, -EMFILE);
		return;
	}
	int r = mux->ops.accept(mux->data, load_le32(f->payload), &fd);
	if (r < 0) {
		refuse(mux, f->id, r);
		return;
	}
	struct mux_stream *st = mux_stream_new(mux, f->id, fd);
	if (!st) {
		refuse(mux, f->id, -ENOMEM);
		return;
	}
	mux_send_ctl(mux, MUX_OPENED, f->id, NULL, 0);
	mux_stream_opened(st);
}

static void on_opened(struct mux *mux, const struct mux_frame *f)
{
	struct mux_stream *st = mux_stream_find(mux, f->id);

	if (st && st->open)
		mux_fail(mux, "OPENED of stream %u, which is open already", f->id);
	else if (st)
		mux_stream_opened(st);
}

static void on_refused(struct mux *mux, const struct mux_frame *f)
{
	struct mux_stream *st = mux_stream_find(mux, f->id);
	int code = load_le16(f->payload);

	if (st && st->open)
		mux_fail(mux, "REFUSED of stream %u, which is open already", f->id);
	else if (st)
		mux_stream_drop(st, code ? -code : -EPROTO);
}

static void on_data(struct mux *mux, const struct mux_frame *f)
{
	struct mux_stream *st = mux_stream_find(mux, f->id);

	if (st && (!st->open || st->fin_got))
		mux_fail(mux, "DATA on stream %u, which is not open", f->id);
	else if (st)
		mux_stream_data(st, f->payload, f->len);
}

static void on_window(struct mux *mux, const struct mux_frame *f)
{
	struct mux_stream *st = mux_stream_find(mux, f->id);

	if (st)
		mux_stream_window(st, load_le32(f->payload));
}

static void on_fin(struct mux *mux, const struct mux_frame *f)
{
	struct mux_stream *st = mux_stream_find(mux, f->id);

	if (st && (!st->open || st->fin_got))
		mux_fail(mux, "FIN on stream %u, which is not open", f->id);
	else if (st)
		mux_stream_fin(st);
}

static void on_reset(struct mux *mux, const struct mux_frame *f)
{
	struct mux_stream *st = mux_stream_find(mux, f->id);

	if (st)
		mux_stream_reset(st);
}

static void on_quiesce(struct mux *mux, const struct mux_frame *f)
{
	struct mux_node *node = mux_node_new(MUX_QUIESCED, 0, 0);

	(void)f;
	node->hold = true;
	mux_queue_put(&mux->ctl, node);
}

static void on_quiesced(struct mux *mux, const struct mux_frame *f)
{
	(void)f;
	mux->ops.quiesced(mux->data);
}

enum { BY_HOST = 1, BY_GUEST = 2, BY_BOTH = 3 };

static const struct {
	const char *name;
	uint16_t min, max;
	uint8_t sender;
	void (*handle)(struct mux *mux, const struct mux_frame *f);
} frame_table[] = {
	[MUX_SYNC] = {"SYNC", SYNC_SIZE, SYNC_SIZE, BY_HOST, on_sync},
	[MUX_SYNC_ACK] = {"SYNC_ACK", SYNC_ACK_SIZE, SYNC_ACK_SIZE, BY_GUEST, on_sync_ack},
	[MUX_OPEN] = {"OPEN", 4, 4, BY_BOTH, on_open},
	[MUX_OPENED] = {"OPENED", 0, 0, BY_BOTH, on_opened},
	[MUX_REFUSED] = {"REFUSED", 2, 2, BY_BOTH, on_refused},
	[MUX_DATA] = {"DATA", 1, MUX_PAYLOAD_MAX, BY_BOTH, on_data},
	[MUX_WINDOW_ADD] = {"WINDOW", 4, 4, BY_BOTH, on_window},
	[MUX_FIN] = {"FIN", 0, 0, BY_BOTH, on_fin},
	[MUX_RESET] = {"RESET", 0, 0, BY_BOTH, on_reset},
	[MUX_QUIESCE] = {"QUIESCE", 0, 0, BY_HOST, on_quiesce},
	[MUX_QUIESCED] = {"QUIESCED", 0, 0, BY_GUEST, on_quiesced},
};

static bool frame_check(struct mux *mux, const struct mux_frame *f, uint8_t zero)
{
	if (f->type == 0 || f->type >= ARRAY_SIZE(frame_table) || zero != 0)
		mux_fail(mux, "frame of unknown type %u", f->type);
	else if (!(frame_table[f->type].sender & (mux->host ? BY_GUEST : BY_HOST)))
		mux_fail(mux, "%s frame from the wrong side", frame_table[f->type].name);
	else if (f->len < frame_table[f->type].min || f->len > frame_table[f->type].max)
		mux_fail(mux, "%s frame with %u bytes", frame_table[f->type].name, f->len);
	return !mux->failed;
}

/* What the guest sent before it saw our SYNC belongs to nobody. */
static bool frame_is_stale(const struct mux *mux, const struct mux_frame *f)
{
	return mux->host && !mux->synced && !mux->sync_keep && f->type != MUX_SYNC_ACK;
}

/* One frame off the front of data: its size, or 0 when it is not whole or the link failed. */
static size_t take_frame(struct mux *mux, const uint8_t *data, size_t len)
{
	if (len < MUX_HEAD_SIZE)
		return 0;
	struct mux_frame f = {
		.id = load_le32(data),
		.type = data[4],
		.len = load_le16(data + 6),
		.payload = data + MUX_HEAD_SIZE,
	};
	if (!frame_check(mux, &f, data[5]) || len - MUX_HEAD_SIZE < f.len)
		return 0;
	if (!frame_is_stale(mux, &f))
		frame_table[f.type].handle(mux, &f);
	return mux->failed ? 0 : MUX_HEAD_SIZE + (size_t)f.len;
}

/* Guest without a link: skips to what looks like a SYNC. Half a frame of an older host may lie in
 * front of it. Returns the bytes to drop. */
static size_t find_sync(const uint8_t *data, size_t len)
{
	static const uint8_t head[MUX_HEAD_SIZE] = {0, 0, 0, 0, MUX_SYNC, 0, SYNC_SIZE, 0};
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
		used = take_frame(mux, mux->rx + at, mux->rx_len - at);
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

void mux_lost(struct mux *mux)
{
	link_reset(mux);
	if (mux->ended) {
		free(mux->cur);
		mux->cur = NULL;
	}
	mux->synced = false;
	mux->held = true;
	mux->rx_len = 0;
	/* The guest's end lives on and waits for the next SYNC; the host's is finished. */
	if (mux->host)
		loop_remove(mux->loop, &mux->src);
	else
		mux->failed = mux->ended = false;
	mux->ops.lost(mux->data, mux->why);
}

static void on_link(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct mux *mux = src->data;
	bool more = true;

	(void)events;
	for (int i = 0; more && mux->ctl.bytes < MUX_CTL_HIGH && i < READS_PER_EVENT; i++)
		more = link_read(mux);
	mux_flush(mux);
	mux_stream_pump(mux);
	if (mux->failed) {
		mux_lost(mux);
		return;
	}
	/* Edge-triggered: a changed interest set reports again what is still there. While too much
	 * is queued the next edge is the link's room to write. */
	if (more && mux->ctl.bytes < MUX_CTL_HIGH)
		(void)loop_mod(loop, &mux->src, mux->src.events ^ EPOLLRDHUP);
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
	link_reset(mux);
	if (!(mux->host && mux->failed))
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
		link_reset(mux);
	struct mux_node *node = mux_node_new(MUX_SYNC, 0, SYNC_SIZE);
	uint8_t *p = mux_node_payload(node);
	p[0] = MUX_VERSION;
	p[1] = keep;
	memcpy(p + 2, mux->link_id, MUX_LINK_ID_SIZE);
	mux->synced = false;
	mux->sync_keep = keep;
	node->hold = true;
	queue_put_front(&mux->ctl, node);
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
