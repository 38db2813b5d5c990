#include "fp_locks.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "cleanup.h"
#include "fp_creds.h"
#include "fp_ranges.h"
#include "xalloc.h"

#define RETRY_MS 10
#define EARLY_MAX 64 /* interrupts that came before what they interrupt */

struct fp_lock {
	struct fp_lock *next; /* of the inode */
	struct fp_lock *all_next, **all_at;
	struct fp_inode *in; /* a reference */
	uint64_t owner;
	bool flock;
	uint32_t pid;
	uint64_t file;
	int fd;
	struct fp_ranges held;
};

struct wait {
	struct wait *next;
	struct fp_inode *in; /* a reference */
	struct fp_lock_want want;
	struct fp_lock_waiter who;
	int result;
};

struct fp_locks {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t thread;
	struct fp_inodes *inodes;
	int proc_fd;
	fp_lock_done done;
	struct fp_lock *all;
	size_t n, n_ranges;
	struct wait *waits;
	size_t n_waits;
	uint64_t early[EARLY_MAX];
	size_t n_early;
	bool stopping, kicked;
};

static int open_inode(const struct fp_locks *l, struct fp_inode *in)
{
	int path_fd = fp_inode_fd(l->inodes, in);
	char name[16];

	if (path_fd < 0)
		return path_fd;
	(void)snprintf(name, sizeof(name), "%d", path_fd);
	if (in->type != S_IFREG && in->type != S_IFDIR)
		return -EINVAL;
	int fd = openat(l->proc_fd, name, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		fd = openat(l->proc_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static struct fp_lock *find(const struct fp_inode *in, uint64_t owner, bool flock)
{
	struct fp_lock *k = in->locks;

	while (k && (k->owner != owner || k->flock != flock))
		k = k->next;
	return k;
}

static void link_all(struct fp_locks *l, struct fp_lock *k)
{
	k->all_next = l->all;
	k->all_at = &l->all;
	if (l->all)
		l->all->all_at = &k->all_next;
	l->all = k;
	l->n++;
}

static void unlink_all(struct fp_locks *l, struct fp_lock *k)
{
	*k->all_at = k->all_next;
	if (k->all_next)
		k->all_next->all_at = k->all_at;
	l->n--;
}

static int find_or_make(struct fp_locks *l, struct fp_inode *in, const struct fp_lock_want *want,
			struct fp_lock **ret)
{
	struct fp_lock *k = find(in, want->owner, want->flock);

	if (!k) {
		int fd = l->n < FP_LOCKS_MAX ? open_inode(l, in) : -ENOLCK;

		if (fd < 0)
			return fd;
		k = xcalloc(1, sizeof(*k));
		*k = (struct fp_lock){.next = in->locks,
				      .in = fp_inode_get(l->inodes, in->id),
				      .owner = want->owner,
				      .flock = want->flock,
				      .file = want->file,
				      .fd = fd};
		in->locks = k;
		link_all(l, k);
	}
	*ret = k;
	return 0;
}

static void kick(struct fp_locks *l)
{
	l->kicked = true;
	(void)pthread_cond_signal(&l->changed);
}

static int apply(struct fp_lock *k, const struct fp_lock_want *want)
{
	struct flock fl = {.l_type = want->type,
			   .l_whence = SEEK_SET,
			   .l_start = want->start,
			   .l_len = want->len};

	if (!want->flock)
		return fcntl(k->fd, F_OFD_SETLK, &fl) < 0 ? -errno : 0;
	int op = want->type == F_UNLCK ? LOCK_UN : want->type == F_WRLCK ? LOCK_EX : LOCK_SH;
	return flock(k->fd, op | LOCK_NB) < 0 ? -errno : 0;
}

static void note(struct fp_locks *l, struct fp_lock *k, const struct fp_lock_want *want, short type)
{
	int64_t end = want->flock || !want->len ? INT64_MAX : want->start + want->len - 1;

	l->n_ranges -= k->held.n;
	fp_ranges_set(&k->held, want->flock ? 0 : want->start, end, type);
	l->n_ranges += k->held.n;
}

/* Under the lock. */
static int set(struct fp_locks *l, struct fp_inode *in, const struct fp_lock_want *want)
{
	struct fp_lock *k = find(in, want->owner, want->flock);
	int r;

	if (!k && want->type == F_UNLCK)
		return 0;
	if (want->type != F_UNLCK && l->n_ranges + 2 > FP_RANGES_MAX)
		return -ENOLCK;
	r = find_or_make(l, in, want, &k);
	if (r < 0)
		return r;
	r = apply(k, want);
	if (r == -EACCES)
		r = -EAGAIN;
	/* A flock of another kind was let go of before this one was tried for. */
	if (r == -EAGAIN && want->flock)
		note(l, k, want, F_UNLCK);
	if (r == 0) {
		note(l, k, want, want->type);
		k->file = want->file;
		if (want->type != F_UNLCK) /* which names nobody */
			k->pid = want->pid;
		/* An unlock, and a lock made weaker, let others in. */
		if (want->type != F_WRLCK)
			kick(l);
	}
	return r;
}

int fp_lock_set(struct fp_locks *l, struct fp_inode *in, const struct fp_lock_want *want)
{
	(void)pthread_mutex_lock(&l->lock);
	int r = set(l, in, want);
	(void)pthread_mutex_unlock(&l->lock);
	return r;
}

/* The kernel does not tell whose an open file description lock is. Its owner is the one who finds
 * nothing in its way there. */
static uint32_t holder(const struct fp_inode *in, const struct fp_lock *asking,
		       const struct flock *held)
{
	for (const struct fp_lock *k = in->locks; k; k = k->next) {
		struct flock fl = {.l_type = F_WRLCK,
				   .l_whence = SEEK_SET,
				   .l_start = held->l_start,
				   .l_len = held->l_len};

		if (k != asking && !k->flock && fcntl(k->fd, F_OFD_GETLK, &fl) == 0 &&
		    fl.l_type == F_UNLCK)
			return k->pid;
	}
	return 0;
}

int fp_lock_get(struct fp_locks *l, struct fp_inode *in, struct fp_lock_want *want)
{
	struct flock fl = {.l_type = want->type,
			   .l_whence = SEEK_SET,
			   .l_start = want->start,
			   .l_len = want->len};
	struct fp_lock *k = NULL;

	(void)pthread_mutex_lock(&l->lock);
	int r = want->flock ? -EINVAL : find_or_make(l, in, want, &k);
	if (r == 0)
		r = fcntl(k->fd, F_OFD_GETLK, &fl) < 0 ? -errno : 0;
	if (r == 0) {
		want->type = fl.l_type;
		want->start = fl.l_start;
		want->len = fl.l_len;
		want->pid = fl.l_type == F_UNLCK ? 0 : holder(in, k, &fl);
	}
	(void)pthread_mutex_unlock(&l->lock);
	return r;
}

/* Under the lock; *at is what goes, which is put at the front of *gone. */
static void take_out(struct fp_locks *l, struct fp_lock **at, struct fp_lock **gone)
{
	struct fp_lock *k = *at;

	*at = k->next;
	cleanup_close_p(&k->fd);
	unlink_all(l, k);
	l->n_ranges -= k->held.n;
	kick(l);
	k->next = *gone;
	*gone = k;
}

static void free_lock(const struct fp_locks *l, struct fp_lock *k)
{
	cleanup_close_p(&k->fd);
	fp_inode_put(l->inodes, k->in);
	fp_ranges_free(&k->held);
	free(k);
}

static void release(struct fp_locks *l, struct fp_lock *gone)
{
	while (gone) {
		struct fp_lock *k = gone;

		gone = k->next;
		free_lock(l, k);
	}
}

void fp_lock_drop(struct fp_locks *l, struct fp_inode *in, uint64_t owner, bool flock)
{
	struct fp_lock *gone = NULL, **at = &in->locks;

	(void)pthread_mutex_lock(&l->lock);
	while (*at && ((*at)->owner != owner || (*at)->flock != flock))
		at = &(*at)->next;
	if (*at)
		take_out(l, at, &gone);
	(void)pthread_mutex_unlock(&l->lock);
	release(l, gone);
}

void fp_lock_drop_file(struct fp_locks *l, struct fp_inode *in, uint64_t file)
{
	struct fp_lock *gone = NULL, **at = &in->locks;

	(void)pthread_mutex_lock(&l->lock);
	while (*at) {
		if ((*at)->file == file)
			take_out(l, at, &gone);
		else
			at = &(*at)->next;
	}
	(void)pthread_mutex_unlock(&l->lock);
	release(l, gone);
}

void fp_locks_each(struct fp_locks *l, fp_lock_seen seen, void *data)
{
	(void)pthread_mutex_lock(&l->lock);
	for (const struct fp_lock *k = l->all; k; k = k->all_next) {
		for (size_t i = 0; i < k->held.n; i++) {
			const struct fp_range *r = &k->held.v[i];
			const struct fp_lock_want held = {
				.owner = k->owner,
				.flock = k->flock,
				.type = r->type,
				.start = r->start,
				.len = r->end == INT64_MAX ? 0 : r->end - r->start + 1,
				.pid = k->pid,
				.file = k->file};

			seen(data, k->in->id, &held);
		}
	}
	(void)pthread_mutex_unlock(&l->lock);
}

static bool came_early(struct fp_locks *l, uint64_t unique)
{
	for (size_t i = 0; i < EARLY_MAX; i++) {
		if (l->early[i] != unique)
			continue;
		l->early[i] = 0;
		return true;
	}
	return false;
}

int fp_lock_wait(struct fp_locks *l, struct fp_inode *in, const struct fp_lock_want *want,
		 const struct fp_lock_waiter *who)
{
	(void)pthread_mutex_lock(&l->lock);
	int r = set(l, in, want);
	if (r == -EAGAIN) {
		if (came_early(l, who->unique)) {
			r = -EINTR;
		} else if (l->n_waits >= FP_WAITS_MAX) {
			r = -ENOLCK;
		} else {
			struct wait *w = xcalloc(1, sizeof(*w));

			*w = (struct wait){.next = l->waits,
					   .in = fp_inode_get(l->inodes, in->id),
					   .want = *want,
					   .who = *who};
			l->waits = w;
			l->n_waits++;
			kick(l);
			r = 1;
		}
	}
	(void)pthread_mutex_unlock(&l->lock);
	return r;
}

void fp_lock_interrupt(struct fp_locks *l, uint64_t unique)
{
	bool found = false;

	(void)pthread_mutex_lock(&l->lock);
	for (struct wait *w = l->waits; w; w = w->next) {
		if (w->who.unique != unique)
			continue;
		w->result = -EINTR;
		found = true;
	}
	if (found)
		kick(l);
	else
		l->early[l->n_early++ % EARLY_MAX] = unique;
	(void)pthread_mutex_unlock(&l->lock);
}

void fp_locks_cancel(struct fp_locks *l, const void *group)
{
	(void)pthread_mutex_lock(&l->lock);
	for (struct wait *w = l->waits; w; w = w->next)
		if (!group || w->who.group == group)
			w->result = -EINTR;
	kick(l);
	(void)pthread_mutex_unlock(&l->lock);
}

size_t fp_locks_waiting(struct fp_locks *l)
{
	(void)pthread_mutex_lock(&l->lock);
	size_t n = l->n_waits;
	(void)pthread_mutex_unlock(&l->lock);
	return n;
}

/* --- the thread that tries again --- */

/* Takes those out that are over: oldest first, which are last in the list. */
static struct wait *try_all(struct fp_locks *l)
{
	struct wait *over = NULL, *reversed = NULL, *next;

	for (struct wait *w = l->waits; w; w = next) {
		next = w->next;
		w->next = reversed;
		reversed = w;
	}
	l->waits = NULL;
	for (struct wait *w = reversed; w; w = next) {
		next = w->next;
		if (l->stopping)
			w->result = -EINTR;
		if (w->result == 0) {
			int r = set(l, w->in, &w->want);

			w->result = r == -EAGAIN ? 1 : r;
		}
		struct wait **list = w->result == 1 ? &l->waits : &over;
		if (w->result == 1)
			w->result = 0;
		else
			l->n_waits--;
		w->next = *list;
		*list = w;
	}
	return over;
}

static void finish(struct fp_locks *l, struct wait *over)
{
	while (over) {
		struct wait *w = over;

		over = w->next;
		l->done(w->who.ticket, w->result);
		fp_inode_put(l->inodes, w->in);
		free(w);
	}
}

static void sleep_a_little(struct fp_locks *l)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += RETRY_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	(void)pthread_cond_timedwait(&l->changed, &l->lock, &until);
}

static void *retry(void *data)
{
	struct fp_locks *l = data;

	fp_creds_must_init(l->proc_fd);
	(void)pthread_mutex_lock(&l->lock);
	while (!l->stopping || l->waits) {
		if (!l->kicked && l->waits)
			sleep_a_little(l);
		else if (!l->kicked && !l->stopping)
			(void)pthread_cond_wait(&l->changed, &l->lock);
		l->kicked = false;
		struct wait *over = try_all(l);
		(void)pthread_mutex_unlock(&l->lock);
		finish(l, over);
		(void)pthread_mutex_lock(&l->lock);
	}
	(void)pthread_mutex_unlock(&l->lock);
	return NULL;
}

int fp_locks_new(struct fp_inodes *inodes, int proc_fd, fp_lock_done done, struct fp_locks **ret,
		 struct err *err)
{
	struct fp_locks *l = xcalloc(1, sizeof(*l));
	pthread_condattr_t attr;

	(void)pthread_mutex_init(&l->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&l->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	l->inodes = inodes;
	l->proc_fd = proc_fd;
	l->done = done;
	int r = pthread_create(&l->thread, NULL, retry, l);
	if (r != 0) {
		free(l);
		return err_sys_code(err, -r, "cannot start a thread");
	}
	*ret = l;
	return 0;
}

void fp_locks_free(struct fp_locks *l)
{
	if (!l)
		return;
	(void)pthread_mutex_lock(&l->lock);
	l->stopping = true;
	kick(l);
	(void)pthread_mutex_unlock(&l->lock);
	(void)pthread_join(l->thread, NULL);
	for (struct fp_lock *k = l->all, *next; k; k = next) {
		next = k->all_next;
		free_lock(l, k);
	}
	(void)pthread_cond_destroy(&l->changed);
	(void)pthread_mutex_destroy(&l->lock);
	free(l);
}
