/* fp_ops_name.c - operations on names in directories. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"
#include "fp_ops.h"

#define LINK_MAX_BYTES 4096

/* The directory of the request, then its rights. */
static int begin(struct fp_call *c, struct fp_node *dir)
{
	int r = fp_call_node(c, c->q->head.nodeid, dir);

	return r < 0 ? r : fp_volume_rights(c->vol, c->q);
}

int fp_op_lookup(struct fp_call *c)
{
	auto_node struct fp_node dir = {0};
	int r = begin(c, &dir);

	if (r < 0)
		return r;
	r = fp_call_lookup(c, &dir, c->q->name[0]);
	/* That a name is not there may be remembered as long as that it is. */
	if (r == -ENOENT && c->vol->opt.cache != FP_STRICT && c->vol->opt.timeout_ms) {
		struct fuse_entry_out *out = fp_call_out(c, sizeof(*out));

		fp_call_valid(c, &out->entry_valid, &out->entry_valid_nsec);
		return 0;
	}
	return r;
}

int fp_op_readlink(struct fp_call *c)
{
	auto_node struct fp_node n = {0};
	int r = fp_call_node(c, c->q->head.nodeid, &n);

	if (r < 0)
		return r;
	if (n.in->type != S_IFLNK)
		return -EINVAL;
	ssize_t len = readlinkat(n.fd, "", (char *)c->out, LINK_MAX_BYTES);
	if (len < 0)
		return -errno;
	c->out_len = (size_t)len;
	return 0;
}

/* What the name of a new thing now stands for. r is how making it went. */
static int made(struct fp_call *c, const struct fp_node *dir, int r)
{
	int code = r < 0 ? -errno : 0;

	if (code < 0 && !(code == -EEXIST && c->again))
		return code;
	return fp_call_lookup(c, dir, c->q->name[0]);
}

int fp_op_symlink(struct fp_call *c)
{
	auto_node struct fp_node dir = {0};
	int r = begin(c, &dir);

	if (r < 0)
		return r;
	return made(c, &dir, c->done ? 0 : symlinkat(c->q->name[1], dir.fd, c->q->name[0]));
}

int fp_op_mknod(struct fp_call *c)
{
	const struct fuse_mknod_in *in = c->q->arg;
	const mode_t type = in->mode & S_IFMT;
	/* As the kernel's new_decode_dev(). */
	const dev_t rdev =
		makedev(in->rdev >> 8 & 0xfff, (in->rdev & 0xff) | (in->rdev >> 12 & 0xfff00));
	auto_node struct fp_node dir = {0};
	int r;

	if (type == S_IFDIR || type == S_IFLNK)
		return -EINVAL;
	if ((type == S_IFCHR || type == S_IFBLK) && c->vol->opt.trust != FP_FULL)
		return -EPERM;
	r = begin(c, &dir);
	if (r < 0)
		return r;
	fp_creds_umask(in->umask);
	r = c->done ? 0 : mknodat(dir.fd, c->q->name[0], fp_volume_mode(c->vol, in->mode), rdev);
	return made(c, &dir, r);
}

int fp_op_mkdir(struct fp_call *c)
{
	const struct fuse_mkdir_in *in = c->q->arg;
	auto_node struct fp_node dir = {0};
	int r = begin(c, &dir);

	if (r < 0)
		return r;
	fp_creds_umask(in->umask);
	return made(c, &dir, c->done ? 0 : mkdirat(dir.fd, c->q->name[0], in->mode & 07777));
}

/* -ENOENT of a removal that may have been done already is its success. */
static int removed(const struct fp_call *c, int r)
{
	int code = r < 0 ? -errno : 0;

	return code == -ENOENT && c->again ? 0 : code;
}

static int unlink_at(struct fp_call *c, int flags)
{
	auto_node struct fp_node dir = {0};
	int r = begin(c, &dir);

	return r < 0 ? r : removed(c, c->done ? 0 : unlinkat(dir.fd, c->q->name[0], flags));
}

int fp_op_unlink(struct fp_call *c)
{
	return unlink_at(c, 0);
}

int fp_op_rmdir(struct fp_call *c)
{
	return unlink_at(c, AT_REMOVEDIR);
}

/* Where names are places, what was renamed has another. */
static void note_place(struct fp_call *c, uint64_t dir, int dir_fd, const char *name)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	struct fp_inode *in = fp_inode_moved(c->vol->inodes, &st, dir, name);
	if (in)
		fp_call_keep(c, in);
	fp_inode_put(c->vol->inodes, in);
}

static int rename_to(struct fp_call *c, uint64_t newdir, unsigned int flags)
{
	auto_node struct fp_node from = {0}, to = {0};
	unsigned int allowed = RENAME_NOREPLACE | RENAME_EXCHANGE;
	int r = fp_call_node(c, c->q->head.nodeid, &from);

	if (r == 0)
		r = fp_call_node(c, newdir, &to);
	if (r == 0)
		r = fp_volume_rights(c->vol, c->q);
	if (r < 0)
		return r;
	/* A whiteout is a device node. */
	if (c->vol->opt.trust == FP_FULL)
		allowed |= RENAME_WHITEOUT;
	if (flags & ~allowed)
		return -EINVAL;
	/* An exchange done twice is undone. */
	if (c->again && (flags & RENAME_EXCHANGE))
		return 0;
	if (!c->done)
		r = removed(c, renameat2(from.fd, c->q->name[0], to.fd, c->q->name[1], flags));
	if (r == 0) {
		note_place(c, newdir, to.fd, c->q->name[1]);
		if (flags & RENAME_EXCHANGE)
			note_place(c, c->q->head.nodeid, from.fd, c->q->name[0]);
	}
	return r;
}

int fp_op_rename(struct fp_call *c)
{
	const struct fuse_rename_in *in = c->q->arg;

	return rename_to(c, in->newdir, 0);
}

int fp_op_rename2(struct fp_call *c)
{
	const struct fuse_rename2_in *in = c->q->arg;

	return rename_to(c, in->newdir, in->flags);
}

int fp_op_link(struct fp_call *c)
{
	const struct fuse_link_in *in = c->q->arg;
	auto_node struct fp_node dir = {0}, old = {0};
	char name[16];
	int r = fp_call_node(c, in->oldnodeid, &old);

	if (r == 0)
		r = begin(c, &dir);
	if (r < 0)
		return r;
	/* Through the magic link: AT_EMPTY_PATH would need a right of its own. */
	(void)snprintf(name, sizeof(name), "%d", old.fd);
	r = c->done ? 0 : linkat(c->vol->proc_fd, name, dir.fd, c->q->name[0], AT_SYMLINK_FOLLOW);
	return made(c, &dir, r);
}
