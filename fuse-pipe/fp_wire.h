/* fp_wire.h - what guest and host say to each other about one mounted directory: a hello of fixed
 * size on every stream, then frames that carry the kernel's own FUSE messages. docs/fuse-pipe.md
 * has the order of things. Libc only: the guest's agent links this file, too.
 *
 * A frame is an 8-byte head {u32 length of what follows, u16 flags, u16 n}, one FUSE message padded
 * to 8 bytes (none in a bare frame), and a trailer of n items {u16 type, u16 0, u32 length, bytes,
 * padding to 8}. Little-endian. Everything is a multiple of 8, so a message that is parsed in
 * place at an aligned start is aligned. */
#ifndef FCVM_FUSE_PIPE_FP_WIRE_H
#define FCVM_FUSE_PIPE_FP_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

#define FP_VERSION 1
#define FP_HELLO_SIZE 64
#define FP_SESSION_SIZE 16
#define FP_STREAMS_MAX 16

#define FP_HEAD_SIZE 8
#define FP_ITEM_SIZE 8
#define FP_MAX_WRITE (1u << 20)           /* data of one READ or WRITE */
#define FP_MSG_MAX (FP_MAX_WRITE + 4096u) /* one FUSE message */
#define FP_TRAILER_MAX (64u << 10)        /* all items of one frame */
#define FP_BODY_MAX (FP_MSG_MAX + FP_TRAILER_MAX)
#define FP_FRAME_MAX (FP_HEAD_SIZE + FP_BODY_MAX)
#define FP_ITEMS_MAX 512
#define FP_MSG_MIN 16 /* sizeof(struct fuse_out_header) */

#define FP_GROUPS_MAX 4096
#define FP_GROUP_RULES_MAX 16
#define FP_KEY_SIZE 16
#define FP_RECORD_MAX 448         /* value of one record */
#define FP_RECORDS_MAX (1u << 20) /* a guest keeps no more */

/* Flags of a frame. */
enum {
	FP_F_RESENT = 1, /* guest: a request that may have been executed before */
	FP_F_BARE = 2,   /* no FUSE message, only items */
	FP_F_READY = 4,  /* host, bare: requests may be sent on this stream */
	FP_F_END = 8,    /* guest, bare: these were the last of the records */
};

/* Items of a trailer. */
enum {
	FP_T_GROUPS = 1, /* guest: u32 gids, the caller's supplementary groups */
	FP_T_RULES = 2,  /* host: struct fp_group_rule[], replaces the rules before it */
	FP_T_KEEP = 3,   /* key, value: host asks to keep it; guest hands it back in bare frames */
	FP_T_DROP = 4,   /* key: host asks to forget it */
};

/* Which requests carry groups: those of this opcode whose u32 at `offset` has a bit of `mask`
 * (mask 0: all of them). Keeps FUSE's meaning out of the guest. On the wire as here. */
struct fp_group_rule {
	uint16_t opcode;
	uint16_t offset; /* from the start of the FUSE message */
	uint32_t mask;
};

/* Flags of a hello. */
enum {
	FP_H_RECORDS = 1, /* guest: keeps records; host: wants them kept */
	FP_H_FRESH = 2,   /* host: does not know the session; stream 0 sends its records and END */
};

struct fp_hello {
	uint16_t version;
	uint16_t flags;
	uint8_t session[FP_SESSION_SIZE]; /* the guest's, of a mount; the same on all its streams */
	uint16_t stream;                  /* 0..n_streams-1; 0 comes first */
	uint16_t n_streams;
	int32_t status; /* host: 0, or a negative errno and the end of the stream */
	uint64_t epoch; /* host: differs when another process answers */
};

struct fp_frame {
	uint16_t flags;
	uint16_t n;         /* items */
	const uint8_t *msg; /* borrowed; NULL in a bare frame */
	uint32_t msg_len;
	const uint8_t *trailer;
	uint32_t trailer_len;
};

struct fp_item {
	uint16_t type;
	uint32_t len;
	const uint8_t *data; /* borrowed */
};

static inline size_t fp_pad(size_t len)
{
	return (len + 7) & ~(size_t)7;
}

void fp_hello_put(const struct fp_hello *hello, uint8_t ret[FP_HELLO_SIZE]);
/* -EPROTO when it is none, -EPROTONOSUPPORT for another version (*ret is filled then). */
int fp_hello_get(const uint8_t data[FP_HELLO_SIZE], struct fp_hello *ret, struct err *err);

/* Fills a head in front of a message and trailer that are there already (or follow). msg_len is
 * not padded, the trailer's length is a multiple of 8. */
void fp_head_put(uint8_t head[FP_HEAD_SIZE], uint16_t flags, uint16_t n, size_t msg_len,
		 size_t trailer_len);
/* Looks at the front of data: 1 with *ret (pointing into data) and *ret_used when a whole frame is
 * there and its items are well formed; 0 when more bytes are needed; -EMSGSIZE or -EPROTO when the
 * peer is wrong. Outputs are untouched but for 1. */
int fp_frame_get(const uint8_t *data, size_t len, struct fp_frame *ret, size_t *ret_used,
		 struct err *err);
/* Of a frame that fp_frame_get() gave: start with *pos = 0; false at the end. */
bool fp_item_next(const struct fp_frame *f, size_t *pos, struct fp_item *ret);
/* Appends one item; padding is zero. Count it in n. */
void fp_item_put(struct buf *out, uint16_t type, const void *data, size_t len);
/* The same for a key and a value (FP_T_KEEP). */
void fp_item_put_keep(struct buf *out, const uint8_t key[FP_KEY_SIZE], const void *value,
		      size_t len);
/* True when the request asks for groups. msg is at least msg_len bytes and begins with a FUSE
 * header. */
bool fp_wants_groups(const struct fp_group_rule *rules, size_t n, const uint8_t *msg,
		     size_t msg_len);

#endif
