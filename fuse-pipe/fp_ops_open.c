/* fp_ops_open.c - opening, creating and closing files. Only regular files and directories are ever
 * opened: a guest's kernel serves its own pipes, sockets and devices. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "fp_ops.h"

/* The guest sends offsets, so O_APPEND would only make a write that comes twice append twice;
 * O_DIRECT would ask for aligned buffers, and is the guest's way round its own cache. */
#define FLAGS_KEPT (O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC | O_NOATIME)
#define FLAGS_ALWAYS (O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

static bool writes(uint32_t flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
}

static uint32_t open_reply_flags(const struct fp_volume *v)
{
	if (v->opt.cache == FP_PRIVATE)
		return FOPEN_KEEP_CACHE | FOPEN_NOFLUSH;
	return 0;
}

/* fd and a reference of in are the file's from here on, or closed and given back. */
static int reply_open(struct fp_call *c, struct fp_inode *in, int fd, int flags)
{
	uint8_t key[FP_KEY_SIZE], value[FP_RECORD_MAX];
	struct fp_inode *own = fp_inode_get(c->vol->inodes, in->id);
	uint64_t id;
	int r = own ? fp_file_add(c->vol->files, own, fd, flags, &id) : -ESTALE;

	if (r < 0) {
		fp_inode_put(c->vol->inodes, own);
		cleanup_close_p(&fd);
		return r;
	}
	struct fuse_open_out *out = fp_call_out(c, sizeof(*out));
	out->fh = id;
	out->open_flags = open_reply_flags(c->vol);
	if (c->records) {
		size_t len = fp_seal_file(c->vol->state, id, in->id, flags, key, value);

		fp_item_put_keep(c->items, key, value, len);
		c->n_items++;
	}
	return 0;
}

/* Truncating strips set-id bits of others unless the server keeps its right not to. */
static int truncation_rights(const struct fp_call *c, uint32_t open_flags)
{
	if (c->vol->opt.trust == FP_FULL && (open_flags & FUSE_OPEN_KILL_SUIDGID))
		return fp_volume_kill_suid(c->vol, c->q);
	return 0;
}

int fp_op_open(struct fp_call *c)
{
	const struct fuse_open_in *in = c->q->arg;
	auto_node struct fp_node n = {0};
	int flags = (int)(in->flags & FLAGS_KEPT), fd, r;

	if (atomic_load(&c->vol->skips_open))
		return -ENOSYS;
	if ((in->flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	if (c->vol->opt.read_only && writes(in->flags))
		return -EROFS;
	r = fp_call_node(c, c->q->head.nodeid, &n);
	if (r < 0)
		return r;
	if (n.in->type != S_IFREG)
		return n.in->type == S_IFDIR ? -EISDIR : -EINVAL;
	r = fp_volume_rights(c->vol, c->q);
	if (r == 0 && (flags & O_TRUNC))
		r = truncation_rights(c, in->open_flags);
	if (r < 0)
		return r;
	fd = fp_volume_reopen(c->vol, n.fd, flags | FLAGS_ALWAYS);
	return fd < 0 ? fd : reply_open(c, n.in, fd, (int)(in->flags & O_ACCMODE));
}

int fp_op_opendir(struct fp_call *c)
{
	const struct fuse_open_in *in = c->q->arg;
	const int flags = O_RDONLY | O_DIRECTORY | (int)(in->flags & O_NOATIME);
	auto_node struct fp_node n = {0};
	int r = fp_call_node(c, c->q->head.nodeid, &n);

	if (r == 0)
		r = fp_volume_rights(c->vol, c->q);
	if (r < 0)
		return r;
	if (n.in->type != S_IFDIR)
		return -ENOTDIR;
	int fd = fp_volume_reopen(c->vol, n.fd, flags | FLAGS_ALWAYS);
	return fd < 0 ? fd : reply_open(c, n.in, fd, flags);
}

/* fd (taken over) is a new or found regular file: its entry, then its handle. */
static int reply_created(struct fp_call *c, int fd, const char *name, uint32_t flags)
{
	auto_close int file = fd;
	auto_close int path = -1;
	auto_node struct fp_node n = {0};
	struct stat st;
	int r = fp_volume_check(c->vol, file, &st);

	if (r < 0)
		return r;
	path = fp_volume_reopen(c->vol, file, O_PATH);
	if (path < 0)
		return path;
	struct fuse_entry_out *entry = fp_call_out(c, sizeof(*entry));
	r = fp_call_entry(c, TAKE_FD(path), &st, c->q->head.nodeid, name, entry);
	if (r < 0)
		return r;
	uint64_t id = entry->nodeid;
	r = fp_call_node(c, id, &n);
	if (r == 0)
		r = reply_open(c, n.in, TAKE_FD(file), (int)(flags & O_ACCMODE));
	if (r < 0)
		fp_call_forget(c, id, 1);
	return r;
}

/* Somebody made it first, or we did before the reply was lost. */
static int open_existing(struct fp_call *c, int dir_fd, const struct fuse_create_in *in)
{
	const uint32_t kept = c->done ? FLAGS_KEPT & ~(uint32_t)O_TRUNC : FLAGS_KEPT;
	struct stat st;
	auto_close int path = fp_volume_lookup(c->vol, dir_fd, c->q->name[0], &st);
	int r;

	if (path < 0)
		return path;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : S_ISLNK(st.st_mode) ? -ELOOP : -EINVAL;
	r = truncation_rights(c, in->open_flags);
	if (r < 0)
		return r;
	return fp_volume_reopen(c->vol, path, (int)(in->flags & kept) | FLAGS_ALWAYS);
}

static int create_new(int dir_fd, const char *name, const struct open_how *how)
{
	int fd = (int)syscall(SYS_openat2, dir_fd, name, how, sizeof(*how));

	return fd < 0 ? -errno : fd;
}

int fp_op_create(struct fp_call *c)
{
	const struct fuse_create_in *in = c->q->arg;
	auto_node struct fp_node dir = {0};
	struct open_how how = {
		.flags = (in->flags & FLAGS_KEPT & ~(uint32_t)O_TRUNC) | FLAGS_ALWAYS | O_CREAT |
			 O_EXCL | O_NOFOLLOW,
		.mode = fp_volume_mode(c->vol, S_IFREG | (in->mode & 07777)) & 07777,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	/* What it opens would never be closed: the kernel makes the file and opens nothing. */
	int r = atomic_load(&c->vol->skips_open) ? -ENOSYS
						 : fp_call_node(c, c->q->head.nodeid, &dir);

	if (r == 0)
		r = fp_volume_rights(c->vol, c->q);
	if (r < 0)
		return r;
	fp_creds_umask(in->umask);
	/* Never O_CREAT alone: what is there might be a pipe or a device. */
	int fd = c->done ? -EEXIST : create_new(dir.fd, c->q->name[0], &how);
	if (fd == -EEXIST && (!(in->flags & O_EXCL) || c->again))
		fd = open_existing(c, dir.fd, in);
	return fd < 0 ? fd : reply_created(c, fd, c->q->name[0], in->flags);
}

int fp_op_tmpfile(struct fp_call *c)
{
	const struct fuse_create_in *in = c->q->arg;
	const mode_t mode = fp_volume_mode(c->vol, S_IFREG | (in->mode & 07777)) & 07777;
	int flags = (int)(in->flags & (O_ACCMODE | O_EXCL)) | O_TMPFILE | FLAGS_ALWAYS;
	auto_node struct fp_node dir = {0};
	char name[16];
	int r = atomic_load(&c->vol->skips_open) ? -ENOSYS
						 : fp_call_node(c, c->q->head.nodeid, &dir);

	if (r == 0)
		r = fp_volume_rights(c->vol, c->q);
	if (r < 0)
		return r;
	if (dir.in->type != S_IFDIR)
		return -ENOTDIR;
	fp_creds_umask(in->umask);
	(void)snprintf(name, sizeof(name), "%d", dir.fd);
	int fd = openat(c->vol->proc_fd, name, flags, mode);
	return fd < 0 ? -errno : reply_created(c, fd, NULL, in->flags);
}

int fp_op_release(struct fp_call *c)
{
	const struct fuse_release_in *in = c->q->arg;
	struct fp_file *f = fp_file_get(c->vol->files, in->fh, c->q->head.nodeid);
	uint8_t key[FP_KEY_SIZE];

	if (!f)
		return -EBADF;
	if (in->release_flags & FUSE_RELEASE_FLOCK_UNLOCK)
		fp_lock_drop(c->vol->locks, f->in, in->lock_owner, true);
	fp_lock_drop_file(c->vol->locks, f->in, in->fh);
	(void)fp_file_close(c->vol->files, in->fh);
	fp_file_put(c->vol->files, f);
	if (c->records) {
		fp_seal_file_key(in->fh, key);
		fp_item_put(c->items, FP_T_DROP, key, sizeof(key));
		c->n_items++;
	}
	return 0;
}

int fp_op_flush(struct fp_call *c)
{
	const struct fuse_flush_in *in = c->q->arg;
	auto_open struct fp_open o = {0};
	int r = fp_call_file(c, in->fh, c->q->head.nodeid, &o);

	if (r < 0)
		return r;
	if (!o.file)
		return -ENOSYS; /* and is not asked again */
	fp_lock_drop(c->vol->locks, o.file->in, in->lock_owner, false);
	/* Network file systems report at close what went wrong with writes. */
	if ((o.file->flags & O_ACCMODE) == O_RDONLY)
		return 0;
	int copy = fcntl(o.fd, F_DUPFD_CLOEXEC, 0);
	return copy >= 0 && close(copy) < 0 ? -errno : 0;
}
