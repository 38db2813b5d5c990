/* fp_inode_back.c - inodes over the end of a process: what comes back with the guest's records,
 * what only lives while somebody has it open, and what takes its place. */
#include <errno.h>
#include <stdlib.h>

#include "cleanup.h"
#include "fp_inode_table.h"
#include "io.h"
#include "xalloc.h"

int fp_inode_restore(struct fp_inodes *t, uint64_t id, const struct stat *st,
		     const struct fp_place *place)
{
	struct fp_inode *in = fp_inode_new(st);

	in->id = id;
	in->restored = true;
	if (place->handle.bytes) {
		in->handle = xmalloc(sizeof(*in->handle));
		*in->handle = place->handle;
	}
	(void)pthread_mutex_lock(&t->lock);
	fp_inode_set_name(t, in, place->parent, place->by_name ? place->name : NULL);
	int r = fp_ids_restore(&t->ids, id, in);
	if (r == 0) {
		t->known++;
		fp_inodes_link(t, in);
	}
	(void)pthread_mutex_unlock(&t->lock);
	if (r < 0)
		fp_inode_free(in);
	return r;
}

void fp_inodes_settle(struct fp_inodes *t)
{
	(void)pthread_mutex_lock(&t->lock);
	fp_ids_settle(&t->ids);
	(void)pthread_mutex_unlock(&t->lock);
}

void fp_inodes_ready(struct fp_inodes *t)
{
	(void)pthread_mutex_lock(&t->lock);
	t->ready_ms = now_ms();
	(void)pthread_mutex_unlock(&t->lock);
}

struct fp_inode_counts fp_inodes_count(struct fp_inodes *t)
{
	(void)pthread_mutex_lock(&t->lock);
	struct fp_inode_counts c = {.known = t->known, .hot = t->hot};
	(void)pthread_mutex_unlock(&t->lock);
	return c;
}

size_t fp_inodes_nameless(struct fp_inodes *t, uint64_t *ids, size_t max)
{
	size_t n = 0;

	(void)pthread_mutex_lock(&t->lock);
	/* None of them is cold. */
	for (const struct fp_inode *in = t->newest; in && n < max; in = in->older) {
		struct stat st;

		if (in->type == S_IFREG && fstat(in->fd, &st) == 0 && st.st_nlink == 0)
			ids[n++] = in->id;
	}
	(void)pthread_mutex_unlock(&t->lock);
	return n;
}

int fp_inode_replace(struct fp_inodes *t, uint64_t id, int fd, const struct stat *st)
{
	auto_close int own = fd;

	(void)pthread_mutex_lock(&t->lock);
	struct fp_inode *in = fp_ids_get(&t->ids, id);
	int r = in && in->restored && in->fd < 0 && in->type == (st->st_mode & S_IFMT) ? 0
										       : -ESTALE;
	if (r == 0) {
		if (!in->stale)
			fp_inodes_unlink(t, in);
		free(TAKE_PTR(in->handle));
		free(TAKE_PTR(in->name));
		in->stale = false;
		in->dev = st->st_dev;
		in->ino = st->st_ino;
		fp_inodes_link(t, in);
		fp_inodes_make_hot(t, in, TAKE_FD(own));
		fp_inodes_keep_within_limit(t);
	}
	(void)pthread_mutex_unlock(&t->lock);
	return r;
}
