/* frame.h - length-prefixed messages on a stream: u32 little-endian body length, u16 type,
 * u16 flags, then the body. Used by the agent's services and by ctl.sock; limits are the
 * reader's. */
#ifndef FCVM_BASE_FRAME_H
#define FCVM_BASE_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

#define FRAME_HEAD_SIZE 8
#define FRAME_BODY_MAX (1u << 20)

struct frame {
	uint16_t type;
	uint16_t flags;
	uint32_t len;
	const uint8_t *body; /* borrowed */
};

static inline uint32_t load_le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint16_t load_le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint64_t load_le64(const uint8_t *p)
{
	return (uint64_t)load_le32(p) | (uint64_t)load_le32(p + 4) << 32;
}
void store_le16(uint8_t *p, uint16_t v);
void store_le32(uint8_t *p, uint32_t v);
void store_le64(uint8_t *p, uint64_t v);

/* Appends head and body to out. */
void frame_put(struct buf *out, uint16_t type, uint16_t flags, const void *body, size_t len);
/* Looks at the front of data: 1 and *ret filled (body points into data) and *ret_used set when a
 * whole frame is there; 0 when more bytes are needed; -EMSGSIZE when the length is over max. */
int frame_get(const uint8_t *data, size_t len, uint32_t max, struct frame *ret, size_t *ret_used,
	      struct err *err);
/* Blocking with deadline: reads one frame, body into `body` (reset first). */
int frame_read(int fd, uint32_t max, struct frame *ret, struct buf *body, uint64_t deadline_ms,
	       struct err *err);
int frame_write(int fd, uint16_t type, uint16_t flags, const void *data, size_t len,
		uint64_t deadline_ms, struct err *err);

#endif
