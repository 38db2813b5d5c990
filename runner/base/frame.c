#include "frame.h"

#include "io.h"

#include <errno.h>
#include <string.h>

void store_le16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

void store_le32(uint8_t *p, uint32_t v)
{
	store_le16(p, (uint16_t)v);
	store_le16(p + 2, (uint16_t)(v >> 16));
}

void store_le64(uint8_t *p, uint64_t v)
{
	store_le32(p, (uint32_t)v);
	store_le32(p + 4, (uint32_t)(v >> 32));
}

static void put_head(uint8_t *head, uint16_t type, uint16_t flags, size_t len)
{
	store_le32(head, (uint32_t)len);
	store_le16(head + 4, type);
	store_le16(head + 6, flags);
}

void frame_put(struct buf *out, uint16_t type, uint16_t flags, const void *body, size_t len)
{
	/* All or nothing: half a frame would make the rest of the stream unreadable. */
	uint8_t *p = len > UINT32_MAX ? NULL : buf_grow(out, FRAME_HEAD_SIZE + len);

	if (!p) {
		out->overflow = true;
		return;
	}
	put_head(p, type, flags, len);
	if (len)
		memcpy(p + FRAME_HEAD_SIZE, body, len);
}

static int parse_head(const uint8_t *head, uint32_t max, struct frame *ret, struct err *err)
{
	uint32_t len = load_le32(head);

	if (len > max)
		return err_set(err, ERR_GUEST, -EMSGSIZE, "frame of %u bytes, limit %u", len, max);
	*ret = (struct frame){
		.type = load_le16(head + 4), .flags = load_le16(head + 6), .len = len};
	return 0;
}

int frame_get(const uint8_t *data, size_t len, uint32_t max, struct frame *ret, size_t *ret_used,
	      struct err *err)
{
	struct frame f = {0};

	if (len < FRAME_HEAD_SIZE)
		return 0;
	int r = parse_head(data, max, &f, err);
	if (r < 0)
		return r;
	if (len - FRAME_HEAD_SIZE < f.len)
		return 0;
	f.body = data + FRAME_HEAD_SIZE;
	*ret = f;
	*ret_used = FRAME_HEAD_SIZE + f.len;
	return 1;
}

int frame_read(int fd, uint32_t max, struct frame *ret, struct buf *body, uint64_t deadline_ms,
	       struct err *err)
{
	uint8_t head[FRAME_HEAD_SIZE];
	struct frame f = {0};
	int r = io_read_full(fd, head, sizeof(head), deadline_ms, err);

	if (r < 0)
		return r;
	r = parse_head(head, max, &f, err);
	if (r < 0)
		return r;
	buf_reset(body);
	uint8_t *p = buf_grow(body, f.len);
	if (!p)
		return err_set(err, ERR_GUEST, -EMSGSIZE, "frame of %u bytes, limit %zu", f.len,
			       body->max);
	r = io_read_full(fd, p, f.len, deadline_ms, err);
	/* An end here is in the middle of a frame, not between two. */
	if (r == -EPIPE)
		return err_set(err, ERR_FAILED, -ECONNRESET,
			       "the peer ended before a frame of %u bytes", f.len);
	if (r < 0)
		return r;
	f.body = p;
	*ret = f;
	return 0;
}

int frame_write(int fd, uint16_t type, uint16_t flags, const void *data, size_t len,
		uint64_t deadline_ms, struct err *err)
{
	auto_buf struct buf out = BUF_INIT(FRAME_HEAD_SIZE + FRAME_BODY_MAX);

	frame_put(&out, type, flags, data, len);
	if (!buf_ok(&out))
		return err_set(err, ERR_FAILED, -EMSGSIZE, "frame of %zu bytes, limit %u", len,
			       FRAME_BODY_MAX);
	return io_write_full(fd, out.data, out.len, deadline_ms, err);
}
