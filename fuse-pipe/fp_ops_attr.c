/* fp_ops_attr.c - attributes and extended attributes. Paths are magic links: a thread's working
 * directory is /proc/self/fd (fp_creds_init), for calls that take no descriptor. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"
#include "fp_ops.h"

#define XATTR_MAX 65536

static int reply_attr(struct fp_call *c, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	struct fuse_attr_out *out = fp_call_out(c, sizeof(*out));
	fp_call_valid(c, &out->attr_valid, &out->attr_valid_nsec);
	fp_volume_attr(c->vol, &st, &out->attr);
	return 0;
}

int fp_op_getattr(struct fp_call *c)
{
	const struct fuse_getattr_in *in = c->q->arg;
	auto_node struct fp_node n = {0};
	auto_open struct fp_open o = {0};
	int r;

	if (in->getattr_flags & FUSE_GETATTR_FH) {
		r = fp_call_file(c, in->fh, c->q->head.nodeid, &o);
		return r < 0 ? r : reply_attr(c, o.fd);
	}
	r = fp_call_node(c, c->q->head.nodeid, &n);
	return r < 0 ? r : reply_attr(c, n.fd);
}

static void path_of(int fd, char ret[16])
{
	(void)snprintf(ret, 16, "%d", fd);
}

static int set_mode(const struct fp_call *c, const struct fp_node *n, mode_t mode)
{
	char path[16];

	path_of(n->fd, path);
	return chmod(path, fp_volume_mode(c->vol, n->in->type | (mode & 07777)) & 07777) < 0
		       ? -errno
		       : 0;
}

/* Rootless: the guest may name only the one user and group that it is shown. */
static int check_map(const struct fp_volume *v, uid_t uid, gid_t gid)
{
	if ((uid != (uid_t)-1 && uid != v->opt.as_uid) ||
	    (gid != (gid_t)-1 && gid != v->opt.as_gid))
		return -EPERM;
	return 0;
}

static int set_owner(const struct fp_call *c, const struct fp_node *n,
		     const struct fuse_setattr_in *in)
{
	uid_t uid = in->valid & FATTR_UID ? in->uid : (uid_t)-1;
	gid_t gid = in->valid & FATTR_GID ? in->gid : (gid_t)-1;

	if (c->vol->opt.trust == FP_ROOTLESS) {
		int r = check_map(c->vol, uid, gid);

		if (r < 0)
			return r;
		uid = uid == (uid_t)-1 ? uid : geteuid();
		gid = gid == (gid_t)-1 ? gid : getegid();
	}
	return fchownat(n->fd, "", uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

/* Permission to change the size came with the open file, or from the guest's check; the rights of
 * a squashed caller are checked here. */
static int set_size(struct fp_call *c, const struct fp_node *n, const struct fuse_setattr_in *in)
{
	auto_open struct fp_open o = {0};
	char path[16];
	int r = 0;

	if (in->size > INT64_MAX)
		return -EFBIG;
	if (n->in->type != S_IFREG)
		return -EINVAL;
	if (in->valid & FATTR_FH)
		r = fp_call_data(c, in->fh, c->q->head.nodeid, &o);
	if (r == 0 && c->vol->opt.trust != FP_ROOTLESS &&
	    (in->valid & FATTR_FH || c->vol->opt.trust == FP_FULL))
		r = in->valid & FATTR_KILL_SUIDGID ? fp_volume_kill_suid(c->vol, c->q)
						   : fp_creds_server();
	if (r < 0)
		return r;
	if (in->valid & FATTR_FH)
		return ftruncate(o.fd, (off_t)in->size) < 0 ? -errno : 0;
	/* Not ftruncate() in its place: only that sets the times of a file which has the size. */
	path_of(n->fd, path);
	return truncate(path, (off_t)in->size) < 0 ? -errno : 0;
}

static struct timespec time_to_set(uint32_t valid, uint32_t set, uint32_t now, uint64_t sec,
				   uint32_t nsec)
{
	struct timespec ts = {.tv_nsec = UTIME_OMIT};

	if (valid & now)
		ts.tv_nsec = UTIME_NOW;
	else if (valid & set)
		ts = (struct timespec){.tv_sec = (time_t)sec, .tv_nsec = (long)nsec};
	return ts;
}

static int set_times(const struct fp_node *n, const struct fuse_setattr_in *in)
{
	const struct timespec ts[2] = {
		time_to_set(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
		time_to_set(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
	};

	if (in->atimensec >= 1000000000 || in->mtimensec >= 1000000000)
		return -EINVAL;
	return utimensat(n->fd, "", ts, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

int fp_op_setattr(struct fp_call *c)
{
	const uint32_t times = FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW;
	const struct fuse_setattr_in *in = c->q->arg;
	auto_node struct fp_node n = {0};
	int r = fp_call_node(c, c->q->head.nodeid, &n);

	if (r == 0)
		r = fp_volume_rights(c->vol, c->q);
	if (r == 0 && (in->valid & FATTR_MODE))
		r = set_mode(c, &n, in->mode);
	if (r == 0 && (in->valid & (FATTR_UID | FATTR_GID)))
		r = set_owner(c, &n, in);
	if (r == 0 && (in->valid & FATTR_SIZE)) {
		r = set_size(c, &n, in);
		if (r == 0)
			r = fp_volume_rights(c->vol, c->q);
	}
	if (r == 0 && (in->valid & times))
		r = set_times(&n, in);
	/* chown(-1, -1): nothing is set but the time of the change, and set-id bits go. A guest's
	 * kernel sends the same before a write to such a file, which must not fail. */
	if (r == 0 && !(in->valid & (times | FATTR_MODE | FATTR_UID | FATTR_GID | FATTR_SIZE)) &&
	    fchownat(n.fd, "", (uid_t)-1, (gid_t)-1, AT_EMPTY_PATH) < 0)
		r = errno == EPERM ? 0 : -errno;
	return r < 0 ? r : reply_attr(c, n.fd);
}

/* --- extended attributes --- */

static int begin_xattr(struct fp_call *c, struct fp_node *n, char path[16])
{
	int r = fp_call_node(c, c->q->head.nodeid, n);

	if (r == 0)
		r = fp_volume_rights(c->vol, c->q);
	if (r == 0)
		path_of(n->fd, path);
	return r;
}

/* Capabilities of files, labels and what overlays keep are as good as a set-id bit. */
static bool may_set(const struct fp_call *c)
{
	const char *name = c->q->name[0];

	return c->vol->opt.trust == FP_FULL || strncmp(name, "user.", 5) == 0 ||
	       strcmp(name, "system.posix_acl_access") == 0 ||
	       strcmp(name, "system.posix_acl_default") == 0;
}

int fp_op_setxattr(struct fp_call *c)
{
	const struct fuse_setxattr_in *in = c->q->arg;
	auto_node struct fp_node n = {0};
	char path[16];
	int r;

	if (!may_set(c))
		return -EPERM;
	if (in->size > XATTR_MAX)
		return -E2BIG;
	r = begin_xattr(c, &n, path);
	if (r < 0)
		return r;
	return setxattr(path, c->q->name[0], c->q->data, in->size, (int)in->flags) < 0 ? -errno : 0;
}

int fp_op_removexattr(struct fp_call *c)
{
	auto_node struct fp_node n = {0};
	char path[16];
	int r;

	if (!may_set(c))
		return -EPERM;
	r = begin_xattr(c, &n, path);
	if (r < 0)
		return r;
	if (c->done)
		return 0;
	r = removexattr(path, c->q->name[0]) < 0 ? -errno : 0;
	return r == -ENODATA && c->again ? 0 : r;
}

/* size 0 asks how much there is. */
static int reply_xattr(struct fp_call *c, uint32_t size, ssize_t got)
{
	if (got < 0)
		return -errno;
	if (size == 0) {
		struct fuse_getxattr_out *out = fp_call_out(c, sizeof(*out));

		out->size = (uint32_t)got;
	} else {
		c->out_len = (size_t)got;
	}
	return 0;
}

int fp_op_getxattr(struct fp_call *c)
{
	const struct fuse_getxattr_in *in = c->q->arg;
	uint32_t size = in->size < XATTR_MAX ? in->size : XATTR_MAX;
	auto_node struct fp_node n = {0};
	char path[16];
	int r = begin_xattr(c, &n, path);

	if (r < 0)
		return r;
	return reply_xattr(c, size, getxattr(path, c->q->name[0], c->out, size));
}

int fp_op_listxattr(struct fp_call *c)
{
	const struct fuse_getxattr_in *in = c->q->arg;
	uint32_t size = in->size < XATTR_MAX ? in->size : XATTR_MAX;
	auto_node struct fp_node n = {0};
	char path[16];
	int r = begin_xattr(c, &n, path);

	if (r < 0)
		return r;
	return reply_xattr(c, size, listxattr(path, (char *)c->out, size));
}
