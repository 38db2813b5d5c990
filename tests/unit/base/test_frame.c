#include "frame.h"

#include "cleanup.h"
#include "io.h"
#include "xalloc.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void make_sockets(int fds[2])
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

Test(frame, numbers_are_little_endian)
{
	uint8_t b[8];

	store_le64(b, 0x0102030405060708);
	cr_expect_eq(memcmp(b, "\x08\x07\x06\x05\x04\x03\x02\x01", 8), 0);
	cr_expect_eq(load_le64(b), 0x0102030405060708);
	cr_expect_eq(load_le32(b), 0x05060708);
	cr_expect_eq(load_le16(b), 0x0708);
}

Test(frame, the_bytes_on_the_wire_are_fixed)
{
	auto_buf struct buf b = BUF_INIT(100);

	frame_put(&b, 0x1234, 0x0001, "abc", 3);
	cr_assert_eq(b.len, 11);
	cr_expect_eq(memcmp(b.data, "\x03\0\0\0\x34\x12\x01\0abc", 11), 0);
}

Test(frame, comes_out_whole_however_the_bytes_trickle_in)
{
	auto_buf struct buf b = BUF_INIT(100);
	struct frame f = {.type = 99};
	size_t used = 77;

	frame_put(&b, 7, 2, "hello", 5);
	frame_put(&b, 8, 0, NULL, 0);
	const uint8_t *data = (const uint8_t *)b.data;
	for (size_t len = 0; len < 13; len++) {
		cr_expect_eq(frame_get(data, len, 10, &f, &used, NULL), 0);
		cr_expect(f.type == 99 && used == 77, "outputs untouched");
	}
	cr_expect_eq(frame_get(data, b.len, 10, &f, &used, NULL), 1);
	cr_expect(f.type == 7 && f.flags == 2 && f.len == 5 && used == 13);
	cr_expect_eq(memcmp(f.body, "hello", 5), 0);
	cr_expect_eq(frame_get(data + used, b.len - used, 10, &f, &used, NULL), 1);
	cr_expect(f.type == 8 && f.len == 0 && used == 8);
}

Test(frame, a_hostile_length_is_refused_before_its_bytes_are_waited_for)
{
	static const uint8_t head[] = {0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0};
	struct frame f = {0};
	struct err err = {0};
	size_t used = 0;

	cr_expect_eq(frame_get(head, sizeof(head), FRAME_BODY_MAX, &f, &used, &err), -EMSGSIZE);
	cr_expect_str_eq(err.msg, "frame of 4294967295 bytes, limit 1048576");
	cr_expect_eq(err.class, ERR_GUEST);
	cr_expect_eq(used, 0);
	static const uint8_t eleven[] = {11, 0, 0, 0, 1, 0, 0, 0};
	cr_expect_eq(frame_get(eleven, sizeof(eleven), 10, &f, &used, &err), -EMSGSIZE);
	cr_expect_eq(frame_get(eleven, sizeof(eleven), 11, &f, &used, &err), 0);
}

Test(frame, the_largest_length_a_reader_allows_does_not_wrap)
{
	static const uint8_t head[] = {0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 'x'};
	struct frame f = {0};
	size_t used = 0;

	cr_expect_eq(frame_get(head, sizeof(head), UINT32_MAX, &f, &used, NULL), 0);
}

Test(frame, one_that_does_not_fit_leaves_the_stream_without_it)
{
	auto_buf struct buf b = BUF_INIT(12);

	frame_put(&b, 1, 0, "hello", 5);
	cr_expect_not(buf_ok(&b));
	cr_expect_eq(b.len, 0);
}

Test(frame, is_written_and_read_through_a_socket)
{
	auto_buf struct buf body = BUF_INIT(100);
	struct frame f;
	int s[2];

	make_sockets(s);
	cr_expect_eq(frame_write(s[0], 3, 4, "body", 4, deadline_in(60000), NULL), 0);
	cr_expect_eq(frame_read(s[1], 100, &f, &body, deadline_in(60000), NULL), 0);
	cr_expect(f.type == 3 && f.flags == 4 && f.len == 4);
	cr_expect_eq((const void *)f.body, (const void *)body.data);
	cr_expect_str_eq(buf_str(&body), "body");
	cr_expect_eq(frame_write(s[0], 5, 0, NULL, 0, 0, NULL), 0);
	cr_expect_eq(frame_read(s[1], 100, &f, &body, 0, NULL), 0);
	cr_expect(f.type == 5 && f.len == 0);
	close(s[0]);
	close(s[1]);
}

Test(frame, an_end_between_frames_is_epipe_and_inside_one_econnreset)
{
	static const struct {
		const char *bytes;
		size_t len;
		int code;
		const char *msg;
	} cases[] = {
		{"", 0, -EPIPE, "the peer has closed the connection"},
		{"\x05\0\0", 3, -ECONNRESET, "the peer ended after 3 of 8 bytes"},
		{"\x05\0\0\0\1\0\0\0", 8, -ECONNRESET, "the peer ended before a frame of 5 bytes"},
		{"\x05\0\0\0\1\0\0\0ab", 10, -ECONNRESET, "the peer ended after 2 of 5 bytes"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_buf struct buf body = BUF_INIT(100);
		struct frame f = {.type = 99};
		struct err err = {0};
		int s[2];

		make_sockets(s);
		cr_assert_eq(io_write_full(s[0], cases[i].bytes, cases[i].len, 0, NULL), 0);
		close(s[0]);
		cr_expect_eq(frame_read(s[1], 100, &f, &body, 0, &err), cases[i].code);
		cr_expect_str_eq(err.msg, cases[i].msg);
		cr_expect_eq(f.type, 99);
		close(s[1]);
	}
}

Test(frame, reading_is_bounded_by_the_limit_and_by_the_buffer)
{
	auto_buf struct buf small = BUF_INIT(2);
	struct frame f;
	struct err err = {0};
	int s[2];

	make_sockets(s);
	cr_assert_eq(frame_write(s[0], 1, 0, "abc", 3, 0, NULL), 0);
	cr_expect_eq(frame_read(s[1], 2, &f, &small, 0, &err), -EMSGSIZE);
	cr_expect_str_eq(err.msg, "frame of 3 bytes, limit 2");
	cr_assert_eq(io_read_full(s[1], (char[3]){0}, 3, 0, NULL), 0);
	cr_assert_eq(frame_write(s[0], 1, 0, "abc", 3, 0, NULL), 0);
	cr_expect_eq(frame_read(s[1], 100, &f, &small, 0, &err), -EMSGSIZE);
	cr_expect_str_eq(err.msg, "frame of 3 bytes, limit 2");
	close(s[0]);
	close(s[1]);
}

Test(frame, writing_more_than_any_reader_takes_is_refused)
{
	auto_free char *big = xcalloc(1, FRAME_BODY_MAX + 1);
	struct err err = {0};
	int s[2];

	make_sockets(s);
	cr_expect_eq(frame_write(s[0], 1, 0, big, FRAME_BODY_MAX + 1, 0, &err), -EMSGSIZE);
	cr_expect_str_eq(err.msg, "frame of 1048577 bytes, limit 1048576");
	close(s[0]);
	close(s[1]);
}
