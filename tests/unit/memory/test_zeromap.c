#include "zeromap.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"

#define PAGE ((uint64_t)4096)

/* A file in memory: holes as on a disk. */
static int new_file(size_t size)
{
	int fd = memfd_create("zeromap", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void put(int fd, uint64_t at, const void *data, size_t len)
{
	cr_assert_eq(pwrite(fd, data, len, (off_t)at), (ssize_t)len);
}

Test(zeromap, an_empty_file_and_one_that_is_all_hole_are_known)
{
	auto_zeromap struct zeromap map = {0};
	auto_close int fd = new_file(100 * PAGE);

	cr_assert_eq(zeromap_scan(fd, 100 * PAGE, &map, NULL), 0);
	cr_expect_eq(zeromap_count(&map), 100);
	zeromap_free(&map);
	cr_assert_eq(zeromap_scan(fd, 0, &map, NULL), 0);
	cr_expect_eq(zeromap_count(&map), 0);
}

Test(zeromap, holes_and_written_zeroes_are_zero_and_one_byte_is_not)
{
	static const unsigned char zeroes[PAGE];
	auto_zeromap struct zeromap map = {0};
	auto_close int fd = new_file(1000 * PAGE);
	struct err err = {0};

	put(fd, 3 * PAGE, "x", 1);         /* first byte of a page */
	put(fd, 5 * PAGE - 1, "x", 1);     /* last byte of page 4 */
	put(fd, 10 * PAGE, zeroes, PAGE);  /* written, but zero */
	put(fd, 700 * PAGE + 100, "x", 1); /* beyond one chunk, inside a page */
	put(fd, 999 * PAGE, "x", 1);       /* the last page */
	cr_assert_eq(zeromap_scan(fd, 1000 * PAGE, &map, &err), 0, "%s", err.msg);
	for (uint64_t page = 0; page < 1000; page++) {
		bool data = page == 3 || page == 4 || page == 700 || page == 999;

		cr_expect_eq(zeromap_test(&map, page * PAGE), !data, "page %ju", (uintmax_t)page);
		cr_expect_eq(zeromap_test(&map, page * PAGE + 4095), !data);
	}
	cr_expect_eq(zeromap_count(&map), 996);
	cr_expect_not(zeromap_test(&map, UINT64_C(1) << 60), "beyond the end: not known");
}

Test(zeromap, data_that_fills_the_file_is_scanned_to_its_end)
{
	auto_zeromap struct zeromap map = {0};
	auto_close int fd = new_file(0);

	for (uint64_t page = 0; page < 600; page++)
		put(fd, page * PAGE + page % PAGE, "y", 1);
	cr_assert_eq(ftruncate(fd, (off_t)(600 * PAGE)), 0);
	cr_assert_eq(zeromap_scan(fd, 600 * PAGE, &map, NULL), 0);
	cr_expect_eq(zeromap_count(&map), 0);
}

Test(zeromap, a_partial_last_page_is_never_called_zero)
{
	auto_zeromap struct zeromap map = {0};
	auto_close int fd = new_file(2 * PAGE + 10);

	put(fd, 2 * PAGE, "\0", 1);
	cr_assert_eq(zeromap_scan(fd, 2 * PAGE + 10, &map, NULL), 0);
	cr_expect(zeromap_test(&map, PAGE));
	cr_expect_not(zeromap_test(&map, 2 * PAGE));
}

Test(zeromap, a_file_that_ends_too_early_is_an_error)
{
	struct zeromap map = {0};
	auto_close int fd = new_file(0);
	struct err err = {0};

	put(fd, 0, "x", 1);
	cr_expect_eq(zeromap_scan(fd, 2 * PAGE, &map, &err), -EIO);
	cr_expect_str_eq(err.msg, "snapshot memory ended at byte 1 while it was read");
	cr_expect_null(map.bits, "untouched");
}

Test(zeromap, marking_takes_whole_pages_within_the_range_only)
{
	static const struct {
		uint64_t offset, len;
		size_t pages;
	} cases[] = {
		{0, PAGE, 1},
		{1, PAGE, 0},
		{1, 2 * PAGE, 1},
		{0, PAGE - 1, 0},
		{0, 0, 0},
		{PAGE, 3 * PAGE, 3},
		{98 * PAGE, 9 * PAGE, 2},
		{200 * PAGE, PAGE, 0},
		{60 * PAGE, 10 * PAGE, 10},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_zeromap struct zeromap map = {0};

		zeromap_init(&map, 100 * PAGE);
		cr_expect_eq(zeromap_mark(&map, cases[i].offset, cases[i].len), cases[i].pages,
			     "%zu", i);
		cr_expect_eq(zeromap_count(&map), cases[i].pages, "%zu", i);
	}
}
