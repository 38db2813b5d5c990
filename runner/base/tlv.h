/* tlv.h - typed fields inside a frame body: u16 tag, u16 reserved (0), u32 length, bytes.
 *
 * Order matters only among equal tags. Readers bound everything: a field that runs past the body
 * is -EBADMSG. Unknown tags are skipped, so either side may be one release ahead. */
#ifndef FCVM_BASE_TLV_H
#define FCVM_BASE_TLV_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

struct tlv {
	uint16_t tag;
	uint32_t len;
	const uint8_t *value; /* borrowed from the body */
};

void tlv_put(struct buf *out, uint16_t tag, const void *value, size_t len);
void tlv_put_str(struct buf *out, uint16_t tag, const char *s); /* NULL: nothing is put */
void tlv_put_u64(struct buf *out, uint16_t tag, uint64_t v);
/* 1: *ret is the field at *pos and *pos moves on; 0: end; -EBADMSG. Start with *pos = 0. */
int tlv_next(const uint8_t *body, size_t len, size_t *pos, struct tlv *ret, struct err *err);
/* The value as text: rejects embedded NUL and lengths over max; caller frees. */
int tlv_str(const struct tlv *t, size_t max, char **ret, struct err *err);
int tlv_u64(const struct tlv *t, uint64_t *ret, struct err *err);

#endif
