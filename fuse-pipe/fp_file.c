#include "fp_file.h"

#include <errno.h>
#include <stdlib.h>

#include "cleanup.h"
#include "fp_ids.h"
#include "xalloc.h"

struct fp_files {
	pthread_mutex_t lock;
	struct fp_inodes *inodes;
	struct fp_ids ids;
	size_t n, max;
};

int fp_files_new(struct fp_inodes *inodes, size_t max, struct fp_files **ret, struct err *err)
{
	if (max == 0)
		return err_set(err, ERR_HOST, -ENFILE, "no descriptors left for open files");
	struct fp_files *t = xcalloc(1, sizeof(*t));
	(void)pthread_mutex_init(&t->lock, NULL);
	t->inodes = inodes;
	t->max = max;
	*ret = t;
	return 0;
}

static void free_file(struct fp_files *t, struct fp_file *f)
{
	int fd = f->fd;

	cleanup_close_p(&fd);
	fp_inode_put(t->inodes, f->in);
	(void)pthread_mutex_destroy(&f->lock);
	free(f);
}

void fp_files_free(struct fp_files *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->ids.n; i++)
		if (fp_ids_at(&t->ids, i))
			free_file(t, fp_ids_at(&t->ids, i));
	fp_ids_free(&t->ids);
	(void)pthread_mutex_destroy(&t->lock);
	free(t);
}

static struct fp_file *new_file(struct fp_inode *in, int fd, int flags)
{
	struct fp_file *f = xcalloc(1, sizeof(*f));

	(void)pthread_mutex_init(&f->lock, NULL);
	f->in = in;
	f->fd = fd;
	f->flags = flags;
	f->refs = 1;
	return f;
}

int fp_file_add(struct fp_files *t, struct fp_inode *in, int fd, int flags, uint64_t *ret_id)
{
	(void)pthread_mutex_lock(&t->lock);
	if (t->n >= t->max) {
		(void)pthread_mutex_unlock(&t->lock);
		return -ENFILE;
	}
	struct fp_file *f = new_file(in, fd, flags);
	f->id = fp_ids_take(&t->ids, f);
	t->n++;
	*ret_id = f->id;
	(void)pthread_mutex_unlock(&t->lock);
	return 0;
}

int fp_file_restore(struct fp_files *t, uint64_t id, struct fp_inode *in, int flags)
{
	struct fp_file *f = new_file(in, -1, flags);

	f->id = id;
	(void)pthread_mutex_lock(&t->lock);
	int r = t->n < t->max ? fp_ids_restore(&t->ids, id, f) : -ENFILE;
	if (r == 0)
		t->n++;
	(void)pthread_mutex_unlock(&t->lock);
	if (r < 0) {
		(void)pthread_mutex_destroy(&f->lock);
		free(f);
	}
	return r;
}

void fp_files_settle(struct fp_files *t)
{
	(void)pthread_mutex_lock(&t->lock);
	fp_ids_settle(&t->ids);
	(void)pthread_mutex_unlock(&t->lock);
}

struct fp_file *fp_file_get(struct fp_files *t, uint64_t id, uint64_t node)
{
	(void)pthread_mutex_lock(&t->lock);
	struct fp_file *f = fp_ids_get(&t->ids, id);
	if (f && f->in->id != node)
		f = NULL;
	if (f)
		f->refs++;
	(void)pthread_mutex_unlock(&t->lock);
	return f;
}

void fp_file_put(struct fp_files *t, struct fp_file *f)
{
	if (!f)
		return;
	(void)pthread_mutex_lock(&t->lock);
	bool last = --f->refs == 0;
	(void)pthread_mutex_unlock(&t->lock);
	if (last)
		free_file(t, f);
}

bool fp_file_close(struct fp_files *t, uint64_t id)
{
	(void)pthread_mutex_lock(&t->lock);
	struct fp_file *f = fp_ids_get(&t->ids, id);
	if (f) {
		fp_ids_drop(&t->ids, id);
		t->n--;
	}
	(void)pthread_mutex_unlock(&t->lock);
	fp_file_put(t, f);
	return f;
}

size_t fp_files_count(struct fp_files *t)
{
	(void)pthread_mutex_lock(&t->lock);
	size_t n = t->n;
	(void)pthread_mutex_unlock(&t->lock);
	return n;
}
