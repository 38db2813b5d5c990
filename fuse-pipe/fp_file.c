#include "fp_file.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "cleanup.h"
#include "xalloc.h"

#define FILES_MAX (1u << 20)

struct slot {
	struct fp_file *file;
	uint32_t generation;
	uint32_t next_free; /* 0: none */
};

struct fp_files {
	pthread_mutex_t lock;
	struct fp_inodes *inodes;
	struct slot *slots; /* 0 is never used */
	size_t n_slots, cap, n, max;
	uint32_t free_slot;
};

int fp_files_new(struct fp_inodes *inodes, size_t max, struct fp_files **ret, struct err *err)
{
	if (max == 0)
		return err_set(err, ERR_HOST, -ENFILE, "no descriptors left for open files");
	struct fp_files *t = xcalloc(1, sizeof(*t));
	(void)pthread_mutex_init(&t->lock, NULL);
	t->inodes = inodes;
	t->max = max;
	t->slots = xgrow(NULL, &t->cap, 1, sizeof(*t->slots));
	t->slots[t->n_slots++] = (struct slot){0};
	*ret = t;
	return 0;
}

static void free_file(struct fp_files *t, struct fp_file *f)
{
	cleanup_close_p(&f->fd);
	fp_inode_put(t->inodes, f->in);
	(void)pthread_mutex_destroy(&f->lock);
	free(f);
}

void fp_files_free(struct fp_files *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_slots; i++)
		if (t->slots[i].file)
			free_file(t, t->slots[i].file);
	free(t->slots);
	(void)pthread_mutex_destroy(&t->lock);
	free(t);
}

static struct slot *grow_slots(struct fp_files *t, size_t n)
{
	while (t->n_slots < n) {
		t->slots = xgrow(t->slots, &t->cap, t->n_slots + 1, sizeof(*t->slots));
		t->slots[t->n_slots++] = (struct slot){0};
	}
	return &t->slots[n - 1];
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
	uint32_t index = t->free_slot ? t->free_slot : (uint32_t)t->n_slots;
	struct slot *s = t->free_slot ? &t->slots[index] : grow_slots(t, t->n_slots + 1);
	t->free_slot = s->next_free;
	s->next_free = 0;
	/* As with nodes: ids of an earlier process mean nothing to this one. */
	if (s->generation == 0)
		(void)!getrandom(&s->generation, sizeof(s->generation), 0);
	s->generation = (s->generation + 1) & 0x7fffffff;
	s->file = new_file(in, fd, flags);
	s->file->id = (uint64_t)s->generation << 32 | index;
	t->n++;
	*ret_id = s->file->id;
	(void)pthread_mutex_unlock(&t->lock);
	return 0;
}

int fp_file_restore(struct fp_files *t, uint64_t id, struct fp_inode *in, int flags)
{
	uint32_t index = (uint32_t)id;
	int r = 0;

	if (index == 0 || index > FILES_MAX)
		return -EINVAL;
	(void)pthread_mutex_lock(&t->lock);
	if (t->n >= t->max) {
		r = -ENFILE;
	} else if (index < t->n_slots && t->slots[index].file) {
		r = -EEXIST;
	} else {
		struct slot *s =
			index < t->n_slots ? &t->slots[index] : grow_slots(t, (size_t)index + 1);

		s->generation = (uint32_t)(id >> 32);
		s->file = new_file(in, -1, flags);
		s->file->id = id;
		t->n++;
	}
	(void)pthread_mutex_unlock(&t->lock);
	return r;
}

void fp_files_settle(struct fp_files *t)
{
	(void)pthread_mutex_lock(&t->lock);
	t->free_slot = 0;
	for (size_t i = t->n_slots; i-- > 1;) {
		if (t->slots[i].file)
			continue;
		t->slots[i].next_free = t->free_slot;
		t->free_slot = (uint32_t)i;
	}
	(void)pthread_mutex_unlock(&t->lock);
}

static struct fp_file *at_id(const struct fp_files *t, uint64_t id)
{
	uint32_t index = (uint32_t)id;
	struct fp_file *f = index < t->n_slots ? t->slots[index].file : NULL;

	return f && f->id == id ? f : NULL;
}

struct fp_file *fp_file_get(struct fp_files *t, uint64_t id, uint64_t node)
{
	(void)pthread_mutex_lock(&t->lock);
	struct fp_file *f = at_id(t, id);
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
	struct fp_file *f = at_id(t, id);
	if (f) {
		struct slot *s = &t->slots[(uint32_t)id];

		s->file = NULL;
		s->next_free = t->free_slot;
		t->free_slot = (uint32_t)id;
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
