#include "fp_decode.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "frame.h"

#define NAME                         \
	{                            \
		FP_S_NAME, FP_S_NONE \
	}

static const struct fp_op ops[FP_OPCODES] = {
	[FUSE_LOOKUP] = {"LOOKUP", 0, NAME, FP_R_PATH, 0},
	[FUSE_FORGET] = {"FORGET", sizeof(struct fuse_forget_in), {0}, FP_R_NONE, FP_OP_NO_REPLY},
	[FUSE_GETATTR] = {"GETATTR", sizeof(struct fuse_getattr_in), {0}, FP_R_NONE, 0},
	[FUSE_SETATTR] =
		{"SETATTR", sizeof(struct fuse_setattr_in), {0}, FP_R_CALLER, FP_OP_WRITES},
	[FUSE_READLINK] = {"READLINK", 0, {0}, FP_R_NONE, 0},
	[FUSE_SYMLINK] =
		{"SYMLINK", 0, {FP_S_NAME, FP_S_TEXT}, FP_R_CALLER, FP_OP_WRITES | FP_OP_ONCE},
	[FUSE_MKNOD] = {"MKNOD", sizeof(struct fuse_mknod_in), NAME, FP_R_CALLER,
			FP_OP_WRITES | FP_OP_ONCE},
	[FUSE_MKDIR] = {"MKDIR", sizeof(struct fuse_mkdir_in), NAME, FP_R_CALLER,
			FP_OP_WRITES | FP_OP_ONCE},
	[FUSE_UNLINK] = {"UNLINK", 0, NAME, FP_R_PATH, FP_OP_WRITES | FP_OP_ONCE},
	[FUSE_RMDIR] = {"RMDIR", 0, NAME, FP_R_PATH, FP_OP_WRITES | FP_OP_ONCE},
	[FUSE_RENAME] = {"RENAME",
			 sizeof(struct fuse_rename_in),
			 {FP_S_NAME, FP_S_NAME},
			 FP_R_PATH,
			 FP_OP_WRITES | FP_OP_ONCE},
	[FUSE_RENAME2] = {"RENAME2",
			  sizeof(struct fuse_rename2_in),
			  {FP_S_NAME, FP_S_NAME},
			  FP_R_PATH,
			  FP_OP_WRITES | FP_OP_ONCE},
	[FUSE_LINK] = {"LINK", sizeof(struct fuse_link_in), NAME, FP_R_PATH,
		       FP_OP_WRITES | FP_OP_ONCE},
	[FUSE_OPEN] = {"OPEN", sizeof(struct fuse_open_in), {0}, FP_R_PATH, 0},
	[FUSE_READ] = {"READ", sizeof(struct fuse_read_in), {0}, FP_R_NONE, 0},
	[FUSE_WRITE] = {"WRITE", sizeof(struct fuse_write_in), {0}, FP_R_NONE, FP_OP_WRITES},
	[FUSE_STATFS] = {"STATFS", 0, {0}, FP_R_NONE, 0},
	[FUSE_RELEASE] = {"RELEASE", sizeof(struct fuse_release_in), {0}, FP_R_NONE, 0},
	[FUSE_FSYNC] = {"FSYNC", sizeof(struct fuse_fsync_in), {0}, FP_R_NONE, FP_OP_BLOCKS},
	[FUSE_SETXATTR] = {"SETXATTR",
			   sizeof(struct fuse_setxattr_in),
			   {FP_S_XATTR, FP_S_NONE},
			   FP_R_CALLER,
			   FP_OP_WRITES},
	[FUSE_GETXATTR] = {"GETXATTR",
			   sizeof(struct fuse_getxattr_in),
			   {FP_S_XATTR, FP_S_NONE},
			   FP_R_PATH,
			   0},
	[FUSE_LISTXATTR] = {"LISTXATTR", sizeof(struct fuse_getxattr_in), {0}, FP_R_PATH, 0},
	[FUSE_REMOVEXATTR] =
		{"REMOVEXATTR", 0, {FP_S_XATTR, FP_S_NONE}, FP_R_CALLER, FP_OP_WRITES | FP_OP_ONCE},
	[FUSE_FLUSH] = {"FLUSH", sizeof(struct fuse_flush_in), {0}, FP_R_NONE, 0},
	[FUSE_INIT] = {"INIT", sizeof(struct fuse_init_in), {0}, FP_R_NONE, FP_OP_NO_NODE},
	[FUSE_OPENDIR] = {"OPENDIR", sizeof(struct fuse_open_in), {0}, FP_R_PATH, 0},
	[FUSE_READDIR] = {"READDIR", sizeof(struct fuse_read_in), {0}, FP_R_NONE, 0},
	[FUSE_READDIRPLUS] = {"READDIRPLUS", sizeof(struct fuse_read_in), {0}, FP_R_PATH, 0},
	[FUSE_RELEASEDIR] = {"RELEASEDIR", sizeof(struct fuse_release_in), {0}, FP_R_NONE, 0},
	[FUSE_FSYNCDIR] = {"FSYNCDIR", sizeof(struct fuse_fsync_in), {0}, FP_R_NONE, FP_OP_BLOCKS},
	[FUSE_GETLK] = {"GETLK", sizeof(struct fuse_lk_in), {0}, FP_R_NONE, 0},
	[FUSE_SETLK] = {"SETLK", sizeof(struct fuse_lk_in), {0}, FP_R_NONE, 0},
	[FUSE_SETLKW] = {"SETLKW", sizeof(struct fuse_lk_in), {0}, FP_R_NONE, 0},
	[FUSE_CREATE] = {"CREATE", sizeof(struct fuse_create_in), NAME, FP_R_CALLER,
			 FP_OP_WRITES | FP_OP_ONCE},
	[FUSE_TMPFILE] = {"TMPFILE",
			  sizeof(struct fuse_create_in),
			  {FP_S_TEXT, FP_S_NONE},
			  FP_R_CALLER,
			  FP_OP_WRITES},
	[FUSE_INTERRUPT] = {"INTERRUPT",
			    sizeof(struct fuse_interrupt_in),
			    {0},
			    FP_R_NONE,
			    FP_OP_NO_NODE | FP_OP_NO_REPLY},
	[FUSE_DESTROY] = {"DESTROY", 0, {0}, FP_R_NONE, FP_OP_NO_NODE},
	[FUSE_BATCH_FORGET] = {"BATCH_FORGET",
			       sizeof(struct fuse_batch_forget_in),
			       {0},
			       FP_R_NONE,
			       FP_OP_NO_NODE | FP_OP_NO_REPLY},
	[FUSE_FALLOCATE] = {"FALLOCATE",
			    sizeof(struct fuse_fallocate_in),
			    {0},
			    FP_R_NONE,
			    FP_OP_WRITES | FP_OP_BLOCKS},
	[FUSE_LSEEK] = {"LSEEK", sizeof(struct fuse_lseek_in), {0}, FP_R_NONE, 0},
	[FUSE_COPY_FILE_RANGE] = {"COPY_FILE_RANGE",
				  sizeof(struct fuse_copy_file_range_in),
				  {0},
				  FP_R_NONE,
				  FP_OP_WRITES | FP_OP_BLOCKS},
	[FUSE_SYNCFS] = {"SYNCFS", sizeof(struct fuse_syncfs_in), {0}, FP_R_NONE, FP_OP_BLOCKS},
};

const struct fp_op *fp_op_find(uint32_t opcode)
{
	return opcode < FP_OPCODES && ops[opcode].name ? &ops[opcode] : NULL;
}

static bool is_component(const char *s)
{
	return !strchr(s, '/') && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

/* One string at the front of what is left. */
static int take_string(struct fp_request *q, uint8_t kind, const char **ret)
{
	size_t max = kind == FP_S_TEXT ? PATH_MAX - 1 : NAME_MAX;
	const char *s = (const char *)q->data;
	size_t len = strnlen(s, q->data_len);

	if (len == q->data_len || len == 0)
		return -EINVAL;
	if (len > max)
		return -ENAMETOOLONG;
	if (kind == FP_S_NAME && !is_component(s))
		return -EINVAL;
	*ret = s;
	q->data += len + 1;
	q->data_len -= len + 1;
	return 0;
}

/* Extensions end the message: {u32 size, u32 type, ...} each; of those we know groups. */
static int take_extensions(struct fp_request *q)
{
	size_t left = 8u * (size_t)q->head.total_extlen;

	if (left > q->data_len)
		return -EINVAL;
	q->data_len -= left;
	for (const uint8_t *p = q->data + q->data_len; left;) {
		uint32_t size = load_le32(p), type = load_le32(p + 4);

		if (size < 8 || fp_pad(size) > left)
			return -EINVAL;
		if (type == FP_EXT_GROUPS) {
			uint32_t n = size >= 12 ? load_le32(p + 8) : UINT32_MAX;

			if (n > FP_GROUPS_MAX || 12 + 4 * (size_t)n > size)
				return -EINVAL;
			q->groups = p + 12;
			q->n_groups = n;
		}
		p += fp_pad(size);
		left -= fp_pad(size);
	}
	return 0;
}

static void take_trailer(const struct fp_frame *frame, struct fp_request *q)
{
	struct fp_item item;
	size_t pos = 0;

	while (fp_item_next(frame, &pos, &item)) {
		if (item.type != FP_T_GROUPS)
			continue;
		q->groups = item.data;
		q->n_groups = item.len / 4;
	}
}

/* Counts inside arguments against what is really there. */
static int check_counts(const struct fp_request *q)
{
	switch (q->head.opcode) {
	case FUSE_WRITE: {
		const struct fuse_write_in *in = q->arg;

		return in->size <= q->data_len && in->size <= FP_MAX_WRITE ? 0 : -EINVAL;
	}
	case FUSE_SETXATTR: {
		const struct fuse_setxattr_in *in = q->arg;

		return in->size <= q->data_len ? 0 : -EINVAL;
	}
	case FUSE_BATCH_FORGET: {
		const struct fuse_batch_forget_in *in = q->arg;

		return in->count <= q->data_len / sizeof(struct fuse_forget_one) ? 0 : -EINVAL;
	}
	default:
		return 0;
	}
}

int fp_decode(const struct fp_frame *frame, struct fp_request *ret)
{
	struct fp_request q = {.resent = frame->flags & FP_F_RESENT};
	int r;

	memset(ret, 0, sizeof(*ret));
	if (frame->msg_len < sizeof(q.head))
		return -EINVAL;
	memcpy(&q.head, frame->msg, sizeof(q.head));
	ret->head = q.head;
	q.resent = q.resent || (q.head.unique & FP_UNIQUE_RESENT);
	q.op = fp_op_find(q.head.opcode);
	if (!q.op)
		return -ENOSYS;
	ret->op = q.op;
	q.data = frame->msg + sizeof(q.head);
	q.data_len = frame->msg_len - sizeof(q.head);
	r = take_extensions(&q);
	if (r < 0)
		return r;
	if (q.data_len < q.op->arg_size)
		return -EINVAL;
	q.arg = q.data;
	q.data += q.op->arg_size;
	q.data_len -= q.op->arg_size;
	for (size_t i = 0; i < 2 && q.op->strings[i]; i++) {
		r = take_string(&q, q.op->strings[i], &q.name[i]);
		if (r < 0)
			return r;
	}
	take_trailer(frame, &q);
	r = check_counts(&q);
	if (r < 0)
		return r;
	*ret = q;
	return 0;
}
