#include "fp_ops.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "rig.h"

static struct fuse_init_out init_with(struct rig *r, uint64_t flags)
{
	struct fuse_init_in in = {.major = 7,
				  .minor = 45,
				  .max_readahead = 1u << 30,
				  .flags = (uint32_t)flags,
				  .flags2 = (uint32_t)(flags >> 32)};
	struct fuse_init_out out;

	cr_assert_eq(RIG_CALL(r, FUSE_INIT, 0, &in, NULL), 0);
	memcpy(&out, r->out, sizeof(out));
	return out;
}

static size_t rules_of(const struct rig *r, struct fp_group_rule *rules)
{
	struct fp_item item = {0};
	size_t pos = 0;

	cr_assert(fp_item_next(&r->frame, &pos, &item) && item.type == FP_T_RULES);
	memcpy(rules, item.data, item.len);
	return item.len / sizeof(*rules);
}

Test(fp_ops, init_takes_of_what_is_offered_what_it_can_use)
{
	auto_rig struct rig r = {0};

	rig_start(&r, NULL);
	struct fuse_init_out out = init_with(&r, ~0ull);
	cr_expect(out.major == 7 && out.minor == 38 && out.max_readahead == 1u << 20);
	cr_expect(out.max_write == FP_MAX_WRITE && out.max_pages == 256);
	cr_expect_eq(out.flags & FUSE_HANDLE_KILLPRIV_V2, FUSE_HANDLE_KILLPRIV_V2);
	cr_expect_eq(out.flags & FUSE_POSIX_LOCKS, FUSE_POSIX_LOCKS);
	cr_expect_eq(
		out.flags & (FUSE_WRITEBACK_CACHE | FUSE_NO_OPEN_SUPPORT | FUSE_EXPORT_SUPPORT), 0);
	cr_expect_eq(out.flags & FUSE_CACHE_SYMLINKS, 0, "strict");
	cr_expect_eq(out.flags2, FP_INIT_CREATE_SUPP_GROUP >> 32);
}

Test(fp_ops, private_volumes_leave_locks_to_the_guest)
{
	auto_rig struct rig r = {0};
	const struct fp_options priv = {.trust = FP_FULL, .cache = FP_PRIVATE, .timeout_ms = 1000};

	rig_start(&r, &priv);
	struct fuse_init_out out = init_with(&r, ~0ull);
	cr_expect_eq(out.flags & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS), 0);
	if (geteuid() == 0)
		cr_expect_eq(out.flags & FUSE_ATOMIC_O_TRUNC, 0, "no open that could do it");
	cr_expect_eq(out.flags & FUSE_CACHE_SYMLINKS, FUSE_CACHE_SYMLINKS);
}

/* A kernel that sends the one group that matters needs to be asked for fewer. */
Test(fp_ops, groups_are_asked_for_where_the_host_needs_them)
{
	auto_rig struct rig r = {0};
	const struct fp_options squash = {.trust = FP_SQUASH, .cache = FP_STRICT};
	struct fp_group_rule rules[FP_GROUP_RULES_MAX];

	rig_need_root();
	rig_start(&r, NULL);
	(void)init_with(&r, ~0ull);
	cr_assert_eq(rules_of(&r, rules), 3);
	cr_expect(rules[0].opcode == FUSE_SETATTR && rules[0].offset == 40 &&
		  rules[0].mask == (FATTR_MODE | FATTR_GID | FATTR_KILL_SUIDGID));
	cr_expect(rules[1].opcode == FUSE_OPEN && rules[1].offset == 44 &&
		  rules[1].mask == FUSE_OPEN_KILL_SUIDGID);
	cr_expect(rules[2].opcode == FUSE_SETXATTR && rules[2].offset == 24);
	(void)init_with(&r, ~FP_INIT_CREATE_SUPP_GROUP);
	cr_expect_eq(rules_of(&r, rules), 8);
	rig_stop(&r);
	rig_start(&r, &squash);
	(void)init_with(&r, ~0ull);
	cr_expect_eq(rules_of(&r, rules), 16, "the host checks every path");
}

Test(fp_ops, statfs_is_that_of_the_host)
{
	auto_rig struct rig r = {0};
	struct fuse_statfs_out out;
	struct statvfs st;

	rig_start(&r, NULL);
	cr_assert_eq(rig_call(&r, FUSE_STATFS, 1, NULL, 0, NULL, NULL), 0);
	memcpy(&out, r.out, sizeof(out));
	cr_assert_eq(statvfs(r.root, &st), 0);
	cr_expect(out.st.blocks == st.f_blocks && out.st.bsize == st.f_bsize);
	cr_expect_eq(out.st.namelen, st.f_namemax);
	cr_expect_eq(rig_call(&r, FUSE_STATFS, 77, NULL, 0, NULL, NULL), -ESTALE);
}

Test(fp_ops, records_are_dropped_with_what_they_stand_for)
{
	auto_rig struct rig r = {.keeps_records = true};
	struct fp_item item = {0};
	size_t pos = 0;
	uint64_t fh;

	rig_start(&r, NULL);
	uint64_t f = rig_create(&r, 1, "f", 0600, &fh);
	struct fuse_release_in in = {.fh = fh};
	cr_assert_eq(RIG_CALL(&r, FUSE_RELEASE, f, &in, NULL), 0);
	cr_assert(fp_item_next(&r.frame, &pos, &item));
	cr_expect_eq(item.type, FP_T_DROP);
	uint8_t key[FP_KEY_SIZE];
	fp_seal_file_key(fh, key);
	cr_expect_eq(memcmp(item.data, key, FP_KEY_SIZE), 0);
	cr_expect_eq(rig_call(&r, FUSE_DESTROY, 0, NULL, 0, NULL, NULL), 0);
}

Test(fp_ops, a_record_whose_reply_was_lost_comes_with_the_next)
{
	auto_rig struct rig r = {.keeps_records = true};

	rig_start(&r, NULL);
	rig_write_file(&r, "f", "");
	(void)rig_lookup(&r, 1, "f");
	cr_expect_eq(r.frame.n, 1);
	(void)rig_lookup(&r, 1, "f");
	cr_expect_eq(r.frame.n, 0);
	r.flags = FP_F_RESENT;
	(void)rig_lookup(&r, 1, "f");
	cr_expect_eq(r.frame.n, 1);
}

/* Else the guest keeps the rest for ever, until it may keep no more. */
Test(fp_ops, every_node_of_a_batch_that_is_forgotten_is_dropped)
{
	enum { N = 2 * FP_ITEMS_MAX + 7 };
	auto_rig struct rig r = {.keeps_records = true};
	struct {
		struct fuse_batch_forget_in in;
		struct fuse_forget_one one[N];
	} batch = {.in.count = N};
	size_t dropped = 0;
	char name[16];

	rig_start(&r, NULL);
	for (size_t i = 0; i < N; i++) {
		(void)snprintf(name, sizeof(name), "%zu", i);
		rig_write_file(&r, name, "");
		batch.one[i] = (struct fuse_forget_one){rig_lookup(&r, 1, name), 1};
	}
	(void)rig_send(&r, FUSE_BATCH_FORGET, 0, &batch, sizeof(batch), NULL, NULL);
	while (dropped < N) {
		struct fp_item item;
		size_t pos = 0;

		rig_receive_frame(&r);
		cr_assert_null(r.frame.msg);
		while (fp_item_next(&r.frame, &pos, &item))
			dropped += item.type == FP_T_DROP;
	}
	cr_expect_eq(dropped, N);
	cr_expect_eq(fp_server_count(r.server).nodes, 1);
}

Test(fp_ops, timeouts_are_the_caches)
{
	static const struct {
		struct fp_options opt;
		uint64_t s;
		uint32_t ns;
	} cases[] = {
		{{.trust = FP_FULL, .cache = FP_STRICT, .timeout_ms = 5000}, 0, 0},
		{{.trust = FP_FULL, .cache = FP_SHARED, .timeout_ms = 50}, 0, 50000000},
		{{.trust = FP_FULL, .cache = FP_PRIVATE, .timeout_ms = 2001}, 2, 1000000},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_rig struct rig r = {0};
		struct fuse_entry_out e;

		rig_start(&r, &cases[i].opt);
		rig_write_file(&r, "f", "");
		(void)rig_lookup(&r, 1, "f");
		memcpy(&e, r.out, sizeof(e));
		cr_expect(e.entry_valid == cases[i].s && e.entry_valid_nsec == cases[i].ns, "%zu",
			  i);
		cr_expect(e.attr_valid == cases[i].s && e.attr_valid_nsec == cases[i].ns);
	}
}
