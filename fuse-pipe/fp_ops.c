#include "fp_ops.h"

#include <errno.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "cleanup.h"

#define MAX_READAHEAD (1u << 20)
#define MAX_BACKGROUND 256
#define PAGES (FP_MAX_WRITE / 4096)

void *fp_call_out(struct fp_call *c, size_t size)
{
	void *p = c->out + c->out_len;

	memset(p, 0, size);
	c->out_len += size;
	return p;
}

void fp_node_end(struct fp_node *n)
{
	if (n->in)
		fp_inode_put(n->vol->inodes, n->in);
	n->in = NULL;
}

int fp_call_node(struct fp_call *c, uint64_t id, struct fp_node *ret)
{
	int fd = fp_volume_node(c->vol, id, &ret->in);

	if (fd < 0)
		return fd;
	ret->vol = c->vol;
	ret->fd = fd;
	return 0;
}

void fp_open_end(struct fp_open *o)
{
	if (o->file)
		fp_file_put(o->vol->files, o->file);
	if (o->in)
		fp_inode_put(o->vol->inodes, o->in);
	o->file = NULL;
	o->in = NULL;
}

static int shared_data(struct fp_call *c, uint64_t node, struct fp_open *ret)
{
	int fd = fp_volume_node(c->vol, node, &ret->in);

	if (fd < 0)
		return fd;
	ret->vol = c->vol;
	fd = fp_volume_server_rights(c->vol);
	if (fd == 0)
		fd = fp_inode_data_fd(c->vol->inodes, ret->in, c->vol->proc_fd);
	ret->fd = fd;
	return fd < 0 ? fd : 0;
}

int fp_call_file(struct fp_call *c, uint64_t fh, uint64_t node, struct fp_open *ret)
{
	/* No handle is 0. A clone may serve the same mount with another cache. */
	if (fh == 0 && c->vol->opt.trust == FP_FULL && atomic_load(&c->vol->skips_open))
		return shared_data(c, node, ret);
	int fd = fp_volume_file(c->vol, fh, node, &ret->file);
	if (fd < 0)
		return fd;
	ret->vol = c->vol;
	ret->fd = fd;
	return 0;
}

int fp_call_data(struct fp_call *c, uint64_t fh, uint64_t node, struct fp_open *ret)
{
	int r = fp_call_file(c, fh, node, ret);

	return r == 0 && ret->file && atomic_load(&ret->file->lost_lock) ? -EIO : r;
}

void fp_call_valid(const struct fp_call *c, uint64_t *ret_s, uint32_t *ret_ns)
{
	uint32_t ms = c->vol->opt.cache == FP_STRICT ? 0 : c->vol->opt.timeout_ms;

	*ret_s = ms / 1000;
	*ret_ns = ms % 1000 * 1000000;
}

void fp_call_keep(struct fp_call *c, struct fp_inode *in)
{
	uint8_t key[FP_KEY_SIZE], value[FP_RECORD_MAX];
	struct fp_place place;

	if (!c->records || fp_inode_place(c->vol->inodes, in, &place) < 0)
		return;
	size_t len = fp_seal_node(c->vol->state, in, &place, key, value);
	fp_item_put_keep(c->items, key, value, len);
	c->n_items++;
}

static void put_entry(const struct fp_call *c, const struct fp_inode *in, const struct stat *st,
		      struct fuse_entry_out *ret)
{
	*ret = (struct fuse_entry_out){.nodeid = in->id};
	fp_call_valid(c, &ret->entry_valid, &ret->entry_valid_nsec);
	fp_call_valid(c, &ret->attr_valid, &ret->attr_valid_nsec);
	fp_volume_attr(c->vol, st, &ret->attr);
}

int fp_call_entry(struct fp_call *c, int path_fd, const struct stat *st, uint64_t dir,
		  const char *name, struct fuse_entry_out *ret)
{
	struct fp_inode *in = NULL;
	bool is_new;
	int r = fp_inode_add(c->vol->inodes, path_fd, st, dir, name, &in, &is_new);

	if (r < 0)
		return r;
	put_entry(c, in, st, ret);
	/* With the reply that was lost went the record. */
	if (is_new || c->q->resent)
		fp_call_keep(c, in);
	fp_inode_put(c->vol->inodes, in);
	return 0;
}

int fp_call_lookup(struct fp_call *c, const struct fp_node *dir, const char *name)
{
	struct stat st;
	int fd = fp_volume_lookup(c->vol, dir->fd, name, &st);

	if (fd < 0)
		return fd;
	struct fuse_entry_out *out = fp_call_out(c, sizeof(*out));
	int r = fp_call_entry(c, fd, &st, dir->in->id, name, out);
	if (r < 0)
		c->out_len -= sizeof(*out);
	return r;
}

/* --- operations without a file --- */

static const uint64_t wanted_flags =
	FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_DONT_MASK | FUSE_AUTO_INVAL_DATA |
	FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS |
	FUSE_HANDLE_KILLPRIV_V2 | FUSE_POSIX_ACL | FUSE_MAX_PAGES | FUSE_SETXATTR_EXT |
	FUSE_ATOMIC_O_TRUNC | FP_INIT_CREATE_SUPP_GROUP;
/* Without these a guest would send other messages, or leave to the host what it cannot know. */
static const uint64_t needed_flags = FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT | FUSE_MAX_PAGES |
				     FUSE_BIG_WRITES | FUSE_DONT_MASK | FUSE_POSIX_ACL;

/* Who in the guest may need its groups known here. */
static void put_rules(struct fp_call *c, bool supp_group)
{
	const uint16_t uid_at = offsetof(struct fuse_in_header, uid);
	const uint16_t valid_at = sizeof(struct fuse_in_header);
	const uint16_t open_flags_at =
		valid_at + (uint16_t)offsetof(struct fuse_open_in, open_flags);
	const uint32_t all = UINT32_MAX;
	const struct fp_group_rule full[] = {
		{FUSE_SETATTR, valid_at, FATTR_MODE | FATTR_GID | FATTR_KILL_SUIDGID},
		{FUSE_OPEN, open_flags_at, FUSE_OPEN_KILL_SUIDGID},
		{FUSE_SETXATTR, uid_at, all},
		{FUSE_CREATE, uid_at, all},
		{FUSE_MKDIR, uid_at, all},
		{FUSE_MKNOD, uid_at, all},
		{FUSE_SYMLINK, uid_at, all},
		{FUSE_TMPFILE, uid_at, all},
	};
	const struct fp_group_rule squash[] = {
		{FUSE_SETATTR, uid_at, all}, {FUSE_SETXATTR, uid_at, all},
		{FUSE_CREATE, uid_at, all},  {FUSE_MKDIR, uid_at, all},
		{FUSE_MKNOD, uid_at, all},   {FUSE_SYMLINK, uid_at, all},
		{FUSE_TMPFILE, uid_at, all}, {FUSE_LOOKUP, uid_at, all},
		{FUSE_OPEN, uid_at, all},    {FUSE_OPENDIR, uid_at, all},
		{FUSE_UNLINK, uid_at, all},  {FUSE_RMDIR, uid_at, all},
		{FUSE_RENAME, uid_at, all},  {FUSE_RENAME2, uid_at, all},
		{FUSE_LINK, uid_at, all},    {FUSE_READDIRPLUS, uid_at, all},
	};

	if (c->vol->opt.trust == FP_FULL)
		fp_item_put(c->items, FP_T_RULES, full,
			    supp_group ? 3 * sizeof(full[0]) : sizeof(full));
	else
		fp_item_put(c->items, FP_T_RULES, squash,
			    c->vol->opt.trust == FP_SQUASH ? sizeof(squash) : 0);
	c->n_items++;
}

static int op_init(struct fp_call *c)
{
	const struct fuse_init_in *in = c->q->arg;
	uint64_t offered = in->flags, flags = wanted_flags;

	if (in->major != FUSE_KERNEL_VERSION || !(in->flags & FUSE_INIT_EXT))
		return -EPROTO;
	offered |= (uint64_t)in->flags2 << 32;
	if ((offered & needed_flags) != needed_flags)
		return -EPROTO;
	if (c->vol->opt.cache != FP_PRIVATE)
		flags |= FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS;
	if (c->vol->opt.cache != FP_STRICT)
		flags |= FUSE_CACHE_SYMLINKS;
	/* Opening is a message less, and so is closing: the kernel is told at its first OPEN. */
	atomic_store(&c->vol->skips_open,
		     fp_volume_may_skip_open(c->vol) && (offered & FUSE_NO_OPEN_SUPPORT));
	fp_state_set_skips_open(c->vol->state, atomic_load(&c->vol->skips_open));
	if (atomic_load(&c->vol->skips_open))
		flags &= ~(uint64_t)FUSE_ATOMIC_O_TRUNC;
	flags = (flags & offered) | FUSE_INIT_EXT;
	struct fuse_init_out *out = fp_call_out(c, sizeof(*out));
	*out = (struct fuse_init_out){
		.major = FUSE_KERNEL_VERSION,
		.minor = in->minor < FUSE_KERNEL_MINOR_VERSION ? in->minor
							       : FUSE_KERNEL_MINOR_VERSION,
		.max_readahead =
			in->max_readahead < MAX_READAHEAD ? in->max_readahead : MAX_READAHEAD,
		.flags = (uint32_t)flags,
		.flags2 = (uint32_t)(flags >> 32),
		.max_background = MAX_BACKGROUND,
		.congestion_threshold = MAX_BACKGROUND * 3 / 4,
		.max_write = FP_MAX_WRITE,
		.time_gran = 1,
		.max_pages = PAGES,
	};
	put_rules(c, flags & FP_INIT_CREATE_SUPP_GROUP);
	atomic_store(&c->vol->ready, true);
	return 0;
}

static int op_destroy(struct fp_call *c)
{
	(void)c;
	return 0;
}

void fp_call_forget(struct fp_call *c, uint64_t id, uint64_t n)
{
	uint8_t key[FP_KEY_SIZE];

	if (!fp_inode_forget(c->vol->inodes, id, n) || !c->records)
		return;
	fp_seal_node_key(id, key);
	fp_item_put(c->items, FP_T_DROP, key, sizeof(key));
	c->n_items++;
}

/* The descriptor of a hot node pins its device and number: what has both is the node. */
bool fp_call_entry_hot(struct fp_call *c, int dir_fd, uint64_t ino, const char *name,
		       struct fuse_entry_out *ret)
{
	/* With a reply that was lost went the record. */
	struct fp_inode *in =
		c->q->resent ? NULL : fp_inode_add_hot(c->vol->inodes, c->vol->dev, ino);
	struct stat st;

	if (!in)
		return false;
	bool same = fp_volume_stat(c->vol, dir_fd, name, &st) == 0 && st.st_ino == ino;
	if (same)
		put_entry(c, in, &st, ret);
	else
		fp_call_forget(c, in->id, 1);
	fp_inode_put(c->vol->inodes, in);
	return same;
}

static int op_forget(struct fp_call *c)
{
	const struct fuse_forget_in *in = c->q->arg;

	fp_call_forget(c, c->q->head.nodeid, in->nlookup);
	return 0;
}

static int op_batch_forget(struct fp_call *c)
{
	const struct fuse_batch_forget_in *in = c->q->arg;

	while (c->n_forgotten < in->count && c->n_items < FP_ITEMS_MAX) {
		struct fuse_forget_one one;

		memcpy(&one, c->q->data + c->n_forgotten++ * sizeof(one), sizeof(one));
		fp_call_forget(c, one.nodeid, one.nlookup);
	}
	c->more = c->n_forgotten < in->count;
	return 0;
}

static int op_interrupt(struct fp_call *c)
{
	const struct fuse_interrupt_in *in = c->q->arg;

	fp_lock_interrupt(c->vol->locks, in->unique);
	return 0;
}

static int op_statfs(struct fp_call *c)
{
	auto_node struct fp_node n = {0};
	struct statfs st;
	int r = fp_call_node(c, c->q->head.nodeid, &n);

	if (r < 0)
		return r;
	if (fstatfs(n.fd, &st) < 0)
		return -errno;
	struct fuse_statfs_out *out = fp_call_out(c, sizeof(*out));
	out->st = (struct fuse_kstatfs){
		.blocks = st.f_blocks,
		.bfree = st.f_bfree,
		.bavail = st.f_bavail,
		.files = st.f_files,
		.ffree = st.f_ffree,
		.bsize = (uint32_t)st.f_bsize,
		.namelen = (uint32_t)st.f_namelen,
		.frsize = (uint32_t)st.f_frsize,
	};
	return 0;
}

static const fp_op_fn fns[FP_OPCODES] = {
	[FUSE_LOOKUP] = fp_op_lookup,
	[FUSE_FORGET] = op_forget,
	[FUSE_GETATTR] = fp_op_getattr,
	[FUSE_SETATTR] = fp_op_setattr,
	[FUSE_READLINK] = fp_op_readlink,
	[FUSE_SYMLINK] = fp_op_symlink,
	[FUSE_MKNOD] = fp_op_mknod,
	[FUSE_MKDIR] = fp_op_mkdir,
	[FUSE_UNLINK] = fp_op_unlink,
	[FUSE_RMDIR] = fp_op_rmdir,
	[FUSE_RENAME] = fp_op_rename,
	[FUSE_RENAME2] = fp_op_rename2,
	[FUSE_LINK] = fp_op_link,
	[FUSE_OPEN] = fp_op_open,
	[FUSE_READ] = fp_op_read,
	[FUSE_WRITE] = fp_op_write,
	[FUSE_STATFS] = op_statfs,
	[FUSE_RELEASE] = fp_op_release,
	[FUSE_FSYNC] = fp_op_fsync,
	[FUSE_SETXATTR] = fp_op_setxattr,
	[FUSE_GETXATTR] = fp_op_getxattr,
	[FUSE_LISTXATTR] = fp_op_listxattr,
	[FUSE_REMOVEXATTR] = fp_op_removexattr,
	[FUSE_FLUSH] = fp_op_flush,
	[FUSE_INIT] = op_init,
	[FUSE_OPENDIR] = fp_op_opendir,
	[FUSE_READDIR] = fp_op_readdir,
	[FUSE_READDIRPLUS] = fp_op_readdirplus,
	[FUSE_RELEASEDIR] = fp_op_release,
	[FUSE_FSYNCDIR] = fp_op_fsync,
	[FUSE_GETLK] = fp_op_getlk,
	[FUSE_SETLK] = fp_op_setlk,
	[FUSE_SETLKW] = fp_op_setlk,
	[FUSE_CREATE] = fp_op_create,
	[FUSE_TMPFILE] = fp_op_tmpfile,
	[FUSE_INTERRUPT] = op_interrupt,
	[FUSE_DESTROY] = op_destroy,
	[FUSE_BATCH_FORGET] = op_batch_forget,
	[FUSE_FALLOCATE] = fp_op_fallocate,
	[FUSE_LSEEK] = fp_op_lseek,
	[FUSE_COPY_FILE_RANGE] = fp_op_copy_file_range,
	[FUSE_SYNCFS] = fp_op_syncfs,
};

/* What must not run twice is noted before and after. A request that comes again is answered from
 * the note; when only the reply has to be made anew it is told so, or that what it finds done may
 * be its own work. */
static int run_once(struct fp_call *c)
{
	uint64_t unique = c->q->head.unique & ~FP_UNIQUE_RESENT;
	enum fp_log_found found = FP_LOG_NEW;
	int r = 0;

	if (c->q->resent)
		found = fp_log_find(c->vol->state, unique, &r);
	if (found == FP_LOG_DONE && r < 0)
		return r;
	c->again = found != FP_LOG_NEW;
	c->done = found == FP_LOG_DONE;
	if (c->done)
		return fns[c->q->head.opcode](c);
	struct fp_log_ticket ticket = fp_log_begin(c->vol->state, unique);
	r = fns[c->q->head.opcode](c);
	fp_log_end(c->vol->state, ticket, r);
	return r;
}

int fp_ops_run(struct fp_call *c)
{
	const struct fp_op *op = c->q->op;

	if (c->q->head.opcode != FUSE_INIT && !atomic_load(&c->vol->ready))
		return -EPROTO;
	if ((op->flags & FP_OP_WRITES) && c->vol->opt.read_only)
		return -EROFS;
	return op->flags & FP_OP_ONCE ? run_once(c) : fns[c->q->head.opcode](c);
}
