#include "fp_ids.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "xalloc.h"

void fp_ids_free(struct fp_ids *t)
{
	free(t->slots);
	*t = (struct fp_ids){0};
}

static struct fp_id_slot *grow(struct fp_ids *t, size_t index)
{
	while (t->n <= index) {
		t->slots = xgrow(t->slots, &t->cap, t->n + 1, sizeof(*t->slots));
		t->slots[t->n++] = (struct fp_id_slot){0};
	}
	return &t->slots[index];
}

/* Generations start anywhere, so that numbers of an earlier process mean nothing to this one. One
 * number drawn is enough: each place makes another of it. */
static void next_generation(struct fp_ids *t, struct fp_id_slot *s, uint32_t index)
{
	while (t->seed == 0)
		(void)!getrandom(&t->seed, sizeof(t->seed), 0);
	if (s->generation == 0)
		s->generation = t->seed ^ index * 0x9e3779b1u;
	s->generation = (s->generation + 1) & 0x7fffffff;
}

uint64_t fp_ids_take(struct fp_ids *t, void *item)
{
	uint32_t index = t->free ? t->free : t->n > 1 ? (uint32_t)t->n : 1;
	struct fp_id_slot *s = grow(t, index);

	t->free = s->next_free;
	s->next_free = 0;
	next_generation(t, s, index);
	s->item = item;
	return (uint64_t)s->generation << 32 | index;
}

void *fp_ids_get(const struct fp_ids *t, uint64_t id)
{
	uint32_t index = (uint32_t)id;

	if (index >= t->n || t->slots[index].generation != id >> 32)
		return NULL;
	return t->slots[index].item;
}

void fp_ids_drop(struct fp_ids *t, uint64_t id)
{
	struct fp_id_slot *s = &t->slots[(uint32_t)id];

	s->item = NULL;
	s->next_free = t->free;
	t->free = (uint32_t)id;
}

int fp_ids_restore(struct fp_ids *t, uint64_t id, void *item)
{
	uint32_t index = (uint32_t)id;

	if (index == 0 || index > FP_IDS_MAX)
		return -EINVAL;
	if (fp_ids_at(t, index))
		return -EEXIST;
	struct fp_id_slot *s = grow(t, index);
	s->generation = (uint32_t)(id >> 32);
	s->item = item;
	return 0;
}

void fp_ids_settle(struct fp_ids *t)
{
	t->free = 0;
	for (size_t i = t->n; i-- > 1;) {
		if (t->slots[i].item)
			continue;
		t->slots[i].next_free = t->free;
		t->free = (uint32_t)i;
	}
}

void *fp_ids_at(const struct fp_ids *t, size_t i)
{
	return i < t->n ? t->slots[i].item : NULL;
}
