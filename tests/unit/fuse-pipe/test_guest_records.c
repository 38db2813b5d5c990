#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "fp_wire.h"
#include "frame.h"
#include "guest_records.h"

static int keep(struct guest_records *records, uint64_t key, const char *value)
{
	auto_buf struct buf data = BUF_INIT(FP_KEY_SIZE + FP_RECORD_MAX);

	store_le64(memset(buf_grow(&data, FP_KEY_SIZE), 0, FP_KEY_SIZE), key);
	buf_add_str(&data, value);
	return guest_records_keep(records, (const uint8_t *)data.data, data.len, NULL);
}

static void drop(struct guest_records *records, uint64_t key)
{
	uint8_t data[FP_KEY_SIZE] = {0};

	store_le64(data, key);
	guest_records_drop(records, data);
}

/* Reads all frames as the host does; the sum of keys, and how many frames. */
static uint64_t read_back(const struct guest_records *records, size_t *ret_n, size_t *ret_frames)
{
	struct guest_records_pos pos = {0};
	auto_buf struct buf out = BUF_INIT(FP_FRAME_MAX);
	uint64_t sum = 0;
	bool more = true;

	*ret_n = *ret_frames = 0;
	while (more) {
		struct fp_frame f;
		struct fp_item item;
		size_t used = 0, at = 0;
		struct err err = {0};

		buf_reset(&out);
		more = guest_records_frame(records, &pos, &out);
		cr_assert_eq(fp_frame_get((const uint8_t *)out.data, out.len, &f, &used, &err), 1,
			     "%s", err.msg);
		cr_expect_eq(used, out.len);
		cr_expect_eq(f.flags, more ? FP_F_BARE : FP_F_BARE | FP_F_END);
		while (fp_item_next(&f, &at, &item)) {
			cr_expect_eq(item.type, FP_T_KEEP);
			sum += load_le64(item.data);
			++*ret_n;
		}
		++*ret_frames;
	}
	return sum;
}

Test(guest_records, no_records_are_one_frame_that_says_so)
{
	struct guest_records records = {0};
	size_t n, frames;

	cr_expect_eq(read_back(&records, &n, &frames), 0);
	cr_expect_eq(n, 0);
	cr_expect_eq(frames, 1);
}

Test(guest_records, all_are_handed_back_in_frames_of_bounded_size)
{
	struct guest_records records = {0};
	char value[FP_RECORD_MAX + 1];
	size_t n, frames;

	memset(value, 'v', FP_RECORD_MAX);
	value[FP_RECORD_MAX] = '\0';
	for (uint64_t key = 1; key <= 3000; key++)
		cr_assert_eq(keep(&records, key, value), 0);
	cr_expect_eq(read_back(&records, &n, &frames), 3000ull * 3001 / 2);
	cr_expect_eq(n, 3000);
	cr_expect_gt(frames, 3000 / FP_ITEMS_MAX);
	guest_records_free(&records);
}

Test(guest_records, a_key_has_one_value_and_may_be_dropped)
{
	struct guest_records records = {0};
	size_t n, frames;

	drop(&records, 7);
	cr_expect_eq(keep(&records, 7, "old"), 0);
	cr_expect_eq(keep(&records, 7, "newer"), 0);
	cr_expect_eq(keep(&records, 8, "other"), 0);
	cr_expect_eq(records.n, 2);
	drop(&records, 7);
	drop(&records, 7);
	cr_expect_eq(read_back(&records, &n, &frames), 8);
	cr_expect_eq(n, 1);
	guest_records_free(&records);
}

Test(guest_records, a_record_of_no_or_too_many_bytes_is_refused)
{
	static const uint8_t data[FP_KEY_SIZE + FP_RECORD_MAX + 1];
	struct guest_records records = {0};

	cr_expect_eq(guest_records_keep(&records, data, FP_KEY_SIZE, NULL), -EPROTO);
	cr_expect_eq(guest_records_keep(&records, data, sizeof(data), NULL), -EPROTO);
	cr_expect_eq(records.n, 0);
}

/* A million names and some open files are more: the mount goes on all the same. */
Test(guest_records, beyond_the_limit_another_one_is_not_kept)
{
	struct guest_records records = {0};
	size_t n, frames;

	cr_assert_eq(keep(&records, 7, "old"), 0);
	records.n = FP_RECORDS_MAX;
	cr_expect_eq(keep(&records, 8, "other"), 0);
	cr_expect_eq(records.n, FP_RECORDS_MAX);
	cr_expect_eq(keep(&records, 7, "newer"), 0, "in place of the old one");
	records.n = 1;
	cr_expect_eq(read_back(&records, &n, &frames), 7);
	cr_expect_eq(n, 1);
	guest_records_free(&records);
}
