/* fp_ops_io.c - data of open files, and their locks. Lengths were checked by the decoder; offsets
 * are the kernel's to refuse, but for those that would wrap. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "cleanup.h"
#include "fp_ops.h"

#define OFFSET_MAX INT64_MAX

static int begin(struct fp_call *c, uint64_t fh, struct fp_open *o)
{
	return fp_call_data(c, fh, c->q->head.nodeid, o);
}

int fp_op_read(struct fp_call *c)
{
	const struct fuse_read_in *in = c->q->arg;
	auto_open struct fp_open o = {0};
	int r = begin(c, in->fh, &o);

	if (r < 0)
		return r;
	if (in->size > FP_MAX_WRITE || in->size > c->out_max || in->offset > OFFSET_MAX)
		return -EINVAL;
	ssize_t n = pread(o.fd, c->out, in->size, (off_t)in->offset);
	if (n < 0)
		return -errno;
	c->out_len = (size_t)n;
	return 0;
}

/* A writer without the right to keep set-id bits strips them. */
static int writer_rights(const struct fp_call *c, bool kill)
{
	if (c->vol->opt.trust == FP_ROOTLESS)
		return 0;
	return kill || c->vol->opt.trust != FP_FULL ? fp_volume_kill_suid(c->vol, c->q)
						    : fp_creds_server();
}

int fp_op_write(struct fp_call *c)
{
	const struct fuse_write_in *in = c->q->arg;
	auto_open struct fp_open o = {0};
	int r = begin(c, in->fh, &o);

	if (r == 0)
		r = writer_rights(c, in->write_flags & FUSE_WRITE_KILL_SUIDGID);
	if (r < 0)
		return r;
	if (in->offset > OFFSET_MAX)
		return -EINVAL;
	ssize_t n = pwrite(o.fd, c->q->data, in->size, (off_t)in->offset);
	if (n < 0)
		return -errno;
	struct fuse_write_out *out = fp_call_out(c, sizeof(*out));
	out->size = (uint32_t)n;
	return 0;
}

int fp_op_fsync(struct fp_call *c)
{
	const struct fuse_fsync_in *in = c->q->arg;
	auto_open struct fp_open o = {0};
	int r = begin(c, in->fh, &o);

	if (r < 0)
		return r;
	r = in->fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(o.fd) : fsync(o.fd);
	return r < 0 ? -errno : 0;
}

int fp_op_fallocate(struct fp_call *c)
{
	const struct fuse_fallocate_in *in = c->q->arg;
	auto_open struct fp_open o = {0};
	int r = begin(c, in->fh, &o);

	/* The message does not say whether the caller may keep set-id bits: root may. */
	if (r == 0)
		r = writer_rights(c, c->q->head.uid != 0);
	if (r < 0)
		return r;
	return fallocate(o.fd, (int)in->mode, (off_t)in->offset, (off_t)in->length) < 0 ? -errno
											: 0;
}

int fp_op_lseek(struct fp_call *c)
{
	const struct fuse_lseek_in *in = c->q->arg;
	auto_open struct fp_open o = {0};
	int r = begin(c, in->fh, &o);

	if (r < 0)
		return r;
	if (in->whence != SEEK_DATA && in->whence != SEEK_HOLE)
		return -EINVAL;
	off_t at = lseek(o.fd, (off_t)in->offset, (int)in->whence);
	if (at < 0)
		return -errno;
	struct fuse_lseek_out *out = fp_call_out(c, sizeof(*out));
	out->offset = (uint64_t)at;
	return 0;
}

int fp_op_copy_file_range(struct fp_call *c)
{
	const struct fuse_copy_file_range_in *in = c->q->arg;
	auto_open struct fp_open from = {0}, to = {0};
	off_t off_in = (off_t)in->off_in, off_out = (off_t)in->off_out;
	size_t len = in->len < INT32_MAX ? (size_t)in->len : INT32_MAX & ~4095u;
	int r = begin(c, in->fh_in, &from);

	if (r == 0)
		r = fp_call_data(c, in->fh_out, in->nodeid_out, &to);
	if (r == 0)
		r = writer_rights(c, c->q->head.uid != 0);
	if (r < 0)
		return r;
	if (in->flags != 0 || in->off_in > OFFSET_MAX || in->off_out > OFFSET_MAX)
		return -EINVAL;
	ssize_t n = copy_file_range(from.fd, &off_in, to.fd, &off_out, len, 0);
	if (n < 0)
		return -errno;
	struct fuse_write_out *out = fp_call_out(c, sizeof(*out));
	out->size = (uint32_t)n;
	return 0;
}

int fp_op_syncfs(struct fp_call *c)
{
	return syncfs(c->vol->root_fd) < 0 ? -errno : 0;
}

/* --- locks --- */

static int want_of(const struct fuse_lk_in *in, struct fp_lock_want *ret)
{
	const struct fuse_file_lock *lk = &in->lk;

	if (lk->type != F_RDLCK && lk->type != F_WRLCK && lk->type != F_UNLCK)
		return -EINVAL;
	if (lk->start > lk->end || lk->end > OFFSET_MAX)
		return -EINVAL;
	*ret = (struct fp_lock_want){
		.owner = in->owner,
		.flock = in->lk_flags & FUSE_LK_FLOCK,
		.type = (short)lk->type,
		.start = (int64_t)lk->start,
		.len = lk->end == OFFSET_MAX ? 0 : (int64_t)(lk->end - lk->start + 1),
		.pid = lk->pid,
		.file = in->fh,
	};
	return 0;
}

static int begin_lock(struct fp_call *c, struct fp_open *o, struct fp_lock_want *want)
{
	const struct fuse_lk_in *in = c->q->arg;
	int r = want_of(in, want);

	if (r == 0)
		r = fp_call_file(c, in->fh, c->q->head.nodeid, o);
	if (r == 0 && !o->file)
		r = -EBADF; /* the guest keeps such locks itself */
	/* The lock's own descriptor is opened with the server's rights: it moves no data. */
	return r < 0 ? r : fp_volume_server_rights(c->vol);
}

int fp_op_getlk(struct fp_call *c)
{
	auto_open struct fp_open o = {0};
	struct fp_lock_want want;
	int r = begin_lock(c, &o, &want);

	if (r == 0)
		r = fp_lock_get(c->vol->locks, o.file->in, &want);
	if (r < 0)
		return r;
	struct fuse_lk_out *out = fp_call_out(c, sizeof(*out));
	out->lk = (struct fuse_file_lock){
		.start = (uint64_t)want.start,
		.end = want.len ? (uint64_t)(want.start + want.len - 1) : OFFSET_MAX,
		.type = (uint32_t)want.type,
		.pid = want.pid,
	};
	return 0;
}

int fp_op_setlk(struct fp_call *c)
{
	auto_open struct fp_open o = {0};
	struct fp_lock_want want;
	int r = begin_lock(c, &o, &want);

	if (r < 0)
		return r;
	if (c->q->head.opcode == FUSE_SETLKW && want.type != F_UNLCK)
		return fp_lock_wait(c->vol->locks, o.file->in, &want, &c->waiter);
	return fp_lock_set(c->vol->locks, o.file->in, &want);
}
