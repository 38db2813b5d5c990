#include "table.h"

#include "cleanup.h"

#include <criterion/criterion.h>
#include <stdint.h>

static const char *const headings[] = {"NAME", ">PID", "STATE"};

Test(table, columns_are_as_wide_as_their_widest_cell)
{
	auto_table struct table *t = table_new(headings, 3);
	auto_buf struct buf out = BUF_INIT(SIZE_MAX);

	table_cell(t, "hello.web-0");
	table_cellf(t, "%d", 12345);
	table_cell(t, "ready");
	table_cell(t, "x");
	table_cell(t, "7");
	table_cell(t, NULL);
	table_print(t, &out);
	cr_expect_str_eq(buf_str(&out), "NAME           PID  STATE\n"
					"hello.web-0  12345  ready\n"
					"x                7  -\n");
}

Test(table, without_rows_the_headings_are_printed)
{
	auto_table struct table *t = table_new(headings, 3);
	auto_buf struct buf out = BUF_INIT(SIZE_MAX);

	table_print(t, &out);
	cr_expect_str_eq(buf_str(&out), "NAME  PID  STATE\n");
}

Test(table, width_counts_characters_not_bytes)
{
	static const char *const two[] = {"A", "B"};
	auto_table struct table *t = table_new(two, 2);
	auto_buf struct buf out = BUF_INIT(SIZE_MAX);

	table_cell(t, "\xc3\xa4\xe2\x82\xac"); /* two characters, five bytes */
	table_cell(t, "b");
	table_cell(t, "xy");
	table_cell(t, "b");
	table_print(t, &out);
	cr_expect_str_eq(buf_str(&out), "A   B\n\xc3\xa4\xe2\x82\xac  b\nxy  b\n");
}

Test(table, an_unfinished_row_ends_all_the_same)
{
	auto_table struct table *t = table_new(headings, 3);
	auto_buf struct buf out = BUF_INIT(SIZE_MAX);

	table_cell(t, "a");
	table_print(t, &out);
	cr_expect_str_eq(buf_str(&out), "NAME  PID  STATE\na\n");
}
