#include "fp_wire.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "frame.h"

/* A frame of a message of msg_len bytes (its own length set) and ready-made items. */
static void put_frame(struct buf *b, uint16_t flags, uint16_t n, uint32_t msg_len,
		      const struct buf *items)
{
	size_t trailer = items ? items->len : 0, padded = fp_pad(msg_len);
	uint8_t *p = buf_grow(b, FP_HEAD_SIZE + padded + trailer);

	memset(p, 0, FP_HEAD_SIZE + padded + trailer);
	fp_head_put(p, flags, n, msg_len, trailer);
	if (msg_len)
		store_le32(p + FP_HEAD_SIZE, msg_len);
	if (trailer)
		memcpy(p + FP_HEAD_SIZE + padded, items->data, trailer);
}

static int get(const struct buf *b, struct fp_frame *f, struct err *err)
{
	size_t used = 0;

	return fp_frame_get((const uint8_t *)b->data, b->len, f, &used, err);
}

Test(fp_wire, a_hello_comes_back_as_it_was)
{
	struct fp_hello in = {.version = FP_VERSION,
			      .flags = FP_H_RECORDS,
			      .session = "0123456789abcde",
			      .stream = 2,
			      .n_streams = 4,
			      .status = -EBUSY,
			      .epoch = 0x1122334455667788};
	struct fp_hello out = {0};
	uint8_t wire[FP_HELLO_SIZE];

	fp_hello_put(&in, wire);
	cr_expect_eq(memcmp(wire, "fcFP\x01\0\x01\0", 8), 0);
	cr_assert_eq(fp_hello_get(wire, &out, NULL), 0);
	cr_expect(out.version == in.version && out.flags == in.flags && out.stream == 2);
	cr_expect(out.n_streams == 4 && out.status == -EBUSY && out.epoch == in.epoch);
	cr_expect_eq(memcmp(out.session, in.session, FP_SESSION_SIZE), 0);
}

Test(fp_wire, a_wrong_hello_is_refused)
{
	static const struct {
		struct fp_hello hello;
		int code;
		const char *msg;
	} cases[] = {
		{{.version = 2, .n_streams = 1},
		 -EPROTONOSUPPORT,
		 "peer speaks fuse-pipe version 2, this is 1"},
		{{.version = 1}, -EPROTO, "stream 0 of 0, limit 16"},
		{{.version = 1, .n_streams = 17}, -EPROTO, "stream 0 of 17, limit 16"},
		{{.version = 1, .n_streams = 2, .stream = 2}, -EPROTO, "stream 2 of 2, limit 16"},
	};
	uint8_t wire[FP_HELLO_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fp_hello out;
		struct err err = {0};

		fp_hello_put(&cases[i].hello, wire);
		cr_expect_eq(fp_hello_get(wire, &out, &err), cases[i].code);
		cr_expect_str_eq(err.msg, cases[i].msg);
	}
	wire[0] = 'x';
	cr_expect_eq(fp_hello_get(wire, &(struct fp_hello){0}, NULL), -EPROTO);
}

Test(fp_wire, a_frame_comes_out_whole_however_the_bytes_trickle_in)
{
	auto_buf struct buf items = BUF_INIT(1000), b = BUF_INIT(1000);
	const uint32_t gids[] = {7, 8, 9};
	struct fp_frame f = {.n = 99};
	struct fp_item item;
	size_t used = 77, pos = 0;

	fp_item_put(&items, FP_T_GROUPS, gids, sizeof(gids));
	put_frame(&b, FP_F_RESENT, 1, 41, &items);
	cr_assert_eq(b.len, 8 + 48 + 8 + 16);
	for (size_t len = 0; len < b.len; len++)
		cr_expect_eq(fp_frame_get((const uint8_t *)b.data, len, &f, &used, NULL), 0);
	cr_expect(f.n == 99 && used == 77, "outputs untouched");
	cr_assert_eq(fp_frame_get((const uint8_t *)b.data, b.len, &f, &used, NULL), 1);
	cr_expect(used == b.len && f.flags == FP_F_RESENT && f.msg_len == 41);
	cr_assert(fp_item_next(&f, &pos, &item));
	cr_expect(item.type == FP_T_GROUPS && item.len == 12);
	cr_expect_eq(load_le32(item.data + 4), 8);
	cr_expect_not(fp_item_next(&f, &pos, &item));
}

Test(fp_wire, records_travel_in_bare_frames)
{
	static const uint8_t key[FP_KEY_SIZE] = {1, 2, 3};
	auto_buf struct buf items = BUF_INIT(1000), b = BUF_INIT(1000);
	struct fp_frame f;
	struct fp_item item;
	size_t pos = 0;

	fp_item_put_keep(&items, key, "value", 5);
	fp_item_put(&items, FP_T_DROP, key, sizeof(key));
	put_frame(&b, FP_F_BARE | FP_F_END, 2, 0, &items);
	cr_assert_eq(get(&b, &f, NULL), 1);
	cr_expect_null(f.msg);
	cr_assert(fp_item_next(&f, &pos, &item));
	cr_expect(item.type == FP_T_KEEP && item.len == FP_KEY_SIZE + 5);
	cr_expect_eq(memcmp(item.data + FP_KEY_SIZE, "value", 5), 0);
	cr_assert(fp_item_next(&f, &pos, &item));
	cr_expect_eq(item.type, FP_T_DROP);
	cr_expect_not(fp_item_next(&f, &pos, &item));
}

Test(fp_wire, hostile_lengths_are_refused_before_their_bytes_are_waited_for)
{
	static const struct {
		uint8_t head[8];
		const char *msg;
	} cases[] = {
		{{0xff, 0xff, 0xff, 0xff}, "fuse-pipe frame of 4294967295 bytes, limit 1118208"},
		{{0x09}, "fuse-pipe frame of 9 bytes, limit 1118208"},
		{{0x08, 0x10, 0x11}, "fuse-pipe frame of 1118216 bytes, limit 1118208"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fp_frame f;
		struct err err = {0};
		size_t used;

		cr_expect_eq(fp_frame_get(cases[i].head, 8, &f, &used, &err), -EMSGSIZE);
		cr_expect_str_eq(err.msg, cases[i].msg);
		cr_expect_eq(err.class, ERR_GUEST);
	}
}

Test(fp_wire, a_message_must_fit_its_frame)
{
	static const uint32_t lengths[] = {0, 15, 17, 24, 0x7fffffff, UINT32_MAX, UINT32_MAX - 3};

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		auto_buf struct buf b = BUF_INIT(1000);
		struct fp_frame f;

		put_frame(&b, 0, 0, 16, NULL);
		store_le32((uint8_t *)b.data + FP_HEAD_SIZE, lengths[i]);
		cr_expect_eq(get(&b, &f, NULL), -EPROTO, "%u", lengths[i]);
	}
	auto_buf struct buf empty = BUF_INIT(1000);
	put_frame(&empty, 0, 0, 0, NULL);
	cr_expect_eq(get(&empty, &(struct fp_frame){0}, NULL), -EPROTO);
}

Test(fp_wire, items_must_fill_the_trailer_and_be_as_many_as_promised)
{
	static const struct {
		uint16_t type;
		uint32_t len, claims;
		uint16_t n;
		int want;
	} cases[] = {
		{FP_T_GROUPS, 8, 8, 1, 1},
		{FP_T_GROUPS, 8, 8, 2, -EPROTO},
		{FP_T_GROUPS, 8, 8, 0, -EPROTO},
		{FP_T_GROUPS, 8, 16, 1, -EPROTO},
		{FP_T_GROUPS, 8, UINT32_MAX, 1, -EPROTO},
		{FP_T_GROUPS, 8, 6, 1, -EPROTO},
		{FP_T_GROUPS, 4 * FP_GROUPS_MAX, 4 * FP_GROUPS_MAX, 1, 1},
		{FP_T_GROUPS, 4 * FP_GROUPS_MAX + 4, 4 * FP_GROUPS_MAX + 4, 1, -EPROTO},
		{FP_T_RULES, 8, 8, 1, 1},
		{FP_T_RULES, 8 * 17, 8 * 17, 1, -EPROTO},
		{FP_T_KEEP, 16, 16, 1, -EPROTO},
		{FP_T_KEEP, 17, 17, 1, 1},
		{FP_T_KEEP, 16 + FP_RECORD_MAX + 1, 16 + FP_RECORD_MAX + 1, 1, -EPROTO},
		{FP_T_DROP, 17, 17, 1, -EPROTO},
		{5, 8, 8, 1, -EPROTO},
		{0, 8, 8, 1, -EPROTO},
	};
	static const uint8_t zeros[4 * FP_GROUPS_MAX + 8];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_buf struct buf items = BUF_INIT(1u << 20), b = BUF_INIT(1u << 20);
		struct fp_frame f;

		fp_item_put(&items, cases[i].type, zeros, cases[i].len);
		store_le32((uint8_t *)items.data + 4, cases[i].claims);
		put_frame(&b, 0, cases[i].n, 40, &items);
		cr_expect_eq(get(&b, &f, NULL), cases[i].want, "case %zu", i);
	}
}

/* Behind the frame lies what nobody may read. */
Test(fp_wire, an_item_that_says_more_than_there_is_is_not_followed)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE), len = FP_HEAD_SIZE + FP_ITEM_SIZE;
	uint8_t *map =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *frame = map + page - len;
	struct fp_frame f;
	size_t used = 0;

	cr_assert(map != MAP_FAILED);
	cr_assert_eq(mprotect(map + page, page, PROT_NONE), 0);
	fp_head_put(frame, FP_F_BARE, 1, 0, FP_ITEM_SIZE);
	store_le16(frame + FP_HEAD_SIZE, FP_T_KEEP);
	store_le32(frame + FP_HEAD_SIZE + 4, FP_KEY_SIZE + FP_RECORD_MAX);
	cr_expect_eq(fp_frame_get(frame, len, &f, &used, NULL), -EPROTO);
	(void)munmap(map, 2 * page);
}

Test(fp_wire, a_trailer_is_bounded)
{
	auto_buf struct buf items = BUF_INIT(1u << 20), b = BUF_INIT(1u << 20);
	static const uint32_t gids[FP_GROUPS_MAX];
	struct fp_frame f;
	uint16_t n = 0;

	for (; items.len <= FP_TRAILER_MAX; n++)
		fp_item_put(&items, FP_T_GROUPS, gids, sizeof(gids));
	put_frame(&b, FP_F_BARE, n, 0, &items);
	cr_expect_eq(get(&b, &f, NULL), -EMSGSIZE);
}

Test(fp_wire, groups_are_asked_for_by_opcode_and_by_a_bit_of_the_request)
{
	static const struct fp_group_rule rules[] = {{.opcode = 9}, {4, 40, 0x5}, {5, 0xffff, 1}};
	uint8_t msg[48] = {0};

	static const struct {
		uint32_t opcode, value;
		size_t len;
		bool want;
	} cases[] = {
		{9, 0, 40, true},  {4, 0, 44, false}, {4, 2, 44, false},  {4, 4, 44, true},
		{4, 4, 43, false}, {5, 1, 48, false}, {10, 5, 48, false}, {9, 0, 7, false},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		store_le32(msg + 4, cases[i].opcode);
		store_le32(msg + 40, cases[i].value);
		cr_expect_eq(fp_wants_groups(rules, ARRAY_SIZE(rules), msg, cases[i].len),
			     cases[i].want, "case %zu", i);
	}
}
