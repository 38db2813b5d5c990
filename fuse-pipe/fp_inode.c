#include "fp_inode.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "fp_abi.h"
#include "fp_inode_table.h"
#include "io.h"
#include "xalloc.h"

#define DEPTH_MAX 256  /* cold directories above a cold inode, where names are places */
#define CROSS_MS 1000  /* a FORGET may have been on its way for so long */
#define EVICT_TRIES 16 /* entries in use are looked at and passed over */

static uint32_t bucket_of(uint64_t dev, uint64_t ino)
{
	uint64_t h = (ino ^ dev << 17) * 0x9e3779b97f4a7c15ull;

	return (uint32_t)(h >> 48) % FP_INODE_BUCKETS;
}

/* --- the order of hot inodes; all below under the lock --- */

static void unlink_hot(struct fp_inodes *t, struct fp_inode *in)
{
	*(in->newer ? &in->newer->older : &t->newest) = in->older;
	*(in->older ? &in->older->newer : &t->oldest) = in->newer;
	in->newer = in->older = NULL;
}

static void link_hot(struct fp_inodes *t, struct fp_inode *in)
{
	in->older = t->newest;
	*(t->newest ? &t->newest->newer : &t->oldest) = in;
	t->newest = in;
}

void fp_inodes_make_hot(struct fp_inodes *t, struct fp_inode *in, int fd)
{
	in->fd = fd;
	link_hot(t, in);
	t->hot++;
}

static void drop_fd(struct fp_inodes *t, struct fp_inode *in)
{
	if (in->fd < 0)
		return;
	unlink_hot(t, in);
	cleanup_close_p(&in->fd);
	t->hot--;
	if (in->data_fd >= 0)
		t->hot--;
	cleanup_close_p(&in->data_fd);
}

/* An inode without a name lives only as long as its descriptor. */
static bool may_cool(const struct fp_inode *in)
{
	struct stat st;

	return in->refs == 0 && in->id != FUSE_ROOT_ID && fstat(in->fd, &st) == 0 &&
	       st.st_nlink > 0;
}

static void learn_handle(struct fp_inode *in)
{
	struct fp_handle h;

	if (in->handle || fp_handle_of(in->fd, &h) < 0)
		return;
	in->handle = xmalloc(sizeof(h));
	*in->handle = h;
}

static bool cool(struct fp_inodes *t, struct fp_inode *in)
{
	if (!may_cool(in))
		return false;
	/* Where names are places a handle still tells one inode of a number from the next. */
	learn_handle(in);
	if (t->by_handle ? !in->handle : !in->name)
		return false;
	drop_fd(t, in);
	return true;
}

void fp_inodes_keep_within_limit(struct fp_inodes *t)
{
	for (int i = 0; i < EVICT_TRIES && t->hot > t->hot_max && t->oldest; i++) {
		struct fp_inode *in = t->oldest;

		if (cool(t, in))
			continue;
		unlink_hot(t, in);
		link_hot(t, in);
	}
}

/* --- buckets --- */

void fp_inodes_link(struct fp_inodes *t, struct fp_inode *in)
{
	struct fp_inode **b = &t->buckets[bucket_of(in->dev, in->ino)];

	in->chain = *b;
	*b = in;
}

void fp_inodes_unlink(struct fp_inodes *t, struct fp_inode *in)
{
	struct fp_inode **at = &t->buckets[bucket_of(in->dev, in->ino)];

	while (*at && *at != in)
		at = &(*at)->chain;
	if (*at)
		*at = in->chain;
}

void fp_inode_free(struct fp_inode *in)
{
	free(in->handle);
	free(in->name);
	free(in);
}

static void maybe_free(struct fp_inodes *t, struct fp_inode *in)
{
	if (in->refs || in->lookups || in->restored)
		return;
	if (!in->stale)
		fp_inodes_unlink(t, in);
	drop_fd(t, in);
	fp_ids_drop(&t->ids, in->id);
	t->known--;
	fp_inode_free(in);
}

struct fp_inode *fp_inode_new(const struct stat *st)
{
	struct fp_inode *in = xcalloc(1, sizeof(*in));

	in->fd = in->data_fd = -1;
	in->dev = st->st_dev;
	in->ino = st->st_ino;
	in->type = st->st_mode & S_IFMT;
	return in;
}

/* The number may have been given to another inode while nothing held this one. */
static bool is_same(const struct fp_inode *in, int fd)
{
	struct fp_handle h = {0};

	/* Pinned, or of a file system that has no handles. */
	if (in->fd >= 0 || !in->handle)
		return true;
	return fp_handle_of(fd, &h) == 0 && fp_handle_same(&h, in->handle);
}

static struct fp_inode *in_bucket(const struct fp_inodes *t, uint64_t dev, uint64_t ino)
{
	struct fp_inode *in = t->buckets[bucket_of(dev, ino)];

	while (in && (in->dev != dev || in->ino != ino))
		in = in->chain;
	return in;
}

static void make_stale(struct fp_inodes *t, struct fp_inode *in)
{
	if (!in->stale)
		fp_inodes_unlink(t, in);
	in->stale = true;
}

static struct fp_inode *find(struct fp_inodes *t, int fd, const struct stat *st)
{
	struct fp_inode *in;

	while ((in = in_bucket(t, st->st_dev, st->st_ino)) && !is_same(in, fd))
		make_stale(t, in);
	return in;
}

void fp_inode_set_name(const struct fp_inodes *t, struct fp_inode *in, uint64_t parent,
		       const char *name)
{
	if (t->by_handle || !name || (in->name && in->parent == parent && !strcmp(in->name, name)))
		return;
	free(in->name);
	in->name = xstrdup(name);
	in->parent = parent;
}

/* --- what others call --- */

int fp_inodes_new(int mount_fd, size_t hot_max, struct fp_inodes **ret, struct err *err)
{
	auto_close int fd = openat(mount_fd, ".", O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "cannot open the volume's root");
	struct fp_inodes *t = xcalloc(1, sizeof(*t));
	struct fp_inode *root = fp_inode_new(&st);
	(void)pthread_mutex_init(&t->lock, NULL);
	t->mount_fd = mount_fd;
	t->hot_max = hot_max;
	t->by_handle = fp_handles_work(mount_fd);
	root->id = FUSE_ROOT_ID;
	root->lookups = 1;
	(void)fp_ids_restore(&t->ids, FUSE_ROOT_ID, root);
	t->known = 1;
	fp_inodes_link(t, root);
	fp_inodes_make_hot(t, root, TAKE_FD(fd));
	*ret = t;
	return 0;
}

void fp_inodes_free(struct fp_inodes *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->ids.n; i++) {
		struct fp_inode *in = fp_ids_at(&t->ids, i);

		if (!in)
			continue;
		cleanup_close_p(&in->fd);
		cleanup_close_p(&in->data_fd);
		fp_inode_free(in);
	}
	fp_ids_free(&t->ids);
	(void)pthread_mutex_destroy(&t->lock);
	free(t);
}

struct fp_inode *fp_inode_get(struct fp_inodes *t, uint64_t id)
{
	(void)pthread_mutex_lock(&t->lock);
	struct fp_inode *in = fp_ids_get(&t->ids, id);
	if (in) {
		in->refs++;
		if (in->fd >= 0 && t->newest != in) {
			unlink_hot(t, in);
			link_hot(t, in);
		}
	}
	(void)pthread_mutex_unlock(&t->lock);
	return in;
}

void fp_inode_put(struct fp_inodes *t, struct fp_inode *in)
{
	if (!in)
		return;
	(void)pthread_mutex_lock(&t->lock);
	in->refs--;
	maybe_free(t, in);
	(void)pthread_mutex_unlock(&t->lock);
}

static int open_inode(struct fp_inodes *t, struct fp_inode *in, int depth);

static int open_by_name(struct fp_inodes *t, const struct fp_place *at, int depth)
{
	struct fp_inode *dir = depth < DEPTH_MAX ? fp_inode_get(t, at->parent) : NULL;
	int fd = dir ? open_inode(t, dir, depth + 1) : -ESTALE;

	if (fd >= 0)
		fd = fp_name_open(fd, at->name);
	fp_inode_put(t, dir);
	return fd;
}

/* Opens a cold inode again; what comes must be the one that went. */
static int reopen(struct fp_inodes *t, struct fp_inode *in, int depth)
{
	struct fp_place at;
	struct stat st;
	int r = fp_inode_place(t, in, &at);

	if (r < 0)
		return -ESTALE;
	auto_close int fd =
		at.by_name ? open_by_name(t, &at, depth) : fp_handle_open(t->mount_fd, &at.handle);
	if (fd < 0)
		return fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM ? fd : -ESTALE;
	if (fstat(fd, &st) < 0 || st.st_dev != in->dev || st.st_ino != in->ino ||
	    (st.st_mode & S_IFMT) != in->type || !is_same(in, fd))
		return -ESTALE;
	return TAKE_FD(fd);
}

int fp_inode_hot_fd(struct fp_inodes *t, struct fp_inode *in)
{
	(void)pthread_mutex_lock(&t->lock);
	int fd = in->fd;
	(void)pthread_mutex_unlock(&t->lock);
	return fd;
}

static int open_inode(struct fp_inodes *t, struct fp_inode *in, int depth)
{
	(void)pthread_mutex_lock(&t->lock);
	int fd = in->fd;
	bool gone = fd < 0 && in->stale;
	(void)pthread_mutex_unlock(&t->lock);
	if (gone)
		return -ESTALE;
	if (fd >= 0)
		return fd;
	/* The disk may be slow: not under the lock. */
	fd = reopen(t, in, depth);
	if (fd < 0)
		return fd;
	(void)pthread_mutex_lock(&t->lock);
	if (in->fd < 0) {
		fp_inodes_make_hot(t, in, TAKE_FD(fd));
		fp_inodes_keep_within_limit(t);
	}
	int got = in->fd;
	(void)pthread_mutex_unlock(&t->lock);
	cleanup_close_p(&fd);
	return got;
}

int fp_inode_fd(struct fp_inodes *t, struct fp_inode *in)
{
	return open_inode(t, in, 0);
}

int fp_inode_data_fd(struct fp_inodes *t, struct fp_inode *in, int proc_fd)
{
	int path_fd = fp_inode_fd(t, in);

	if (path_fd < 0 || in->type != S_IFREG)
		return path_fd < 0 ? path_fd : -EBADF;
	(void)pthread_mutex_lock(&t->lock);
	int fd = in->data_fd;
	(void)pthread_mutex_unlock(&t->lock);
	if (fd >= 0)
		return fd;
	fd = fp_data_open(proc_fd, path_fd);
	if (fd < 0)
		return fd;
	(void)pthread_mutex_lock(&t->lock);
	if (in->data_fd < 0) {
		in->data_fd = TAKE_FD(fd);
		t->hot++;
		fp_inodes_keep_within_limit(t);
	}
	int got = in->data_fd;
	(void)pthread_mutex_unlock(&t->lock);
	cleanup_close_p(&fd);
	return got;
}

static void look_up(struct fp_inode *in)
{
	in->refs++;
	in->lookups++;
	if (in->restored)
		in->looked_ms = now_ms();
}

int fp_inode_add(struct fp_inodes *t, int fd, const struct stat *st, uint64_t parent,
		 const char *name, struct fp_inode **ret, bool *ret_new)
{
	auto_close int own = fd;

	(void)pthread_mutex_lock(&t->lock);
	struct fp_inode *in = find(t, own, st);
	*ret_new = !in;
	if (!in && t->known >= FP_INODES_MAX) {
		(void)pthread_mutex_unlock(&t->lock);
		return -ENFILE;
	}
	if (!in) {
		in = fp_inode_new(st);
		in->id = fp_ids_take(&t->ids, in);
		t->known++;
		fp_inodes_link(t, in);
	}
	look_up(in);
	fp_inode_set_name(t, in, parent, name);
	if (in->fd < 0) {
		fp_inodes_make_hot(t, in, TAKE_FD(own));
		fp_inodes_keep_within_limit(t);
	}
	(void)pthread_mutex_unlock(&t->lock);
	*ret = in;
	return 0;
}

struct fp_inode *fp_inode_add_hot(struct fp_inodes *t, uint64_t dev, uint64_t ino)
{
	(void)pthread_mutex_lock(&t->lock);
	struct fp_inode *in = t->by_handle ? in_bucket(t, dev, ino) : NULL;
	if (in && in->fd >= 0)
		look_up(in);
	else
		in = NULL;
	(void)pthread_mutex_unlock(&t->lock);
	return in;
}

/* Its descriptor keeps its blocks. */
static bool is_nameless(const struct fp_inode *in)
{
	struct stat st;

	return in->fd >= 0 && fstat(in->fd, &st) == 0 && st.st_nlink == 0;
}

/* What an earlier process owes comes on top of what this one knows of, and the kernel gives
 * everything back at once. But it may have done so before it heard of the last lookups, and have
 * those now: they stay, and with them perhaps some that it has given back, until there is no name.
 * What it could not send while a stream was away it sends when that is ready. */
static void give_back(const struct fp_inodes *t, struct fp_inode *in, uint64_t n)
{
	if (in->restored && n > in->lookups) {
		const uint64_t sent_ms = in->looked_ms > t->ready_ms ? in->looked_ms : t->ready_ms;

		in->restored = false;
		in->unsure = in->lookups && now_ms() < sent_ms + CROSS_MS;
		n = in->unsure ? 0 : n;
	}
	in->lookups -= n < in->lookups ? n : in->lookups;
	if (in->unsure && is_nameless(in))
		in->lookups = 0;
}

bool fp_inode_forget(struct fp_inodes *t, uint64_t id, uint64_t n)
{
	(void)pthread_mutex_lock(&t->lock);
	struct fp_inode *in = id == FUSE_ROOT_ID ? NULL : fp_ids_get(&t->ids, id);
	bool last = false;
	if (in) {
		give_back(t, in, n);
		last = in->lookups == 0 && !in->restored;
		/* Who has it in use goes on. Found again it would get its record back on one stream
		 * while it is dropped on another. */
		if (last)
			make_stale(t, in);
		maybe_free(t, in);
	}
	(void)pthread_mutex_unlock(&t->lock);
	return last;
}

struct fp_inode *fp_inode_moved(struct fp_inodes *t, const struct stat *st, uint64_t parent,
				const char *name)
{
	if (t->by_handle)
		return NULL;
	(void)pthread_mutex_lock(&t->lock);
	struct fp_inode *in = in_bucket(t, st->st_dev, st->st_ino);
	if (in) {
		in->refs++;
		fp_inode_set_name(t, in, parent, name);
	}
	(void)pthread_mutex_unlock(&t->lock);
	return in;
}

int fp_inode_place(struct fp_inodes *t, struct fp_inode *in, struct fp_place *ret)
{
	*ret = (struct fp_place){.by_name = !t->by_handle};
	(void)pthread_mutex_lock(&t->lock);
	if (in->fd >= 0)
		learn_handle(in);
	if (in->handle)
		ret->handle = *in->handle;
	if (in->name)
		(void)snprintf(ret->name, sizeof(ret->name), "%s", in->name);
	ret->parent = in->parent;
	bool found = ret->by_name ? in->name != NULL : in->handle != NULL;
	(void)pthread_mutex_unlock(&t->lock);
	return found ? 0 : -EOPNOTSUPP;
}
