/* fp_decode.h - one table of what the kernel may ask, and the only place where a FUSE message is
 * taken apart. Everything in a request is bounded and checked when it comes out of here: lengths,
 * names, groups. Node ids and file handles are numbers still; their tables check them. */
#ifndef FCVM_FUSE_PIPE_FP_DECODE_H
#define FCVM_FUSE_PIPE_FP_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fp_abi.h"
#include "fp_wire.h"

enum fp_string {
	FP_S_NONE = 0,
	FP_S_NAME,  /* one component: 1..255 bytes, no '/', not "." or ".." */
	FP_S_TEXT,  /* 1..4095 bytes */
	FP_S_XATTR, /* 1..255 bytes */
};

/* With whose rights an operation runs (fp_creds.h). */
enum fp_rights {
	FP_R_NONE,   /* the server's: names no file, or the right came with the handle */
	FP_R_PATH,   /* trust full: the server's, the guest has checked; squash: the caller's */
	FP_R_CALLER, /* the caller's: who owns what is made, who may change it */
};

enum {
	FP_OP_NO_NODE = 1,  /* node id 0 */
	FP_OP_NO_REPLY = 2, /* the kernel waits for none */
	FP_OP_WRITES = 4,   /* refused on a read-only volume */
	FP_OP_ONCE = 8,     /* must not be executed twice: goes through the reply log */
	FP_OP_BLOCKS = 16,  /* runs on a worker */
};

struct fp_op {
	const char *name;
	uint16_t arg_size;
	uint8_t strings[2]; /* enum fp_string */
	uint8_t rights;     /* enum fp_rights */
	uint8_t flags;
};

struct fp_request {
	struct fuse_in_header head;
	const struct fp_op *op;
	const void *arg;     /* at least op->arg_size bytes, aligned to 8 */
	const char *name[2]; /* NUL-terminated */
	const uint8_t *data; /* what follows */
	size_t data_len;
	const uint8_t *groups; /* u32 each, not aligned; NULL when not sent */
	size_t n_groups;
	bool resent;
};

#define FP_OPCODES 52

/* NULL when there is no such operation here. */
const struct fp_op *fp_op_find(uint32_t opcode);
/* Of a frame of fp_frame_get(), at an address that is a multiple of 8. 0, or the negative errno to
 * answer with; *ret's head, and its op if there is one, are filled in any case. */
int fp_decode(const struct fp_frame *frame, struct fp_request *ret);

#endif
