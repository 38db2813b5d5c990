#include "regions.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "cleanup.h"

#define FILE_SIZE 0x100000u /* 256 pages */
#define TOP UINT64_MAX

static const struct region low = {.base = 0x10000, .size = 0x8000, .offset = 0};
static const struct region high = {.base = 0x7f0000000000, .size = 0x4000, .offset = 0x8000};

static struct regions two(void)
{
	struct regions r = {.n = 0, .page_size = REGIONS_PAGE};

	cr_assert_eq(regions_add(&r, &low, FILE_SIZE, NULL), 0);
	cr_assert_eq(regions_add(&r, &high, FILE_SIZE, NULL), 0);
	return r;
}

Test(regions, what_is_not_whole_pages_inside_the_file_is_refused)
{
	static const struct {
		struct region region;
		int code;
		const char *message;
	} cases[] = {
		{{0x20000, 0, 0x10000},
		 -EINVAL,
		 "memory region at 0x20000, size 0x0, offset 0x10000: expected whole pages of 4096 "
		 "bytes"},
		{{0x20001, 0x1000, 0x10000},
		 -EINVAL,
		 "memory region at 0x20001, size 0x1000, offset 0x10000: expected whole pages of "
		 "4096 bytes"},
		{{0x20000, 0x1800, 0x10000},
		 -EINVAL,
		 "memory region at 0x20000, size 0x1800, offset 0x10000: expected whole pages of "
		 "4096 bytes"},
		{{0x20000, 0x1000, 0x10200},
		 -EINVAL,
		 "memory region at 0x20000, size 0x1000, offset 0x10200: expected whole pages of "
		 "4096 bytes"},
		{{TOP - 0xfff, 0x2000, 0x10000},
		 -EOVERFLOW,
		 "memory region at 0xfffffffffffff000, size 0x2000 ends beyond the address space"},
		{{0x20000, 0x2000, 0xff000},
		 -ERANGE,
		 "memory region at offset 0xff000, size 0x2000: expected it inside the memory file "
		 "of 0x100000 bytes"},
		{{0x20000, 0x1000, TOP - 0xfff},
		 -ERANGE,
		 "memory region at offset 0xfffffffffffff000, size 0x1000: expected it inside the "
		 "memory file of 0x100000 bytes"},
		{{0x17000, 0x1000, 0x10000},
		 -EINVAL,
		 "memory regions at 0x10000 and 0x17000 overlap"},
		{{0xf000, 0x100000 - 0x10000, 0x10000},
		 -EINVAL,
		 "memory regions at 0x10000 and 0xf000 overlap"},
		{{0x20000, 0x1000, 0x7000},
		 -EINVAL,
		 "memory regions at 0x10000 and 0x20000 overlap"},
		{{0x20000, 0x1000, 0xb000},
		 -EINVAL,
		 "memory regions at 0x7f0000000000 and 0x20000 overlap"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct regions r = two();
		struct err err = {0};

		cr_expect_eq(regions_add(&r, &cases[i].region, FILE_SIZE, &err), cases[i].code);
		cr_expect_str_eq(err.msg, cases[i].message);
		cr_expect_eq(r.n, 2, "untouched");
	}
}

Test(regions, neighbours_that_touch_do_not_overlap)
{
	struct regions r = two();
	const struct region between = {.base = 0x18000, .size = 0x1000, .offset = 0xc000};

	cr_expect_eq(regions_add(&r, &between, FILE_SIZE, NULL), 0);
}

Test(regions, the_whole_address_space_below_its_last_page_can_be_described)
{
	struct regions r = {.n = 0, .page_size = REGIONS_PAGE};
	const struct region last = {.base = TOP - 0x1fff, .size = 0x1000, .offset = 0};
	uint64_t page = 0, offset = 1;

	cr_expect_eq(regions_add(&r, &last, FILE_SIZE, NULL), 0);
	cr_expect(regions_find_page(&r, TOP - 0x1000, &page, &offset));
	cr_expect_eq(page, TOP - 0x1fff);
	cr_expect_eq(offset, 0);
	cr_expect_not(regions_find_page(&r, TOP, &page, &offset));
}

Test(regions, huge_pages_are_whole_ones_too)
{
	static const uint64_t huge = REGIONS_HUGE_PAGE;
	static const struct region ragged[] = {
		{.base = 0x10000, .size = huge, .offset = 0},
		{.base = huge, .size = huge + REGIONS_PAGE, .offset = 0},
		{.base = huge, .size = huge, .offset = REGIONS_PAGE},
	};
	const struct region good = {.base = 3 * huge, .size = 2 * huge, .offset = huge};
	struct regions r = {.page_size = huge};
	struct err err = {0};
	uint64_t page = 0, offset = 0;

	for (size_t i = 0; i < ARRAY_SIZE(ragged); i++) {
		cr_expect_eq(regions_add(&r, &ragged[i], 8 * huge, &err), -EINVAL);
		cr_expect(strstr(err.msg, ": expected whole pages of 2097152 bytes"), "%s",
			  err.msg);
	}
	cr_assert_eq(regions_add(&r, &good, 8 * huge, &err), 0, "%s", err.msg);
	cr_expect(regions_find_page(&r, 5 * huge - 1, &page, &offset));
	cr_expect_eq(page, 4 * huge);
	cr_expect_eq(offset, 2 * huge);
}

Test(regions, there_is_a_limit)
{
	struct regions r = {.n = 0, .page_size = REGIONS_PAGE};
	struct err err = {0};

	for (uint64_t i = 0; i < REGIONS_MAX; i++) {
		const struct region one = {
			.base = 0x10000 + i * 0x1000, .size = 0x1000, i * 0x1000};

		cr_assert_eq(regions_add(&r, &one, FILE_SIZE, &err), 0);
	}
	const struct region more = {.base = 0x90000, .size = 0x1000, .offset = 0x90000};
	cr_expect_eq(regions_add(&r, &more, FILE_SIZE, &err), -E2BIG);
	cr_expect_str_eq(err.msg, "more than 16 memory regions");
}

Test(regions, an_address_leads_to_its_page_in_the_file_or_nowhere)
{
	static const struct {
		uint64_t addr;
		bool found;
		uint64_t page, offset;
	} cases[] = {
		{0xffff, false, 0, 0},
		{0x10000, true, 0x10000, 0},
		{0x10fff, true, 0x10000, 0},
		{0x11000, true, 0x11000, 0x1000},
		{0x17fff, true, 0x17000, 0x7000},
		{0x18000, false, 0, 0},
		{0x7effffffffff, false, 0, 0},
		{0x7f0000003123, true, 0x7f0000003000, 0xb000},
		{0x7f0000004000, false, 0, 0},
		{0, false, 0, 0},
		{TOP, false, 0, 0},
	};
	struct regions r = two();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t page = 0, offset = 0;

		cr_expect_eq(regions_find_page(&r, cases[i].addr, &page, &offset), cases[i].found,
			     "0x%jx", (uintmax_t)cases[i].addr);
		cr_expect_eq(page, cases[i].page);
		cr_expect_eq(offset, cases[i].offset);
	}
}

Test(regions, a_range_is_cut_to_a_region)
{
	static const struct {
		uint64_t start, end;
		bool some;
		uint64_t offset, len;
	} cases[] = {
		{0x10000, 0x18000, true, 0, 0x8000},      {0, TOP, true, 0, 0x8000},
		{0x12000, 0x13000, true, 0x2000, 0x1000}, {0x17000, 0x19000, true, 0x7000, 0x1000},
		{0x18000, 0x19000, false, 0, 0},          {0x13000, 0x13000, false, 0, 0},
		{0x14000, 0x13000, false, 0, 0},          {0xf000, 0x10000, false, 0, 0},
	};
	struct regions r = two();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t offset = 0, len = 0;

		cr_expect_eq(regions_clip(&r, 0, cases[i].start, cases[i].end, &offset, &len),
			     cases[i].some, "%zu", i);
		cr_expect_eq(offset, cases[i].offset);
		cr_expect_eq(len, cases[i].len);
	}
}
