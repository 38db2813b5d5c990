#include "fp_wire.h"

#include <errno.h>
#include <string.h>

#include "frame.h"

#define MAGIC 0x50466366u /* "fcFP" */
#define OPCODE_AT 4       /* in struct fuse_in_header */

void fp_hello_put(const struct fp_hello *hello, uint8_t ret[FP_HELLO_SIZE])
{
	memset(ret, 0, FP_HELLO_SIZE);
	store_le32(ret, MAGIC);
	store_le16(ret + 4, hello->version);
	store_le16(ret + 6, hello->flags);
	memcpy(ret + 8, hello->session, FP_SESSION_SIZE);
	store_le16(ret + 24, hello->stream);
	store_le16(ret + 26, hello->n_streams);
	store_le32(ret + 28, (uint32_t)hello->status);
	store_le64(ret + 32, hello->epoch);
}

int fp_hello_get(const uint8_t data[FP_HELLO_SIZE], struct fp_hello *ret, struct err *err)
{
	struct fp_hello h = {
		.version = load_le16(data + 4),
		.flags = load_le16(data + 6),
		.stream = load_le16(data + 24),
		.n_streams = load_le16(data + 26),
		.status = (int32_t)load_le32(data + 28),
		.epoch = load_le64(data + 32),
	};

	if (load_le32(data) != MAGIC)
		return err_set(err, ERR_GUEST, -EPROTO, "not a fuse-pipe peer");
	memcpy(h.session, data + 8, FP_SESSION_SIZE);
	*ret = h;
	if (h.version != FP_VERSION)
		return err_set(err, ERR_GUEST, -EPROTONOSUPPORT,
			       "peer speaks fuse-pipe version %u, this is %d", h.version,
			       FP_VERSION);
	if (h.n_streams == 0 || h.n_streams > FP_STREAMS_MAX || h.stream >= h.n_streams)
		return err_set(err, ERR_GUEST, -EPROTO, "stream %u of %u, limit %d", h.stream,
			       h.n_streams, FP_STREAMS_MAX);
	return 0;
}

void fp_head_put(uint8_t head[FP_HEAD_SIZE], uint16_t flags, uint16_t n, size_t msg_len,
		 size_t trailer_len)
{
	store_le32(head, (uint32_t)(fp_pad(msg_len) + trailer_len));
	store_le16(head + 4, flags);
	store_le16(head + 6, n);
}

/* What an item of each type must measure. */
static bool item_fits(const struct fp_item *item)
{
	switch (item->type) {
	case FP_T_GROUPS:
		return item->len % 4 == 0 && item->len <= 4 * FP_GROUPS_MAX;
	case FP_T_RULES:
		return item->len % sizeof(struct fp_group_rule) == 0 &&
		       item->len <= FP_GROUP_RULES_MAX * sizeof(struct fp_group_rule);
	case FP_T_KEEP:
		return item->len > FP_KEY_SIZE && item->len <= FP_KEY_SIZE + FP_RECORD_MAX;
	case FP_T_DROP:
		return item->len == FP_KEY_SIZE;
	default:
		return false;
	}
}

bool fp_item_next(const struct fp_frame *f, size_t *pos, struct fp_item *ret)
{
	const uint8_t *p = f->trailer + *pos;
	size_t left = f->trailer_len - *pos;

	if (left < FP_ITEM_SIZE)
		return false;
	struct fp_item item = {
		.type = load_le16(p), .len = load_le32(p + 4), .data = p + FP_ITEM_SIZE};
	if (item.len > left - FP_ITEM_SIZE || !item_fits(&item))
		return false;
	*ret = item;
	*pos += FP_ITEM_SIZE + fp_pad(item.len);
	return true;
}

static int check_items(const struct fp_frame *f, struct err *err)
{
	struct fp_item item;
	size_t pos = 0, n = 0;

	while (fp_item_next(f, &pos, &item))
		n++;
	if (pos != f->trailer_len || n != f->n)
		return err_set(err, ERR_GUEST, -EPROTO,
			       "fuse-pipe trailer of %u bytes: item %zu of %u is malformed",
			       f->trailer_len, n, f->n);
	return 0;
}

/* The message says its own length; what is left is the trailer. */
static int split_body(const uint8_t *body, uint32_t len, struct fp_frame *f, struct err *err)
{
	if (!(f->flags & FP_F_BARE)) {
		f->msg_len = len >= FP_MSG_MIN ? load_le32(body) : 0;
		if (f->msg_len < FP_MSG_MIN || f->msg_len > FP_MSG_MAX || fp_pad(f->msg_len) > len)
			return err_set(err, ERR_GUEST, -EPROTO,
				       "FUSE message of %u bytes in a frame of %u", f->msg_len,
				       len);
		f->msg = body;
	}
	f->trailer = body + fp_pad(f->msg_len);
	f->trailer_len = len - (uint32_t)fp_pad(f->msg_len);
	if (f->trailer_len > FP_TRAILER_MAX || f->n > FP_ITEMS_MAX)
		return err_set(err, ERR_GUEST, -EMSGSIZE,
			       "fuse-pipe trailer of %u bytes in %u items, limit %u in %d",
			       f->trailer_len, f->n, FP_TRAILER_MAX, FP_ITEMS_MAX);
	return check_items(f, err);
}

int fp_frame_get(const uint8_t *data, size_t len, struct fp_frame *ret, size_t *ret_used,
		 struct err *err)
{
	if (len < FP_HEAD_SIZE)
		return 0;
	uint32_t body = load_le32(data);
	if (body > FP_BODY_MAX || body % 8 != 0)
		return err_set(err, ERR_GUEST, -EMSGSIZE, "fuse-pipe frame of %u bytes, limit %u",
			       body, FP_BODY_MAX);
	if (len - FP_HEAD_SIZE < body)
		return 0;
	struct fp_frame f = {.flags = load_le16(data + 4), .n = load_le16(data + 6)};
	int r = split_body(data + FP_HEAD_SIZE, body, &f, err);
	if (r < 0)
		return r;
	*ret = f;
	*ret_used = FP_HEAD_SIZE + body;
	return 1;
}

static uint8_t *grow_item(struct buf *out, uint16_t type, size_t len)
{
	uint8_t *p = buf_grow(out, FP_ITEM_SIZE + fp_pad(len));

	if (!p)
		return NULL;
	memset(p, 0, FP_ITEM_SIZE + fp_pad(len));
	store_le16(p, type);
	store_le32(p + 4, (uint32_t)len);
	return p + FP_ITEM_SIZE;
}

void fp_item_put(struct buf *out, uint16_t type, const void *data, size_t len)
{
	uint8_t *p = grow_item(out, type, len);

	if (p && len)
		memcpy(p, data, len);
}

void fp_item_put_keep(struct buf *out, const uint8_t key[FP_KEY_SIZE], const void *value,
		      size_t len)
{
	uint8_t *p = grow_item(out, FP_T_KEEP, FP_KEY_SIZE + len);

	if (!p)
		return;
	memcpy(p, key, FP_KEY_SIZE);
	memcpy(p + FP_KEY_SIZE, value, len);
}

bool fp_wants_groups(const struct fp_group_rule *rules, size_t n, const uint8_t *msg,
		     size_t msg_len)
{
	if (msg_len < OPCODE_AT + 4)
		return false;
	uint32_t opcode = load_le32(msg + OPCODE_AT);
	for (size_t i = 0; i < n; i++) {
		const struct fp_group_rule *r = &rules[i];

		if (r->opcode != opcode)
			continue;
		if (r->mask == 0)
			return true;
		if (msg_len >= 4 && r->offset <= msg_len - 4 &&
		    (load_le32(msg + r->offset) & r->mask))
			return true;
	}
	return false;
}
