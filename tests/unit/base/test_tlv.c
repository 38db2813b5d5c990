#include "tlv.h"

#include "cleanup.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static const uint8_t *bytes(const struct buf *b)
{
	return (const uint8_t *)buf_str(b);
}

Test(tlv, fields_come_back_in_order)
{
	auto_buf struct buf b = BUF_INIT(1000);
	auto_free char *name = NULL;
	size_t pos = 0;
	struct tlv t;
	uint64_t n = 0;

	tlv_put_str(&b, 1, "web");
	tlv_put_str(&b, 2, NULL);
	tlv_put_u64(&b, 3, 0xfffffffffffffffe);
	tlv_put(&b, 4, NULL, 0);
	cr_expect_eq(tlv_next(bytes(&b), b.len, &pos, &t, NULL), 1);
	cr_expect_eq(t.tag, 1);
	cr_expect_eq(tlv_str(&t, 10, &name, NULL), 0);
	cr_expect_str_eq(name, "web");
	cr_expect_eq(tlv_next(bytes(&b), b.len, &pos, &t, NULL), 1);
	cr_expect_eq(t.tag, 3, "NULL puts nothing");
	cr_expect_eq(tlv_u64(&t, &n, NULL), 0);
	cr_expect_eq(n, 0xfffffffffffffffe);
	cr_expect_eq(tlv_next(bytes(&b), b.len, &pos, &t, NULL), 1);
	cr_expect(t.tag == 4 && t.len == 0);
	cr_expect_eq(tlv_next(bytes(&b), b.len, &pos, &t, NULL), 0);
	cr_expect_eq(tlv_next(bytes(&b), b.len, &pos, &t, NULL), 0);
}

Test(tlv, the_bytes_on_the_wire_are_fixed)
{
	auto_buf struct buf b = BUF_INIT(1000);

	tlv_put_str(&b, 0x102, "ab");
	cr_assert_eq(b.len, 10);
	cr_expect_eq(memcmp(b.data, "\x02\x01\0\0\x02\0\0\0ab", 10), 0);
}

Test(tlv, hostile_fields_are_refused_with_their_numbers)
{
	static const struct {
		const char *body;
		size_t len;
		const char *msg;
	} cases[] = {
		{"\1", 1, "field head cut after 1 bytes"},
		{"\1\0\0\0\0\0\0", 7, "field head cut after 7 bytes"},
		{"\1\0\0\0\1\0\0\0", 8, "field 1 of 1 bytes runs past the message by 1"},
		{"\2\0\0\0\xff\xff\xff\xff"
		 "ab",
		 10, "field 2 of 4294967295 bytes runs past the message by 4294967293"},
		{"\3\0\1\0\0\0\0\0", 8, "field 3 has reserved bits set"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tlv t = {.tag = 99};
		struct err err = {0};
		size_t pos = 0;

		cr_expect_eq(tlv_next((const uint8_t *)cases[i].body, cases[i].len, &pos, &t, &err),
			     -EBADMSG);
		cr_expect_str_eq(err.msg, cases[i].msg);
		cr_expect(pos == 0 && t.tag == 99);
		cr_expect_eq(err.class, ERR_GUEST);
	}
}

Test(tlv, a_position_beyond_the_body_is_the_end)
{
	struct tlv t;
	size_t pos = 50;

	cr_expect_eq(tlv_next((const uint8_t *)"", 0, &pos, &t, NULL), 0);
}

Test(tlv, text_is_bounded_and_has_no_zero_byte)
{
	struct tlv zero = {.tag = 5, .len = 3, .value = (const uint8_t *)"a\0b"};
	struct tlv longer = {.tag = 6, .len = 11, .value = (const uint8_t *)"hello world"};
	struct tlv empty = {.tag = 7, .len = 0, .value = NULL};
	char *text = NULL;
	struct err err = {0};

	cr_expect_eq(tlv_str(&zero, 10, &text, &err), -EBADMSG);
	cr_expect_str_eq(err.msg, "field 5 has a zero byte in its text");
	cr_expect_eq(tlv_str(&longer, 10, &text, &err), -EBADMSG);
	cr_expect_str_eq(err.msg, "field 6 of 11 bytes, limit 10");
	cr_expect_null(text);
	cr_expect_eq(tlv_str(&empty, 10, &text, &err), 0);
	cr_expect_str_eq(text, "");
	cleanup_free_p(&text);
}

Test(tlv, a_number_has_eight_bytes)
{
	struct tlv t = {.tag = 5, .len = 4, .value = (const uint8_t *)"abcd"};
	struct err err = {0};
	uint64_t n = 77;

	cr_expect_eq(tlv_u64(&t, &n, &err), -EBADMSG);
	cr_expect_str_eq(err.msg, "field 5 of 4 bytes, wanted 8");
	cr_expect_eq(n, 77);
}

Test(tlv, a_field_that_does_not_fit_is_left_out_whole)
{
	auto_buf struct buf b = BUF_INIT(12);

	tlv_put_str(&b, 1, "hello");
	cr_expect_not(buf_ok(&b));
	cr_expect_eq(b.len, 0);
}
