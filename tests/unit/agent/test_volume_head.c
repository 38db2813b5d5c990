#include "volume_head.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "frame.h"
#include "proto.h"
#include "tlv.h"

Test(volume_head, it_comes_out_as_it_went_in_and_takes_nothing_behind_it)
{
	auto_buf struct buf b = BUF_INIT(VOLUME_HEAD_MAX * 2);
	auto_free char *target = NULL;
	unsigned int stream = 99;

	volume_head_put(&b, "/srv/data", 3);
	const uint8_t *data = (const uint8_t *)buf_str(&b);
	size_t whole = b.len;

	cr_assert_leq(whole, VOLUME_HEAD_MAX);
	cr_expect_eq(volume_head_missing(data, 0), FRAME_HEAD_SIZE);
	cr_expect_eq(volume_head_missing(data, FRAME_HEAD_SIZE), whole - FRAME_HEAD_SIZE);
	cr_expect_eq(volume_head_missing(data, whole - 1), 1);
	cr_expect_eq(volume_head_missing(data, whole), 0);
	cr_assert_eq(volume_head_get(data, whole, &target, &stream, NULL), 0);
	cr_expect_str_eq(target, "/srv/data");
	cr_expect_eq(stream, 3);
}

static void put_frame(struct buf *b, uint16_t type, const char *target, uint64_t stream)
{
	auto_buf struct buf body = BUF_INIT(4096);

	tlv_put_str(&body, TAG_NAME, target);
	tlv_put_u64(&body, TAG_STREAM, stream);
	frame_put(b, type, 0, body.data, body.len);
}

Test(volume_head, what_is_none_is_refused)
{
	static const struct {
		uint16_t type;
		const char *target;
		uint64_t stream;
		const char *says;
	} cases[] = {
		{MSG_PING, "/a", 0, "not the head of a volume's stream"},
		{MSG_VOLUME_STREAM, NULL, 0, "a stream of no volume"},
		{MSG_VOLUME_STREAM, "/a", VOLUME_STREAMS_MAX, "stream 16 of a volume"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_buf struct buf b = BUF_INIT(4096);
		char *target = NULL;
		unsigned int stream = 0;
		struct err err = {0};

		put_frame(&b, cases[i].type, cases[i].target, cases[i].stream);
		cr_expect_eq(
			volume_head_get((const uint8_t *)b.data, b.len, &target, &stream, &err),
			-EBADMSG);
		cr_expect_str_eq(err.msg, cases[i].says);
		cr_expect_null(target);
	}
}
