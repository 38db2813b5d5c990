#include "fp_run.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "fp_ops.h"
#include "xalloc.h"

#define INLINE_IO_MAX (64u << 10)

struct job {
	struct fp_job job;
	struct fp_stream *st;
	size_t len;
	_Alignas(8) uint8_t frame[];
};

struct ticket {
	struct fp_stream *st;
	uint64_t unique;
};

/* The frame of a reply, around the out_len bytes that lie behind both heads. Returns its length. */
static size_t frame_reply(uint8_t *at, uint64_t unique, int result, size_t out_len,
			  const struct buf *items, uint16_t n_items)
{
	const size_t msg_len = sizeof(struct fuse_out_header) + (result < 0 ? 0 : out_len);
	const struct fuse_out_header head = {
		.len = (uint32_t)msg_len, .error = result, .unique = unique};
	uint8_t *msg = at + FP_HEAD_SIZE;

	memcpy(msg, &head, sizeof(head));
	memset(msg + msg_len, 0, fp_pad(msg_len) - msg_len);
	if (n_items)
		memcpy(msg + fp_pad(msg_len), items->data, items->len);
	fp_head_put(at, 0, n_items, msg_len, n_items ? items->len : 0);
	return FP_HEAD_SIZE + fp_pad(msg_len) + (n_items ? items->len : 0);
}

static size_t frame_items(uint8_t *at, const struct buf *items, uint16_t n_items)
{
	if (n_items == 0)
		return 0;
	memcpy(at + FP_HEAD_SIZE, items->data, items->len);
	fp_head_put(at, FP_F_BARE, n_items, 0, items->len);
	return FP_HEAD_SIZE + items->len;
}

static struct ticket *new_ticket(struct fp_stream *st, uint64_t unique)
{
	struct ticket *t = xmalloc(sizeof(*t));

	fp_stream_ref(st);
	*t = (struct ticket){.st = st, .unique = unique};
	return t;
}

static void free_ticket(struct ticket *t)
{
	if (t)
		fp_stream_unref(t->st);
	free(t);
}

void fp_stream_lock_done(void *ticket, int result)
{
	uint8_t frame[FP_HEAD_SIZE + sizeof(struct fuse_out_header)];
	struct ticket *t = ticket;

	fp_stream_send(t->st, frame, frame_reply(frame, t->unique, result, 0, NULL, 0));
	free_ticket(t);
}

/* What a large batch has to say takes several frames: all but the last leave here. */
static int run_all(struct fp_stream *st, struct fp_call *c, uint8_t *at)
{
	int r = fp_ops_run(c);

	while (c->more) {
		fp_stream_send(st, at, frame_items(at, c->items, c->n_items));
		buf_reset(c->items);
		c->n_items = 0;
		c->more = false;
		r = fp_ops_run(c);
	}
	return r;
}

size_t fp_run(struct fp_stream *st, const struct fp_request *q, int r, uint8_t *at,
	      struct buf *items)
{
	struct fp_call c = {
		.vol = st->vol,
		.q = q,
		.out = at + FP_HEAD_SIZE + sizeof(struct fuse_out_header),
		.out_max = FP_MSG_MAX - sizeof(struct fuse_out_header),
		.items = items,
		.records = st->records,
	};
	struct ticket *ticket = NULL;

	buf_reset(items);
	if (r == 0) {
		if (q->head.opcode == FUSE_SETLKW)
			ticket = new_ticket(st, q->head.unique);
		c.waiter = (struct fp_lock_waiter){q->head.unique, ticket, st};
		r = run_all(st, &c, at);
		/* The waits of a broken stream are ended: this one may have come after that. */
		if (r == FP_LATER && atomic_load(&st->broken))
			fp_locks_cancel(st->vol->locks, st);
		if (r == FP_LATER)
			return 0;
		free_ticket(ticket);
	}
	if (q->op && (q->op->flags & FP_OP_NO_REPLY))
		return frame_items(at, items, c.n_items);
	return frame_reply(at, q->head.unique, r, c.out_len, items, c.n_items);
}

bool fp_run_is_void(const struct fp_stream *st, const struct fp_request *q)
{
	return atomic_load(&st->broken) && !(q->op && (q->op->flags & FP_OP_NO_REPLY));
}

void fp_stream_run_job(struct fp_job *job, void *scratch)
{
	struct job *j = (struct job *)job;
	auto_buf struct buf items = BUF_INIT(FP_TRAILER_MAX);
	struct fp_frame f;
	struct fp_request q;
	size_t used;

	/* It was looked at before: a frame it is. */
	if (fp_frame_get(j->frame, j->len, &f, &used, NULL) == 1) {
		int r = fp_decode(&f, &q);
		size_t len = fp_run_is_void(j->st, &q) ? 0 : fp_run(j->st, &q, r, scratch, &items);

		if (len)
			fp_stream_send(j->st, scratch, len);
	}
	fp_stream_unref(j->st);
	free(j);
}

void fp_run_later(struct fp_stream *st, const uint8_t *frame, size_t len)
{
	struct job *j = xmalloc(sizeof(*j) + len);

	*j = (struct job){.job = {.bytes = sizeof(*j) + len}, .st = st, .len = len};
	memcpy(j->frame, frame, len);
	fp_stream_ref(st);
	fp_pool_add(st->pool, &j->job);
}

/* Moves much data, or gives blocks back: a disk may be told of each, and wait for it. */
static bool may_take_long(const struct fp_request *q)
{
	switch (q->head.opcode) {
	case FUSE_OPEN:
		return ((const struct fuse_open_in *)q->arg)->flags & O_TRUNC;
	case FUSE_SETATTR:
		return ((const struct fuse_setattr_in *)q->arg)->valid & FATTR_SIZE;
	case FUSE_READ:
		return ((const struct fuse_read_in *)q->arg)->size > INLINE_IO_MAX;
	case FUSE_WRITE:
		return ((const struct fuse_write_in *)q->arg)->size > INLINE_IO_MAX;
	default:
		return false;
	}
}

bool fp_run_blocks(struct fp_stream *st, const struct fp_request *q, uint64_t now)
{
	if ((q->op->flags & FP_OP_BLOCKS) || may_take_long(q))
		return true;
	/* What ends waiting must not wait itself. */
	return atomic_load(&st->slow_until_ms) > now && !(q->op->flags & FP_OP_NO_NODE) &&
	       q->head.opcode != FUSE_FORGET;
}
