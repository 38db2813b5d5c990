#include "fp_restore.h"

#include <errno.h>

#include "io.h"

#define RECORDS_MS 60000
#define FRAMES_MAX (256u << 20)

static int restore(struct fp_volume *v, const struct fp_record *rec)
{
	if (!rec->is_file)
		return fp_inode_restore(v->inodes, rec->id, &rec->st, &rec->place);
	struct fp_inode *in = fp_inode_get(v->inodes, rec->node);
	int r = in ? fp_file_restore(v->files, rec->id, in, rec->flags) : -ESTALE;
	if (r < 0)
		fp_inode_put(v->inodes, in);
	return r;
}

/* A record that we did not seal, or that stands for nothing any more, is passed over: what it stood
 * for gives ESTALE. Nodes come before files, so the guest's order does not matter: it is asked to
 * send all of them and files are looked at in a second round. */
static void take_records(struct fp_volume *v, const struct fp_frame *f, bool files)
{
	struct fp_item item;
	size_t pos = 0;

	while (fp_item_next(f, &pos, &item)) {
		struct fp_record rec;

		if (item.type != FP_T_KEEP ||
		    fp_unseal(v->state, item.data, item.data + FP_KEY_SIZE, item.len - FP_KEY_SIZE,
			      &rec) < 0 ||
		    rec.is_file != files)
			continue;
		(void)restore(v, &rec);
	}
}

static int read_frame(int fd, struct buf *in, struct fp_frame *f, uint64_t deadline,
		      struct err *err)
{
	size_t used;
	int r;

	buf_reset(in);
	uint8_t *head = buf_grow(in, FP_HEAD_SIZE);
	r = io_read_full(fd, head, FP_HEAD_SIZE, deadline, err);
	if (r < 0)
		return r;
	size_t len = (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 |
		     (size_t)head[3] << 24;
	uint8_t *body = len <= FP_TRAILER_MAX ? buf_grow(in, len) : NULL;
	if (!body)
		return err_set(err, ERR_GUEST, -EMSGSIZE, "a frame of records of %zu bytes", len);
	r = io_read_full(fd, body, len, deadline, err);
	if (r < 0)
		return r;
	r = fp_frame_get((const uint8_t *)in->data, in->len, f, &used, err);
	if (r == 1 && !(f->flags & FP_F_BARE))
		r = err_set(err, ERR_GUEST, -EPROTO, "a request before READY");
	return r;
}

/* Files name nodes, and may come before them: their frames are kept for a second look. */
int fp_restore_records(struct fp_stream *st, struct err *err)
{
	const uint64_t deadline = deadline_in(RECORDS_MS);
	auto_buf struct buf in = BUF_INIT(FP_FRAME_MAX), files = BUF_INIT(FRAMES_MAX);
	struct fp_frame f = {0};
	size_t used;

	while (!(f.flags & FP_F_END)) {
		int r = read_frame(st->fd, &in, &f, deadline, err);

		if (r < 0)
			return r;
		take_records(st->vol, &f, false);
		buf_add(&files, in.data, in.len);
		if (!buf_ok(&files))
			return err_set(err, ERR_GUEST, -EMSGSIZE, "too many records");
	}
	for (size_t at = 0; at < files.len; at += used) {
		if (fp_frame_get((const uint8_t *)files.data + at, files.len - at, &f, &used,
				 err) != 1)
			break;
		take_records(st->vol, &f, true);
	}
	fp_inodes_settle(st->vol->inodes);
	fp_files_settle(st->vol->files);
	return 0;
}
