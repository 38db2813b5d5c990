#include "fp_inode.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cleanup.h"
#include "fp_abi.h"
#include "xalloc.h"

#define BUCKETS 65536u
#define EVICT_TRIES 16 /* entries in use are looked at and passed over */

struct slot {
	struct fp_inode *in;
	uint32_t generation;
	uint32_t next_free; /* 0: none */
};

struct fp_inodes {
	pthread_mutex_t lock;
	int mount_fd;
	struct slot *slots; /* 0 is never used, 1 is the root */
	size_t n_slots, cap;
	uint32_t free_slot;
	size_t known, hot, hot_max;
	struct fp_inode *newest, *oldest; /* hot ones */
	struct fp_inode *buckets[BUCKETS];
};

static uint32_t bucket_of(uint64_t dev, uint64_t ino)
{
	uint64_t h = (ino ^ dev << 17) * 0x9e3779b97f4a7c15ull;

	return (uint32_t)(h >> 48) % BUCKETS;
}

int fp_handle_of(int fd, struct fp_handle *ret)
{
	struct fp_handle h = {.bytes = FP_HANDLE_MAX};
	int mount_id;

	if (name_to_handle_at(fd, "", (struct file_handle *)&h, &mount_id, AT_EMPTY_PATH) < 0)
		return errno == EOVERFLOW ? -EOPNOTSUPP : -errno;
	*ret = h;
	return 0;
}

static bool same_handle(const struct fp_handle *a, const struct fp_handle *b)
{
	return a->bytes == b->bytes && a->type == b->type &&
	       memcmp(a->data, b->data, a->bytes) == 0;
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

static void make_hot(struct fp_inodes *t, struct fp_inode *in, int fd)
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
}

/* An inode without a name lives only as long as its descriptor. */
static bool may_cool(const struct fp_inode *in)
{
	struct stat st;

	return in->refs == 0 && in->id != FUSE_ROOT_ID && fstat(in->fd, &st) == 0 &&
	       st.st_nlink > 0;
}

static bool cool(struct fp_inodes *t, struct fp_inode *in)
{
	if (!may_cool(in))
		return false;
	if (!in->handle) {
		struct fp_handle h;

		if (fp_handle_of(in->fd, &h) < 0)
			return false;
		in->handle = xmalloc(sizeof(h));
		*in->handle = h;
	}
	drop_fd(t, in);
	return true;
}

static void keep_within_limit(struct fp_inodes *t)
{
	for (int i = 0; i < EVICT_TRIES && t->hot > t->hot_max && t->oldest; i++) {
		struct fp_inode *in = t->oldest;

		if (cool(t, in))
			continue;
		unlink_hot(t, in);
		link_hot(t, in);
	}
}

/* --- slots and buckets --- */

static struct fp_inode *at_id(const struct fp_inodes *t, uint64_t id)
{
	uint32_t index = (uint32_t)id;

	if (index >= t->n_slots || !t->slots[index].in)
		return NULL;
	return t->slots[index].in->id == id ? t->slots[index].in : NULL;
}

static struct slot *grow_slots(struct fp_inodes *t, size_t n)
{
	while (t->n_slots < n) {
		t->slots = xgrow(t->slots, &t->cap, t->n_slots + 1, sizeof(*t->slots));
		t->slots[t->n_slots++] = (struct slot){0};
	}
	return &t->slots[n - 1];
}

/* Generations start anywhere, so that ids of an earlier process mean nothing to this one. */
static uint64_t take_slot(struct fp_inodes *t, struct fp_inode *in)
{
	uint32_t index = t->free_slot;
	struct slot *s;

	if (index) {
		s = &t->slots[index];
		t->free_slot = s->next_free;
	} else {
		index = (uint32_t)t->n_slots;
		s = grow_slots(t, t->n_slots + 1);
	}
	if (s->generation == 0)
		(void)!getrandom(&s->generation, sizeof(s->generation), 0);
	s->generation = (s->generation + 1) & 0x7fffffff;
	s->in = in;
	return (uint64_t)s->generation << 32 | index;
}

static void link_bucket(struct fp_inodes *t, struct fp_inode *in)
{
	struct fp_inode **b = &t->buckets[bucket_of(in->dev, in->ino)];

	in->chain = *b;
	*b = in;
}

static void unlink_bucket(struct fp_inodes *t, struct fp_inode *in)
{
	struct fp_inode **at = &t->buckets[bucket_of(in->dev, in->ino)];

	for (; *at; at = &(*at)->chain) {
		if (*at == in) {
			*at = in->chain;
			return;
		}
	}
}

static void maybe_free(struct fp_inodes *t, struct fp_inode *in)
{
	struct slot *s = &t->slots[(uint32_t)in->id];

	if (in->refs || in->lookups || in->restored)
		return;
	if (!in->stale)
		unlink_bucket(t, in);
	drop_fd(t, in);
	s->in = NULL;
	s->next_free = t->free_slot;
	t->free_slot = (uint32_t)in->id;
	t->known--;
	free(in->handle);
	free(in);
}

static struct fp_inode *new_inode(const struct stat *st)
{
	struct fp_inode *in = xcalloc(1, sizeof(*in));

	in->fd = -1;
	in->dev = st->st_dev;
	in->ino = st->st_ino;
	in->type = st->st_mode & S_IFMT;
	return in;
}

/* The number may have been given to another inode while nothing held this one. */
static bool is_same(const struct fp_inode *in, int fd)
{
	struct fp_handle h = {0};

	if (in->fd >= 0)
		return true;
	return in->handle && fp_handle_of(fd, &h) == 0 && same_handle(&h, in->handle);
}

static struct fp_inode *find(struct fp_inodes *t, int fd, const struct stat *st)
{
	struct fp_inode *in = t->buckets[bucket_of(st->st_dev, st->st_ino)];

	for (; in; in = in->chain) {
		if (in->dev != st->st_dev || in->ino != st->st_ino)
			continue;
		if (is_same(in, fd))
			return in;
		unlink_bucket(t, in);
		in->stale = true;
		return NULL;
	}
	return NULL;
}

/* --- what others call --- */

int fp_inodes_new(int mount_fd, size_t hot_max, struct fp_inodes **ret, struct err *err)
{
	auto_close int fd = openat(mount_fd, ".", O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "cannot open the volume's root");
	struct fp_inodes *t = xcalloc(1, sizeof(*t));
	struct fp_inode *root = new_inode(&st);
	(void)pthread_mutex_init(&t->lock, NULL);
	t->mount_fd = mount_fd;
	t->hot_max = hot_max;
	root->id = FUSE_ROOT_ID;
	root->lookups = 1;
	grow_slots(t, FUSE_ROOT_ID + 1)->in = root;
	t->known = 1;
	link_bucket(t, root);
	make_hot(t, root, TAKE_FD(fd));
	*ret = t;
	return 0;
}

void fp_inodes_free(struct fp_inodes *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_slots; i++) {
		struct fp_inode *in = t->slots[i].in;

		if (!in)
			continue;
		cleanup_close_p(&in->fd);
		free(in->handle);
		free(in);
	}
	free(t->slots);
	(void)pthread_mutex_destroy(&t->lock);
	free(t);
}

struct fp_inode *fp_inode_get(struct fp_inodes *t, uint64_t id)
{
	(void)pthread_mutex_lock(&t->lock);
	struct fp_inode *in = at_id(t, id);
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

/* Opens a cold inode again; what comes must be the one that went. */
static int reopen(const struct fp_inodes *t, const struct fp_inode *in)
{
	struct fp_handle h = *in->handle;
	auto_close int fd = open_by_handle_at(t->mount_fd, (struct file_handle *)&h,
					      O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : -ESTALE;
	if (fstat(fd, &st) < 0 || st.st_dev != in->dev || st.st_ino != in->ino ||
	    (st.st_mode & S_IFMT) != in->type)
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

int fp_inode_fd(struct fp_inodes *t, struct fp_inode *in)
{
	(void)pthread_mutex_lock(&t->lock);
	int fd = in->fd;
	bool gone = fd < 0 && (in->stale || !in->handle);
	(void)pthread_mutex_unlock(&t->lock);
	if (gone)
		return -ESTALE;
	if (fd >= 0)
		return fd;
	/* The disk may be slow: not under the lock. The handle stays while there is a reference. */
	fd = reopen(t, in);
	if (fd < 0)
		return fd;
	(void)pthread_mutex_lock(&t->lock);
	if (in->fd < 0) {
		make_hot(t, in, TAKE_FD(fd));
		keep_within_limit(t);
	}
	int got = in->fd;
	(void)pthread_mutex_unlock(&t->lock);
	cleanup_close_p(&fd);
	return got;
}

int fp_inode_add(struct fp_inodes *t, int fd, const struct stat *st, struct fp_inode **ret,
		 bool *ret_new)
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
		in = new_inode(st);
		in->id = take_slot(t, in);
		t->known++;
		link_bucket(t, in);
	}
	in->refs++;
	in->lookups++;
	if (in->fd < 0) {
		make_hot(t, in, TAKE_FD(own));
		keep_within_limit(t);
	}
	(void)pthread_mutex_unlock(&t->lock);
	*ret = in;
	return 0;
}

bool fp_inode_forget(struct fp_inodes *t, uint64_t id, uint64_t n)
{
	(void)pthread_mutex_lock(&t->lock);
	struct fp_inode *in = id == FUSE_ROOT_ID ? NULL : at_id(t, id);
	bool last = false;
	if (in) {
		/* What an earlier process owes comes on top of what this one knows of, and the
		 * kernel gives everything back at once. */
		if (n > in->lookups)
			in->restored = false;
		in->lookups -= n < in->lookups ? n : in->lookups;
		last = in->lookups == 0 && !in->restored;
		maybe_free(t, in);
	}
	(void)pthread_mutex_unlock(&t->lock);
	return last;
}

int fp_inode_handle(struct fp_inodes *t, struct fp_inode *in, struct fp_handle *ret)
{
	int r = 0;

	(void)pthread_mutex_lock(&t->lock);
	if (in->handle)
		*ret = *in->handle;
	else
		r = fp_handle_of(in->fd, ret);
	(void)pthread_mutex_unlock(&t->lock);
	return r;
}

int fp_inode_restore(struct fp_inodes *t, uint64_t id, const struct stat *st,
		     const struct fp_handle *handle)
{
	uint32_t index = (uint32_t)id;
	int r = 0;

	if (index <= FUSE_ROOT_ID || index > FP_INODES_MAX || handle->bytes > FP_HANDLE_MAX)
		return -EINVAL;
	(void)pthread_mutex_lock(&t->lock);
	if (index < t->n_slots && t->slots[index].in) {
		r = -EEXIST;
	} else {
		struct fp_inode *in = new_inode(st);

		in->id = id;
		in->restored = true;
		in->handle = xmalloc(sizeof(*handle));
		*in->handle = *handle;
		grow_slots(t, (size_t)index + 1);
		t->slots[index].in = in;
		t->slots[index].generation = (uint32_t)(id >> 32);
		t->known++;
		link_bucket(t, in);
	}
	(void)pthread_mutex_unlock(&t->lock);
	return r;
}

void fp_inodes_settle(struct fp_inodes *t)
{
	(void)pthread_mutex_lock(&t->lock);
	t->free_slot = 0;
	for (size_t i = t->n_slots; i-- > FUSE_ROOT_ID + 1;) {
		if (t->slots[i].in)
			continue;
		t->slots[i].next_free = t->free_slot;
		t->free_slot = (uint32_t)i;
	}
	(void)pthread_mutex_unlock(&t->lock);
}

struct fp_inode_counts fp_inodes_count(struct fp_inodes *t)
{
	(void)pthread_mutex_lock(&t->lock);
	struct fp_inode_counts c = {.known = t->known, .hot = t->hot};
	(void)pthread_mutex_unlock(&t->lock);
	return c;
}
