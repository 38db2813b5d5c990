#include "buf.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

Test(buf, is_an_empty_string_before_anything_is_added)
{
	auto_buf struct buf b = BUF_INIT(10);

	cr_expect_str_eq(buf_str(&b), "");
	cr_expect(buf_ok(&b));
	buf_add(&b, NULL, 0);
	cr_assert_not_null(b.data);
	cr_expect_eq(b.data[0], '\0');
}

Test(buf, pieces_of_every_kind_are_joined_and_terminated)
{
	auto_buf struct buf b = BUF_INIT(SIZE_MAX);

	buf_add_str(&b, "web");
	buf_add_char(&b, '-');
	buf_addf(&b, "%d/%s", 7, "x");
	buf_add(&b, "\0z", 2);
	cr_expect_eq(b.len, 9);
	cr_expect_eq(memcmp(b.data, "web-7/x\0z", 10), 0);
}

Test(buf, text_beyond_the_limit_is_cut_and_stays_cut)
{
	auto_buf struct buf b = BUF_INIT(5);

	buf_add_str(&b, "hello");
	cr_expect(buf_ok(&b), "exactly full is no overflow");
	buf_add_str(&b, "!");
	cr_expect_not(buf_ok(&b));
	cr_expect_str_eq(buf_str(&b), "hello");
	buf_consume(&b, 3);
	buf_add_str(&b, "x");
	cr_expect_str_eq(buf_str(&b), "lo", "what came after a gap would mislead");
}

Test(buf, formatted_text_is_cut_like_any_other)
{
	auto_buf struct buf b = BUF_INIT(4);

	buf_addf(&b, "%s", "abcdef");
	cr_expect_str_eq(buf_str(&b), "abcd");
	cr_expect_not(buf_ok(&b));
}

Test(buf, a_limit_of_zero_takes_nothing)
{
	auto_buf struct buf b = BUF_INIT(0);

	buf_add_char(&b, 'x');
	cr_expect_not(buf_ok(&b));
	cr_expect_str_eq(buf_str(&b), "");
}

Test(buf, grow_is_all_or_nothing)
{
	auto_buf struct buf b = BUF_INIT(8);
	char *p = buf_grow(&b, 6);

	cr_assert_not_null(p);
	memcpy(p, "abcdef", 6); /* NOLINT(bugprone-not-null-terminated-result) */
	cr_expect_eq(b.len, 6);
	cr_expect_null(buf_grow(&b, 3));
	cr_expect_not(buf_ok(&b));
	cr_expect_str_eq(buf_str(&b), "abcdef");
	buf_reset(&b);
	cr_expect(buf_ok(&b));
	cr_expect_null(buf_grow(&b, SIZE_MAX), "no wrap around");
	buf_reset(&b);
	cr_expect_not_null(buf_grow(&b, 8));
}

Test(buf, an_unlimited_buffer_refuses_what_no_memory_could_hold)
{
	auto_buf struct buf b = BUF_INIT(SIZE_MAX);

	buf_add_str(&b, "x");
	cr_expect_null(buf_grow(&b, SIZE_MAX - 1));
	cr_expect_eq(b.len, 1);
}

Test(buf, consume_drops_from_the_front_and_no_more_than_there_is)
{
	auto_buf struct buf b = BUF_INIT(100);

	buf_consume(&b, 5);
	buf_add_str(&b, "abcdef");
	buf_consume(&b, 2);
	cr_expect_str_eq(buf_str(&b), "cdef");
	buf_consume(&b, 100);
	cr_expect_str_eq(buf_str(&b), "");
	cr_expect_eq(b.len, 0);
}

Test(buf, detach_hands_the_string_over_and_starts_anew)
{
	auto_buf struct buf b = BUF_INIT(3);

	buf_add_str(&b, "abcd");
	char *s = buf_detach(&b);
	cr_expect_str_eq(s, "abc");
	free(s);
	cr_expect_eq(b.max, 3);
	cr_expect(buf_ok(&b));
	s = buf_detach(&b);
	cr_expect_str_eq(s, "", "never NULL");
	free(s);
}

Test(buf, many_small_pieces_need_few_allocations)
{
	auto_buf struct buf b = BUF_INIT(SIZE_MAX);
	size_t moves = 0, cap = 0;

	for (int i = 0; i < 100000; i++) {
		buf_add_char(&b, 'x');
		moves += b.cap != cap;
		cap = b.cap;
	}
	cr_expect_eq(b.len, 100000);
	cr_expect_lt(moves, 20);
}
