#include "fp_decode.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cleanup.h"

struct message {
	_Alignas(8) uint8_t bytes[8192];
	size_t len;
};

static void begin(struct message *m, uint32_t opcode, const void *arg, size_t len)
{
	struct fuse_in_header h = {.opcode = opcode, .unique = 4, .nodeid = 1};

	memset(m, 0, sizeof(*m));
	memcpy(m->bytes, &h, sizeof(h));
	m->len = sizeof(h);
	if (len)
		memcpy(m->bytes + m->len, arg, len);
	m->len += len;
}

static void add(struct message *m, const void *data, size_t len)
{
	memcpy(m->bytes + m->len, data, len);
	m->len += len;
}

static int decode(struct message *m, struct fp_request *q)
{
	struct fp_frame f = {.msg = m->bytes, .msg_len = (uint32_t)m->len};

	return fp_decode(&f, q);
}

Test(fp_decode, an_operation_is_refused_one_byte_short_of_its_argument)
{
	for (uint32_t opcode = 0; opcode < FP_OPCODES; opcode++) {
		const struct fp_op *op = fp_op_find(opcode);
		struct fp_request q;
		struct message m;
		static const uint8_t zeros[512];

		if (!op || op->arg_size == 0)
			continue;
		begin(&m, opcode, zeros, op->arg_size);
		for (size_t i = 0; i < 2 && op->strings[i]; i++)
			add(&m, "x", 2);
		cr_expect_eq(decode(&m, &q), 0, "%s", op->name);
		begin(&m, opcode, zeros, op->arg_size - 1u);
		cr_expect_eq(decode(&m, &q), -EINVAL, "%s", op->name);
		cr_expect_eq(q.head.opcode, opcode, "the head is there for the answer");
	}
}

Test(fp_decode, unknown_operations_do_not_exist)
{
	static const uint32_t opcodes[] = {0, 7, 19, FUSE_ACCESS, FUSE_IOCTL, 52, 4096, UINT32_MAX};

	for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++) {
		struct fp_request q;
		struct message m;

		begin(&m, opcodes[i], "x", 2);
		cr_expect_eq(decode(&m, &q), -ENOSYS);
		cr_expect_eq(q.head.unique, 4);
	}
}

Test(fp_decode, names_are_single_components)
{
	static const struct {
		const char *name;
		size_t len;
		int want;
	} cases[] = {
		{"a", 2, 0},       {"a", 1, -EINVAL},   {"", 1, -EINVAL},     {"", 0, -EINVAL},
		{".", 2, -EINVAL}, {"..", 3, -EINVAL},  {"...", 4, 0},        {".a", 3, 0},
		{"/", 2, -EINVAL}, {"a/b", 4, -EINVAL}, {"../x", 5, -EINVAL}, {"a/", 3, -EINVAL},
		{"a\nb", 4, 0},    {"\xff", 2, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fp_request q;
		struct message m;

		begin(&m, FUSE_LOOKUP, NULL, 0);
		add(&m, cases[i].name, cases[i].len);
		cr_expect_eq(decode(&m, &q), cases[i].want, "'%s'", cases[i].name);
	}
}

Test(fp_decode, every_operation_with_a_name_checks_it)
{
	static const uint8_t zeros[512];

	for (uint32_t opcode = 0; opcode < FP_OPCODES; opcode++) {
		const struct fp_op *op = fp_op_find(opcode);

		for (size_t which = 0; op && which < 2; which++) {
			struct fp_request q;
			struct message m;

			if (op->strings[which] != FP_S_NAME)
				continue;
			begin(&m, opcode, zeros, op->arg_size);
			for (size_t i = 0; i < 2 && op->strings[i]; i++)
				add(&m, i == which ? ".." : "x", i == which ? 3 : 2);
			cr_expect_eq(decode(&m, &q), -EINVAL, "%s", op->name);
		}
	}
}

Test(fp_decode, long_names_are_too_long)
{
	char name[4097];
	struct fp_request q;
	struct message m;

	memset(name, 'n', sizeof(name));
	static const struct {
		uint32_t opcode;
		size_t len;
		int want;
	} cases[] = {
		{FUSE_LOOKUP, 255, 0},
		{FUSE_LOOKUP, 256, -ENAMETOOLONG},
		{FUSE_REMOVEXATTR, 255, 0},
		{FUSE_REMOVEXATTR, 256, -ENAMETOOLONG},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		begin(&m, cases[i].opcode, NULL, 0);
		add(&m, name, cases[i].len);
		add(&m, "", 1);
		cr_expect_eq(decode(&m, &q), cases[i].want, "case %zu", i);
	}
	for (size_t len = 4095; len <= 4096; len++) {
		begin(&m, FUSE_SYMLINK, NULL, 0);
		add(&m, "x", 2);
		add(&m, name, len);
		add(&m, "", 1);
		cr_expect_eq(decode(&m, &q), len == 4095 ? 0 : -ENAMETOOLONG);
	}
}

Test(fp_decode, a_link_target_may_be_anything)
{
	struct fp_request q;
	struct message m;

	begin(&m, FUSE_SYMLINK, NULL, 0);
	add(&m, "l\0../../etc/passwd", 19);
	cr_assert_eq(decode(&m, &q), 0);
	cr_expect_str_eq(q.name[0], "l");
	cr_expect_str_eq(q.name[1], "../../etc/passwd");
}

Test(fp_decode, counts_are_held_against_what_is_there)
{
	struct fp_request q;
	struct message m;
	struct fuse_write_in w = {.size = 60000};

	begin(&m, FUSE_WRITE, &w, sizeof(w));
	add(&m, "abcd", 4);
	cr_expect_eq(decode(&m, &q), -EINVAL, "4 bytes that claim to be 60000");
	w.size = 4;
	begin(&m, FUSE_WRITE, &w, sizeof(w));
	add(&m, "abcd", 4);
	cr_assert_eq(decode(&m, &q), 0);
	cr_expect(q.data_len == 4 && memcmp(q.data, "abcd", 4) == 0);

	struct fuse_batch_forget_in b = {.count = 2};
	begin(&m, FUSE_BATCH_FORGET, &b, sizeof(b));
	add(&m, (uint8_t[31]){0}, 31);
	cr_expect_eq(decode(&m, &q), -EINVAL);
	b.count = UINT32_MAX;
	begin(&m, FUSE_BATCH_FORGET, &b, sizeof(b));
	add(&m, (uint8_t[32]){0}, 32);
	cr_expect_eq(decode(&m, &q), -EINVAL);

	struct fuse_setxattr_in x = {.size = 5};
	begin(&m, FUSE_SETXATTR, &x, sizeof(x));
	add(&m, "user.a\0four", 11);
	cr_expect_eq(decode(&m, &q), -EINVAL);
}

Test(fp_decode, groups_come_from_the_extension_or_the_trailer)
{
	struct fuse_mkdir_in in = {0};
	struct {
		uint32_t size, type, n, gid;
	} ext = {16, FP_EXT_GROUPS, 1, 77};
	struct fp_request q;
	struct message m;

	begin(&m, FUSE_MKDIR, &in, sizeof(in));
	add(&m, "d", 2);
	m.len = fp_pad(m.len);
	add(&m, &ext, sizeof(ext));
	((struct fuse_in_header *)m.bytes)->total_extlen = 2;
	cr_assert_eq(decode(&m, &q), 0);
	cr_expect_str_eq(q.name[0], "d");
	cr_assert_eq(q.n_groups, 1);
	cr_expect_eq(q.groups[0], 77);
	auto_buf struct buf items = BUF_INIT(100);
	fp_item_put(&items, FP_T_GROUPS, (uint32_t[]){5, 6}, 8);
	struct fp_frame f = {.msg = m.bytes,
			     .msg_len = (uint32_t)m.len,
			     .n = 1,
			     .trailer = (uint8_t *)items.data,
			     .trailer_len = (uint32_t)items.len};
	cr_assert_eq(fp_decode(&f, &q), 0);
	cr_expect(q.n_groups == 2 && q.groups[0] == 5 && q.groups[4] == 6);
}

Test(fp_decode, extensions_must_fit)
{
	static const struct {
		uint32_t size, n;
		uint16_t words;
	} cases[] = {
		{16, 2, 2}, {16, UINT32_MAX, 2}, {0, 0, 2},    {7, 0, 2},           {24, 1, 2},
		{8, 0, 1},  {UINT32_MAX, 1, 2},  {16, 1, 200}, {16, 1, UINT16_MAX},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t ext[4] = {cases[i].size, FP_EXT_GROUPS, cases[i].n, 0};
		struct fp_request q;
		struct message m;

		begin(&m, FUSE_LOOKUP, NULL, 0);
		add(&m, "name", 5);
		m.len = fp_pad(m.len);
		add(&m, ext, cases[i].words < 2 ? 8 : 16);
		((struct fuse_in_header *)m.bytes)->total_extlen = cases[i].words;
		cr_expect_eq(decode(&m, &q), -EINVAL, "case %zu", i);
	}
}

Test(fp_decode, both_signs_of_a_request_sent_again_are_seen)
{
	struct fp_request q;
	struct message m;
	struct fp_frame f = {.msg = m.bytes, .flags = FP_F_RESENT};

	begin(&m, FUSE_LOOKUP, NULL, 0);
	add(&m, "a", 2);
	cr_assert_eq(decode(&m, &q), 0);
	cr_expect_not(q.resent);
	f.msg_len = (uint32_t)m.len;
	cr_assert_eq(fp_decode(&f, &q), 0);
	cr_expect(q.resent);
	((struct fuse_in_header *)m.bytes)->unique |= FP_UNIQUE_RESENT;
	cr_assert_eq(decode(&m, &q), 0);
	cr_expect(q.resent);
}
