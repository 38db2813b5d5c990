/* fuzz_fuse_request.c - FUSE messages as a guest sends them. What the decoder lets through keeps
 * every promise its users rely on: arguments and data lie inside the message, names are single
 * components, counts are true. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fp_decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond)              \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

static bool inside(const struct fp_frame *f, const void *at, size_t len)
{
	const uint8_t *p = at, *end = f->msg + f->msg_len;

	return p >= f->msg && p <= end && len <= (size_t)(end - p);
}

static void check_names(const struct fp_frame *f, const struct fp_request *q)
{
	for (size_t i = 0; i < 2; i++) {
		const char *name = q->name[i];

		CHECK(!name == !q->op->strings[i]);
		if (!name)
			continue;
		CHECK(inside(f, name, 1));
		size_t len = strnlen(name, (size_t)(f->msg + f->msg_len - (const uint8_t *)name));
		CHECK(inside(f, name, len + 1) && len > 0 && len < 4096);
		if (q->op->strings[i] != FP_S_NAME)
			continue;
		CHECK(len <= 255 && !memchr(name, '/', len));
		CHECK(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
	}
}

static void check_counts(const struct fp_request *q)
{
	if (q->head.opcode == FUSE_WRITE)
		CHECK(((const struct fuse_write_in *)q->arg)->size <= q->data_len);
	if (q->head.opcode == FUSE_SETXATTR)
		CHECK(((const struct fuse_setxattr_in *)q->arg)->size <= q->data_len);
	if (q->head.opcode == FUSE_BATCH_FORGET)
		CHECK(((const struct fuse_batch_forget_in *)q->arg)->count <=
		      q->data_len / sizeof(struct fuse_forget_one));
}

static void check_groups(const struct fp_frame *f, const struct fp_request *q)
{
	static uint8_t copy[4 * FP_GROUPS_MAX];

	if (!q->groups)
		return;
	CHECK(q->n_groups <= FP_GROUPS_MAX);
	CHECK(inside(f, q->groups, 4 * q->n_groups) ||
	      (q->groups >= f->trailer &&
	       4 * q->n_groups <= (size_t)(f->trailer + f->trailer_len - q->groups)));
	memcpy(copy, q->groups, 4 * q->n_groups);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Aligned, and not a byte longer than it says. */
	uint8_t *copy = size ? aligned_alloc(8, fp_pad(size)) : NULL;
	struct fp_frame f;
	struct fp_request q;
	size_t used = 0;

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	for (size_t at = 0; fp_frame_get(copy + at, size - at, &f, &used, NULL) == 1; at += used) {
		if (!f.msg || fp_decode(&f, &q) < 0)
			continue;
		CHECK(q.op == fp_op_find(q.head.opcode));
		CHECK(inside(&f, q.arg, q.op->arg_size) && (uintptr_t)q.arg % 8 == 0);
		CHECK(inside(&f, q.data, q.data_len));
		check_names(&f, &q);
		check_counts(&q);
		check_groups(&f, &q);
	}
	free(copy);
	return 0;
}
