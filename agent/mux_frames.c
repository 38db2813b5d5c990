/* mux_frames.c - what each frame of the peer does: one table, one handler a type. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "frame.h"
#include "mux_link.h"

struct mux_frame {
	uint32_t id;
	uint8_t type;
	uint16_t len;
	const uint8_t *payload;
};

static void answer_sync(struct mux *mux)
{
	struct mux_node *node = mux_node_new(MUX_SYNC_ACK, 0, MUX_SYNC_ACK_SIZE);
	uint8_t *p = mux_node_payload(node);

	p[0] = MUX_VERSION;
	memcpy(p + 1, mux->link_id, MUX_LINK_ID_SIZE);
	mux_queue_put_front(&mux->ctl, node);
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
		mux_reset(mux);
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
	[MUX_SYNC] = {"SYNC", MUX_SYNC_SIZE, MUX_SYNC_SIZE, BY_HOST, on_sync},
	[MUX_SYNC_ACK] = {"SYNC_ACK", MUX_SYNC_ACK_SIZE, MUX_SYNC_ACK_SIZE, BY_GUEST, on_sync_ack},
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

size_t mux_take_frame(struct mux *mux, const uint8_t *data, size_t len)
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
