/* fp_ids.h - numbers for a guest that stand for things of ours: an index and a generation. A number
 * that was never given out, or whose thing is gone, stands for nothing. Not thread-safe: its
 * table's lock is the caller's. */
#ifndef FCVM_FUSE_PIPE_FP_IDS_H
#define FCVM_FUSE_PIPE_FP_IDS_H

#include <stddef.h>
#include <stdint.h>

#define FP_IDS_MAX (1u << 20)

struct fp_id_slot {
	void *item;
	uint32_t generation;
	uint32_t next_free; /* 0: none */
};

struct fp_ids {
	struct fp_id_slot *slots; /* 0 is never used */
	size_t n, cap;
	uint32_t free;
	uint32_t seed; /* of the generations places begin with */
};

void fp_ids_free(struct fp_ids *t);
/* A new number for item. */
uint64_t fp_ids_take(struct fp_ids *t, void *item);
/* NULL when it stands for nothing. */
void *fp_ids_get(const struct fp_ids *t, uint64_t id);
void fp_ids_drop(struct fp_ids *t, uint64_t id);
/* A number of an earlier process: -EEXIST when its place is taken, -EINVAL when it cannot be. */
int fp_ids_restore(struct fp_ids *t, uint64_t id, void *item);
/* After the last of those: what lies between is free. */
void fp_ids_settle(struct fp_ids *t);
/* Every place, taken (not NULL) or not: 0 <= i < t->n. */
void *fp_ids_at(const struct fp_ids *t, size_t i);

#endif
