#include "fp_volume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"
#include "xalloc.h"

#define FDS_RESERVED 128 /* sockets, threads' temporaries */
#define FDS_MIN 512
/* The kernel's table of descriptors is made this large at once: 128 KiB. */
#define FDS_AT_ONCE 16384
#define NOBODY 65534

static size_t fds_allowed(size_t wanted)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		return FDS_MIN;
	lim.rlim_cur = lim.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &lim);
	return wanted && wanted < lim.rlim_max ? wanted : (size_t)lim.rlim_max;
}

/* In a process of several threads a table that must grow waits for a grace period of RCU, 10 to
 * 20 ms in which a stream stands still: it would at 64 descriptors, at 128, 256 and so on. */
static void grow_fd_table(int fd, size_t n)
{
	int last = fcntl(fd, F_DUPFD_CLOEXEC, (int)(n < FDS_AT_ONCE ? n : FDS_AT_ONCE) - 1);

	cleanup_close_p(&last);
}

/* Of the descriptors, half are for hot inodes and a quarter each for open files and for locks: an
 * open file keeps its inode hot. */
static int make_tables(struct fp_volume *v, fp_lock_done done, struct err *err)
{
	size_t fds = fds_allowed(v->opt.fds_max);
	int r;

	grow_fd_table(v->root_fd, fds);
	fds = fds > FDS_MIN + FDS_RESERVED ? fds - FDS_RESERVED : FDS_MIN;
	r = fp_inodes_new(v->root_fd, fds / 2, &v->inodes, err);
	if (r < 0)
		return r;
	r = fp_files_new(v->inodes, fds / 4, &v->files, err);
	if (r < 0)
		return r;
	return fp_locks_new(v->inodes, v->proc_fd, done, &v->locks, err);
}

static void free_tables(struct fp_volume *v)
{
	fp_locks_free(TAKE_PTR(v->locks));
	fp_files_free(TAKE_PTR(v->files));
	fp_inodes_free(TAKE_PTR(v->inodes));
}

static int stat_with_mount(int fd, const char *name, struct statx *ret)
{
	const int flags =
		AT_EMPTY_PATH | AT_STATX_SYNC_AS_STAT | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;

	if (statx(fd, name, flags, STATX_BASIC_STATS | STATX_MNT_ID, ret) < 0)
		return -errno;
	return ret->stx_mask & STATX_MNT_ID ? 0 : -EOPNOTSUPP;
}

static int learn_root(struct fp_volume *v, struct err *err)
{
	struct statx st;
	int r = stat_with_mount(v->root_fd, "", &st);

	if (r < 0)
		return err_sys_code(err, r, "cannot stat the directory with its mount");
	if (!S_ISDIR(st.stx_mode))
		return err_set(err, ERR_HOST, -ENOTDIR, "what is to be served is not a directory");
	v->dev = makedev(st.stx_dev_major, st.stx_dev_minor);
	v->mount_id = st.stx_mnt_id;
	v->owner_uid = st.stx_uid;
	v->owner_gid = st.stx_gid;
	return 0;
}

static void close_volume_p(struct fp_volume **v)
{
	fp_volume_close(*v);
	*v = NULL;
}

int fp_volume_open(int root_fd, int proc_fd, const struct fp_options *opt, fp_lock_done done,
		   struct fp_volume **ret, struct err *err)
{
	__attribute__((cleanup(close_volume_p))) struct fp_volume *v = xcalloc(1, sizeof(*v));
	int r;

	v->opt = *opt;
	v->root_fd = root_fd;
	v->proc_fd = proc_fd;
	if (geteuid() != 0)
		v->opt.trust = FP_ROOTLESS;
	r = learn_root(v, err);
	if (r == 0)
		r = fp_state_open(opt->state_fd, &v->state, err);
	if (r == 0)
		r = make_tables(v, done, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(v);
	return 0;
}

void fp_volume_close(struct fp_volume *v)
{
	if (!v)
		return;
	free_tables(v);
	fp_state_free(v->state);
	free(v);
}

int fp_volume_reset(struct fp_volume *v, fp_lock_done done, struct err *err)
{
	free_tables(v);
	atomic_store(&v->ready, false);
	atomic_store(&v->skips_open, false);
	return make_tables(v, done, err);
}

bool fp_volume_begin(struct fp_volume *v, const uint8_t session[FP_SESSION_SIZE])
{
	if (!fp_state_session(v->state, session))
		return false;
	/* Under another trust who opens is checked: what was not opened has no data. */
	atomic_store(&v->skips_open, v->opt.trust == FP_FULL && fp_state_skips_open(v->state));
	atomic_store(&v->ready, true);
	return true;
}

int fp_volume_server_rights(const struct fp_volume *v)
{
	return v->opt.trust == FP_ROOTLESS ? 0 : fp_creds_server();
}

static struct fp_caller caller_of(const struct fp_request *q)
{
	return (struct fp_caller){.uid = q->head.uid,
				  .gid = q->head.gid,
				  .groups = q->groups,
				  .n_groups = q->n_groups};
}

int fp_volume_kill_suid(const struct fp_volume *v, const struct fp_request *q)
{
	const struct fp_caller caller = caller_of(q);
	const struct fp_caller writer = {.uid = v->owner_uid, .gid = NOBODY};

	if (v->opt.trust == FP_FULL)
		return fp_creds_kill_suid(&caller);
	/* Who is squashed is no member of anything; nor root, for whom file systems keep blocks. */
	return fp_creds_caller(&writer, FP_SQUASH);
}

int fp_volume_rights(const struct fp_volume *v, const struct fp_request *q)
{
	struct fp_caller caller = caller_of(q);

	if (v->opt.trust == FP_ROOTLESS)
		return 0;
	if (q->op->rights == FP_R_NONE || (q->op->rights == FP_R_PATH && v->opt.trust == FP_FULL))
		return fp_creds_server();
	if (v->opt.trust == FP_SQUASH) {
		if (caller.uid == 0) {
			caller.uid = v->owner_uid;
			caller.n_groups = 0;
		}
		if (caller.gid == 0)
			caller.gid = v->owner_gid;
		caller.root_gid = v->owner_gid;
	}
	return fp_creds_caller(&caller, v->opt.trust);
}

int fp_volume_node(struct fp_volume *v, uint64_t id, struct fp_inode **ret)
{
	struct fp_inode *in = fp_inode_get(v->inodes, id);
	int fd;

	if (!in)
		return -ESTALE;
	fd = fp_inode_hot_fd(v->inodes, in);
	if (fd < 0) {
		fd = fp_volume_server_rights(v);
		if (fd == 0)
			fd = fp_inode_fd(v->inodes, in);
	}
	if (fd < 0) {
		fp_inode_put(v->inodes, in);
		return fd;
	}
	*ret = in;
	return fd;
}

static void from_statx(const struct statx *x, struct stat *ret)
{
	*ret = (struct stat){
		.st_dev = makedev(x->stx_dev_major, x->stx_dev_minor),
		.st_ino = x->stx_ino,
		.st_mode = x->stx_mode,
		.st_nlink = x->stx_nlink,
		.st_uid = x->stx_uid,
		.st_gid = x->stx_gid,
		.st_rdev = makedev(x->stx_rdev_major, x->stx_rdev_minor),
		.st_size = (off_t)x->stx_size,
		.st_blksize = (blksize_t)x->stx_blksize,
		.st_blocks = (blkcnt_t)x->stx_blocks,
		.st_atim = {x->stx_atime.tv_sec, x->stx_atime.tv_nsec},
		.st_mtim = {x->stx_mtime.tv_sec, x->stx_mtime.tv_nsec},
		.st_ctim = {x->stx_ctime.tv_sec, x->stx_ctime.tv_nsec},
	};
}

int fp_volume_stat(const struct fp_volume *v, int dir_fd, const char *name, struct stat *ret)
{
	struct statx st;
	int r = stat_with_mount(dir_fd, name, &st);

	if (r < 0)
		return r;
	if (makedev(st.stx_dev_major, st.stx_dev_minor) != v->dev || st.stx_mnt_id != v->mount_id)
		return -EXDEV;
	from_statx(&st, ret);
	return 0;
}

int fp_volume_check(const struct fp_volume *v, int fd, struct stat *ret)
{
	return fp_volume_stat(v, fd, "", ret);
}

int fp_volume_lookup(const struct fp_volume *v, int dir_fd, const char *name, struct stat *ret)
{
	auto_close int fd = fp_name_open(dir_fd, name);
	int r;

	if (fd < 0)
		return fd;
	r = fp_volume_check(v, fd, ret);
	return r < 0 ? r : TAKE_FD(fd);
}

int fp_volume_reopen(const struct fp_volume *v, int path_fd, int flags)
{
	char name[16];

	(void)snprintf(name, sizeof(name), "%d", path_fd);
	int fd = openat(v->proc_fd, name, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* A file of an earlier process: opened at its first use, with what it may still do. */
static int open_restored(struct fp_volume *v, struct fp_file *f)
{
	int path_fd = fp_volume_server_rights(v);

	if (path_fd == 0)
		path_fd = fp_inode_fd(v->inodes, f->in);
	if (path_fd < 0)
		return path_fd;
	(void)pthread_mutex_lock(&f->lock);
	if (f->fd < 0)
		f->fd = fp_volume_reopen(v, path_fd, f->flags);
	int fd = f->fd;
	(void)pthread_mutex_unlock(&f->lock);
	return fd;
}

/* A node unknown, too: it was open on a directory whose place this one took. */
static int no_file(struct fp_volume *v, uint64_t node)
{
	struct fp_inode *in = fp_inode_get(v->inodes, node);

	if (!in)
		return -ESTALE;
	fp_inode_put(v->inodes, in);
	return -EBADF;
}

int fp_volume_file(struct fp_volume *v, uint64_t fh, uint64_t node, struct fp_file **ret)
{
	struct fp_file *f = fp_file_get(v->files, fh, node);
	int fd = f ? f->fd : no_file(v, node);

	if (f && fd < 0)
		fd = open_restored(v, f);
	if (fd < 0) {
		fp_file_put(v->files, f);
		return fd;
	}
	*ret = f;
	return fd;
}

void fp_volume_attr(const struct fp_volume *v, const struct stat *st, struct fuse_attr *ret)
{
	*ret = (struct fuse_attr){
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = (uint64_t)st->st_atim.tv_sec,
		.mtime = (uint64_t)st->st_mtim.tv_sec,
		.ctime = (uint64_t)st->st_ctim.tv_sec,
		.atimensec = (uint32_t)st->st_atim.tv_nsec,
		.mtimensec = (uint32_t)st->st_mtim.tv_nsec,
		.ctimensec = (uint32_t)st->st_ctim.tv_nsec,
		.mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid,
		.gid = st->st_gid,
		/* As the kernel's new_encode_dev(). */
		.rdev = (minor(st->st_rdev) & 0xff) | (major(st->st_rdev) << 8) |
			((minor(st->st_rdev) & ~0xffu) << 12),
		.blksize = (uint32_t)st->st_blksize,
	};
	if (v->opt.trust != FP_ROOTLESS)
		return;
	ret->uid = st->st_uid == geteuid() ? v->opt.as_uid : NOBODY;
	ret->gid = st->st_gid == getegid() ? v->opt.as_gid : NOBODY;
}

mode_t fp_volume_mode(const struct fp_volume *v, mode_t mode)
{
	if (v->opt.trust == FP_FULL || S_ISDIR(mode))
		return mode;
	return mode & ~(mode_t)(S_ISUID | S_ISGID);
}
