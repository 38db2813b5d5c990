#include "fp_ids.h"

#include <criterion/criterion.h>
#include <errno.h>

static int a, b;

Test(fp_ids, a_number_stands_for_one_thing_as_long_as_it_is_there)
{
	struct fp_ids t = {0};
	uint64_t first = fp_ids_take(&t, &a);

	cr_expect_eq(fp_ids_get(&t, first), &a);
	cr_expect_null(fp_ids_get(&t, 0));
	cr_expect_null(fp_ids_get(&t, (uint32_t)first), "without its generation");
	cr_expect_null(fp_ids_get(&t, first + 1));
	cr_expect_null(fp_ids_get(&t, first + (1ull << 32)));
	fp_ids_drop(&t, first);
	cr_expect_null(fp_ids_get(&t, first));
	uint64_t second = fp_ids_take(&t, &b);
	cr_expect(second != first && (uint32_t)second == (uint32_t)first, "the place again");
	cr_expect_null(fp_ids_get(&t, first));
	fp_ids_free(&t);
}

Test(fp_ids, numbers_of_another_process_are_not_given_out_by_chance)
{
	struct fp_ids x = {0}, y = {0};
	int same = 0;

	for (int i = 0; i < 100; i++)
		same += fp_ids_take(&x, &a) == fp_ids_take(&y, &a);
	cr_expect_lt(same, 3);
	fp_ids_free(&x);
	fp_ids_free(&y);
}

Test(fp_ids, restored_numbers_keep_their_place)
{
	struct fp_ids t = {0};
	const uint64_t id = 5ull << 32 | 3;

	cr_expect_eq(fp_ids_restore(&t, id, &a), 0);
	cr_expect_eq(fp_ids_restore(&t, id, &b), -EEXIST);
	cr_expect_eq(fp_ids_restore(&t, 5ull << 32, &b), -EINVAL);
	cr_expect_eq(fp_ids_restore(&t, FP_IDS_MAX + 1, &b), -EINVAL);
	fp_ids_settle(&t);
	cr_expect_eq(fp_ids_get(&t, id), &a);
	for (uint32_t want = 1; want <= 4; want += want == 2 ? 2 : 1)
		cr_expect_eq((uint32_t)fp_ids_take(&t, &b), want);
	fp_ids_free(&t);
}

Test(fp_ids, every_place_can_be_looked_at)
{
	struct fp_ids t = {0};

	uint64_t first = fp_ids_take(&t, &a);
	(void)fp_ids_take(&t, &b);
	fp_ids_drop(&t, first);
	cr_assert_eq(t.n, 3);
	cr_expect(!fp_ids_at(&t, 0) && !fp_ids_at(&t, 1) && fp_ids_at(&t, 2) == &b);
	cr_expect_null(fp_ids_at(&t, 3));
	fp_ids_free(&t);
}
