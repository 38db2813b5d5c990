#include "tlv.h"

#include "frame.h"
#include "xalloc.h"

#include <errno.h>
#include <string.h>

#define TLV_HEAD_SIZE 8

void tlv_put(struct buf *out, uint16_t tag, const void *value, size_t len)
{
	uint8_t *p = len > UINT32_MAX ? NULL : buf_grow(out, TLV_HEAD_SIZE + len);

	if (!p) {
		out->overflow = true;
		return;
	}
	store_le16(p, tag);
	store_le16(p + 2, 0);
	store_le32(p + 4, (uint32_t)len);
	if (len)
		memcpy(p + TLV_HEAD_SIZE, value, len);
}

void tlv_put_str(struct buf *out, uint16_t tag, const char *s)
{
	if (s)
		tlv_put(out, tag, s, strlen(s));
}

void tlv_put_u64(struct buf *out, uint16_t tag, uint64_t v)
{
	uint8_t bytes[8];

	store_le64(bytes, v);
	tlv_put(out, tag, bytes, sizeof(bytes));
}

int tlv_next(const uint8_t *body, size_t len, size_t *pos, struct tlv *ret, struct err *err)
{
	if (*pos >= len)
		return 0;
	size_t left = len - *pos;
	if (left < TLV_HEAD_SIZE)
		return err_set(err, ERR_GUEST, -EBADMSG, "field head cut after %zu bytes", left);
	const uint8_t *p = body + *pos;
	uint16_t tag = load_le16(p);
	uint32_t size = load_le32(p + 4);
	if (load_le16(p + 2))
		return err_set(err, ERR_GUEST, -EBADMSG, "field %u has reserved bits set", tag);
	if (size > left - TLV_HEAD_SIZE)
		return err_set(err, ERR_GUEST, -EBADMSG,
			       "field %u of %u bytes runs past the message by %zu", tag, size,
			       size - (left - TLV_HEAD_SIZE));
	*ret = (struct tlv){.tag = tag, .len = size, .value = p + TLV_HEAD_SIZE};
	*pos += TLV_HEAD_SIZE + size;
	return 1;
}

int tlv_str(const struct tlv *t, size_t max, char **ret, struct err *err)
{
	if (t->len > max)
		return err_set(err, ERR_GUEST, -EBADMSG, "field %u of %u bytes, limit %zu", t->tag,
			       t->len, max);
	if (t->len && memchr(t->value, '\0', t->len))
		return err_set(err, ERR_GUEST, -EBADMSG, "field %u has a zero byte in its text",
			       t->tag);
	char *text = xmalloc((size_t)t->len + 1);
	if (t->len)
		memcpy(text, t->value, t->len);
	text[t->len] = '\0';
	*ret = text;
	return 0;
}

int tlv_u64(const struct tlv *t, uint64_t *ret, struct err *err)
{
	if (t->len != 8)
		return err_set(err, ERR_GUEST, -EBADMSG, "field %u of %u bytes, wanted 8", t->tag,
			       t->len);
	*ret = load_le64(t->value);
	return 0;
}
