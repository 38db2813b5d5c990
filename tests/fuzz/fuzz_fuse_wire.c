/* fuzz_fuse_wire.c - hello and frames of fuse-pipe, as either side reads them: whatever is accepted
 * lies inside the input, in the limits, and is found again whole. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fp_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond)              \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

static void check_hello(const uint8_t *data)
{
	struct fp_hello h;
	uint8_t again[FP_HELLO_SIZE];

	if (fp_hello_get(data, &h, NULL) < 0)
		return;
	CHECK(h.stream < h.n_streams && h.n_streams <= FP_STREAMS_MAX);
	fp_hello_put(&h, again);
	CHECK(memcmp(again, data, 40) == 0);
}

static void check_frame(const struct fp_frame *f, const uint8_t *start, size_t used)
{
	static const struct fp_group_rule rules[] = {{4, 40, 1}, {9, 0, 0}};
	struct fp_item item;
	size_t pos = 0, n = 0;

	CHECK(f->msg_len <= FP_MSG_MAX && f->trailer_len <= FP_TRAILER_MAX);
	CHECK(used == FP_HEAD_SIZE + fp_pad(f->msg_len) + f->trailer_len);
	CHECK(f->trailer + f->trailer_len == start + used);
	CHECK(!f->msg == !!(f->flags & FP_F_BARE));
	while (fp_item_next(f, &pos, &item)) {
		CHECK(item.data >= f->trailer && item.data + item.len <= start + used);
		n++;
	}
	CHECK(n == f->n && pos == f->trailer_len);
	if (f->msg)
		(void)fp_wants_groups(rules, 2, f->msg, f->msg_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fp_frame f;
	size_t used = 0;

	if (size >= FP_HELLO_SIZE) {
		check_hello(data);
		data += FP_HELLO_SIZE;
		size -= FP_HELLO_SIZE;
	}
	while (fp_frame_get(data, size, &f, &used, NULL) == 1) {
		check_frame(&f, data, used);
		data += used;
		size -= used;
	}
	return 0;
}
