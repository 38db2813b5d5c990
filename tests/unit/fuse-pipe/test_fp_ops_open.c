#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "rig.h"

static int release(struct rig *r, uint64_t node, uint64_t fh)
{
	struct fuse_release_in in = {.fh = fh};

	return RIG_CALL(r, FUSE_RELEASE, node, &in, NULL);
}

static int read_some(struct rig *r, uint64_t node, uint64_t fh)
{
	struct fuse_read_in in = {.fh = fh, .size = 4096};

	return RIG_CALL(r, FUSE_READ, node, &in, NULL);
}

Test(fp_ops_open, a_handle_is_good_from_open_to_release_for_its_node_alone)
{
	auto_rig struct rig r = {0};

	rig_start(&r, NULL);
	rig_write_file(&r, "f", "text");
	rig_write_file(&r, "g", "other");
	uint64_t f = rig_lookup(&r, 1, "f"), g = rig_lookup(&r, 1, "g");
	uint64_t fh = rig_open(&r, f, O_RDONLY);
	cr_expect_eq(read_some(&r, f, fh), 0);
	cr_expect(r.out_len == 4 && memcmp(r.out, "text", 4) == 0);
	cr_expect_eq(read_some(&r, g, fh), -EBADF, "another node's");
	for (uint64_t forged = 0; forged < 64; forged++)
		cr_expect_eq(read_some(&r, f, forged), -EBADF, "a descriptor is no handle");
	cr_expect_eq(read_some(&r, f, fh + (1ull << 32)), -EBADF);
	cr_expect_eq(release(&r, g, fh), -EBADF);
	cr_expect_eq(release(&r, f, fh), 0);
	cr_expect_eq(release(&r, f, fh), -EBADF);
	cr_expect_eq(read_some(&r, f, fh), -EBADF);
}

Test(fp_ops_open, flags_of_an_open_are_kept_or_dropped)
{
	auto_rig struct rig r = {0};
	struct fuse_open_in both = {.flags = O_ACCMODE};

	rig_start(&r, NULL);
	rig_write_file(&r, "f", "text");
	uint64_t f = rig_lookup(&r, 1, "f");
	cr_expect_eq(RIG_CALL(&r, FUSE_OPEN, f, &both, NULL), -EINVAL);
	/* Offsets are the guest's: appending here would append again what comes twice. */
	uint64_t fh = rig_open(&r, f, O_WRONLY | O_APPEND | O_DIRECT);
	struct {
		struct fuse_write_in in;
		char data[4];
	} w = {{.fh = fh, .size = 4}, "over"};
	cr_expect_eq(rig_call(&r, FUSE_WRITE, f, &w, sizeof(w), NULL, NULL), 0);
	cr_expect_eq(read_some(&r, f, fh), -EBADF, "write only");
	struct stat st;
	cr_assert_eq(stat(rig_path(&r, "f"), &st), 0);
	cr_expect_eq(st.st_size, 4);
	(void)rig_open(&r, f, O_WRONLY | O_TRUNC);
	cr_assert_eq(stat(rig_path(&r, "f"), &st), 0);
	cr_expect_eq(st.st_size, 0);
}

Test(fp_ops_open, nothing_but_files_and_directories_is_opened)
{
	auto_rig struct rig r = {0};
	struct fuse_open_in in = {.flags = O_RDONLY};
	struct fuse_create_in create = {.flags = O_WRONLY | O_CREAT, .mode = S_IFREG | 0600};

	rig_start(&r, NULL);
	/* Opening a pipe would wait for its other end. */
	cr_assert_eq(mkfifo(rig_path(&r, "p"), 0666), 0);
	uint64_t p = rig_lookup(&r, 1, "p");
	cr_expect_eq(RIG_CALL(&r, FUSE_OPEN, p, &in, NULL), -EINVAL);
	cr_expect_eq(RIG_CALL(&r, FUSE_CREATE, 1, &create, "p"), -EINVAL);
	cr_expect_eq(RIG_CALL(&r, FUSE_OPEN, 1, &in, NULL), -EISDIR);
	cr_expect_eq(RIG_CALL(&r, FUSE_OPENDIR, p, &in, NULL), -ENOTDIR);
	(void)rig_mkdir(&r, 1, "d");
	cr_expect_eq(RIG_CALL(&r, FUSE_CREATE, 1, &create, "d"), -EISDIR);
}

Test(fp_ops_open, create_makes_or_opens_and_exclusively_only_makes)
{
	auto_rig struct rig r = {0};
	struct fuse_create_in excl = {.flags = O_RDWR | O_CREAT | O_EXCL, .mode = S_IFREG | 0600};
	struct fuse_create_in trunc = {.flags = O_RDWR | O_CREAT | O_TRUNC, .mode = S_IFREG | 0600};
	uint64_t fh;
	struct stat st;

	rig_start(&r, NULL);
	uint64_t f = rig_create(&r, 1, "f", 0640, &fh);
	cr_expect_eq(rig_lookup(&r, 1, "f"), f);
	cr_expect_eq(RIG_CALL(&r, FUSE_CREATE, 1, &excl, "f"), -EEXIST);
	rig_write_file(&r, "f", "text");
	cr_expect_eq(rig_create(&r, 1, "f", 0600, NULL), f);
	cr_assert_eq(stat(rig_path(&r, "f"), &st), 0);
	cr_expect(st.st_size == 4 && (st.st_mode & 0777) == 0640);
	cr_expect_eq(RIG_CALL(&r, FUSE_CREATE, 1, &trunc, "f"), 0);
	cr_assert_eq(stat(rig_path(&r, "f"), &st), 0);
	cr_expect_eq(st.st_size, 0);
	r.unique += 100;
	cr_assert_eq(RIG_CALL(&r, FUSE_CREATE, 1, &excl, "once"), 0);
	r.unique -= 2;
	r.flags = FP_F_RESENT;
	cr_expect_eq(RIG_CALL(&r, FUSE_CREATE, 1, &excl, "once"), 0, "its own work");
}

Test(fp_ops_open, a_file_without_a_name_gets_one)
{
	auto_rig struct rig r = {0};
	struct fuse_create_in in = {.flags = O_RDWR, .mode = S_IFREG | 0600};
	struct fuse_entry_out e;
	struct fuse_link_in link;
	struct stat st;

	rig_start(&r, NULL);
	int got = RIG_CALL(&r, FUSE_TMPFILE, 1, &in, "/");
	if (got == -EOPNOTSUPP)
		cr_skip_test("needs O_TMPFILE in /tmp");
	cr_assert_eq(got, 0);
	memcpy(&e, r.out, sizeof(e));
	cr_expect_eq(e.attr.nlink, 0);
	link.oldnodeid = e.nodeid;
	cr_expect_eq(RIG_CALL(&r, FUSE_LINK, 1, &link, "named"), 0);
	cr_assert_eq(stat(rig_path(&r, "named"), &st), 0);
	cr_expect_eq(st.st_ino, e.attr.ino);
}

Test(fp_ops_open, an_open_file_outlives_its_name)
{
	auto_rig struct rig r = {0};
	struct fuse_getattr_in attr = {.getattr_flags = FUSE_GETATTR_FH};
	uint64_t fh;

	rig_start(&r, NULL);
	uint64_t f = rig_create(&r, 1, "f", 0600, &fh);
	cr_assert_eq(rig_call(&r, FUSE_UNLINK, 1, NULL, 0, "f", NULL), 0);
	cr_expect_eq(read_some(&r, f, fh), 0);
	attr.fh = fh;
	cr_expect_eq(RIG_CALL(&r, FUSE_GETATTR, f, &attr, NULL), 0);
	attr.getattr_flags = 0;
	cr_expect_eq(RIG_CALL(&r, FUSE_GETATTR, f, &attr, NULL), 0);
}

Test(fp_ops_open, open_files_are_limited)
{
	auto_rig struct rig r = {0};
	const struct fp_options few = {.trust = FP_FULL, .cache = FP_STRICT, .fds_max = 700};
	struct fuse_open_in in = {.flags = O_RDONLY};
	int got = 0, n = 0;

	rig_start(&r, &few);
	rig_write_file(&r, "f", "");
	uint64_t f = rig_lookup(&r, 1, "f");
	for (; n < 1000 && got == 0; n++)
		got = RIG_CALL(&r, FUSE_OPEN, f, &in, NULL);
	cr_expect_eq(got, -ENFILE);
	cr_expect_lt(n, 200);
	cr_expect_eq(rig_lookup(&r, 1, "f"), f);
}

/* A guest at its limit would else fill up with records of what it was never told of. */
Test(fp_ops_open, a_file_that_is_made_and_cannot_be_opened_leaves_no_record)
{
	auto_rig struct rig r = {.keeps_records = true};
	const struct fp_options few = {.trust = FP_FULL, .cache = FP_STRICT, .fds_max = 700};
	struct fuse_create_in create = {.flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0600};
	struct fuse_open_in in = {.flags = O_RDONLY};
	struct fp_item kept = {0}, dropped = {0};
	size_t pos = 0;

	rig_start(&r, &few);
	rig_write_file(&r, "f", "");
	uint64_t f = rig_lookup(&r, 1, "f");
	for (int n = 0; n < 1000 && r.error == 0; n++)
		(void)RIG_CALL(&r, FUSE_OPEN, f, &in, NULL);
	cr_assert_eq(RIG_CALL(&r, FUSE_CREATE, 1, &create, "new"), -ENFILE);
	cr_expect_eq(fp_server_count(r.server).nodes, 2);
	cr_assert_eq(r.frame.n, 2);
	cr_assert(fp_item_next(&r.frame, &pos, &kept));
	cr_assert(fp_item_next(&r.frame, &pos, &dropped));
	cr_expect_eq(kept.type, FP_T_KEEP);
	cr_expect_eq(dropped.type, FP_T_DROP);
	cr_expect_eq(memcmp(kept.data, dropped.data, FP_KEY_SIZE), 0);
}

Test(fp_ops_open, private_volumes_keep_data_and_do_not_flush)
{
	auto_rig struct rig r = {0};
	const struct fp_options priv = {.trust = FP_FULL, .cache = FP_PRIVATE, .timeout_ms = 1000};
	struct fuse_open_in in = {.flags = O_RDONLY};
	struct fuse_open_out out;

	rig_start(&r, &priv);
	rig_write_file(&r, "f", "");
	cr_assert_eq(RIG_CALL(&r, FUSE_OPEN, rig_lookup(&r, 1, "f"), &in, NULL), 0);
	memcpy(&out, r.out, sizeof(out));
	cr_expect_eq(out.open_flags, FOPEN_KEEP_CACHE | FOPEN_NOFLUSH);
}

Test(fp_ops_open, private_volumes_of_full_trust_open_nothing)
{
	auto_rig struct rig r = {.offers = FUSE_NO_OPEN_SUPPORT};
	const struct fp_options priv = {.trust = FP_FULL, .cache = FP_PRIVATE, .timeout_ms = 1000};
	struct fuse_open_in in = {.flags = O_RDWR};
	struct fuse_create_in create = {.flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0600};
	struct fuse_flush_in flush = {0};
	struct {
		struct fuse_write_in in;
		char data[4];
	} w = {{.size = 4}, "over"};

	rig_start(&r, &priv);
	rig_write_file(&r, "f", "text and more");
	uint64_t f = rig_lookup(&r, 1, "f");
	if (geteuid() != 0)
		cr_skip_test("needs root: full trust");
	cr_expect_eq(RIG_CALL(&r, FUSE_OPEN, f, &in, NULL), -ENOSYS);
	cr_expect_eq(RIG_CALL(&r, FUSE_CREATE, 1, &create, "g"), -ENOSYS);
	cr_expect_eq(RIG_CALL(&r, FUSE_TMPFILE, 1, &create, "/"), -ENOSYS);
	cr_expect_eq(rig_call(&r, FUSE_WRITE, f, &w, sizeof(w), NULL, NULL), 0);
	cr_expect_eq(read_some(&r, f, 0), 0);
	cr_expect(r.out_len == 13 && memcmp(r.out, "over and more", 13) == 0);
	cr_expect_eq(RIG_CALL(&r, FUSE_FLUSH, f, &flush, NULL), -ENOSYS);
	cr_expect_eq(read_some(&r, 1, 0), -EBADF, "a directory has no data");
	struct fuse_lk_in lock = {.lk = {.end = INT64_MAX, .type = F_WRLCK}};
	cr_expect_eq(RIG_CALL(&r, FUSE_SETLK, f, &lock, NULL), -EBADF);
	struct fuse_setattr_in cut = {.valid = FATTR_SIZE | FATTR_FH, .size = 4};
	cr_expect_eq(RIG_CALL(&r, FUSE_SETATTR, f, &cut, NULL), 0);
	/* Also when its name is gone. */
	cr_assert_eq(rig_call(&r, FUSE_UNLINK, 1, NULL, 0, "f", NULL), 0);
	cr_expect_eq(read_some(&r, f, 0), 0);
	cr_expect(r.out_len == 4 && memcmp(r.out, "over", 4) == 0);
	uint64_t dir = rig_open(&r, 1, O_RDONLY | O_DIRECTORY);
	cr_expect_neq(dir, 0);
}

static void come_back_as(struct rig *r, enum fp_trust trust, enum fp_cache cache)
{
	r->opt.volume.trust = trust;
	r->opt.volume.cache = cache;
	rig_restart(r);
	r->fd = rig_connect(r);
	(void)rig_hello(r, r->fd, 0, 1);
	rig_ready(r->fd, true, NULL, 0);
}

/* The kernel was told once: what a later process opened for it would never be closed. */
Test(fp_ops_open, a_mount_that_opens_nothing_does_so_after_a_restart)
{
	auto_rig struct rig r = {.keeps_records = true, .offers = FUSE_NO_OPEN_SUPPORT};
	const struct fp_options priv = {.trust = FP_FULL, .cache = FP_PRIVATE, .timeout_ms = 1000};
	static const enum fp_cache caches[] = {FP_PRIVATE, FP_SHARED, FP_STRICT};
	struct fuse_create_in in = {.flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0600};

	rig_need_root();
	rig_start(&r, &priv);
	rig_write_file(&r, "f", "text");
	for (size_t i = 0; i < ARRAY_SIZE(caches); i++) {
		come_back_as(&r, FP_FULL, caches[i]);
		cr_expect_eq(RIG_CALL(&r, FUSE_CREATE, 1, &in, "g"), -ENOSYS, "%zu", i);
		cr_expect_eq(read_some(&r, rig_lookup(&r, 1, "f"), 0), 0, "%zu", i);
	}
	/* Nobody has checked who reads without opening. */
	come_back_as(&r, FP_SQUASH, FP_PRIVATE);
	uint64_t f = rig_lookup(&r, 1, "f");
	cr_expect_eq(read_some(&r, f, 0), -EBADF);
	cr_expect_neq(rig_open(&r, f, O_RDONLY), 0);
}

/* And one that was told otherwise keeps opening: truncation is in its OPEN. */
Test(fp_ops_open, a_mount_that_opens_goes_on_opening_after_a_restart)
{
	auto_rig struct rig r = {.keeps_records = true, .offers = FUSE_NO_OPEN_SUPPORT};
	const struct fp_options shared = {.trust = FP_FULL, .cache = FP_SHARED};

	rig_need_root();
	rig_start(&r, &shared);
	rig_write_file(&r, "f", "text");
	come_back_as(&r, FP_FULL, FP_PRIVATE);
	cr_expect_neq(rig_open(&r, rig_lookup(&r, 1, "f"), O_RDWR | O_TRUNC), 0);
}

Test(fp_ops_open, everywhere_else_handle_0_is_none)
{
	static const struct fp_options cases[] = {
		{.trust = FP_FULL, .cache = FP_SHARED},
		{.trust = FP_FULL, .cache = FP_STRICT},
		{.trust = FP_SQUASH, .cache = FP_PRIVATE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_rig struct rig r = {.offers = FUSE_NO_OPEN_SUPPORT};

		rig_start(&r, &cases[i]);
		rig_write_file(&r, "f", "text");
		uint64_t f = rig_lookup(&r, 1, "f");
		cr_expect_eq(read_some(&r, f, 0), -EBADF, "%zu", i);
		(void)rig_open(&r, f, O_RDONLY);
	}
}

/* Whether listing the directory d, opened with these flags, changed its access time. */
static bool listing_is_seen(struct rig *r, uint64_t d, uint32_t flags)
{
	const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 2000}};
	const struct fuse_open_in open = {.flags = flags | O_DIRECTORY};
	struct fuse_read_in in = {.size = 4096};
	struct stat st = {0};

	cr_assert_eq(utimensat(AT_FDCWD, rig_path(r, "d"), old, 0), 0);
	cr_assert_eq(RIG_CALL(r, FUSE_OPENDIR, d, &open, NULL), 0);
	in.fh = ((const struct fuse_open_out *)(const void *)r->out)->fh;
	cr_assert_eq(RIG_CALL(r, FUSE_READDIR, d, &in, NULL), 0);
	cr_assert_eq(stat(rig_path(r, "d"), &st), 0);
	return st.st_atim.tv_sec != 1000;
}

Test(fp_ops_open, listing_a_directory_without_a_trace_leaves_none)
{
	auto_rig struct rig r = {0};

	rig_start(&r, NULL);
	uint64_t d = rig_mkdir(&r, 1, "d");
	cr_expect(listing_is_seen(&r, d, 0));
	cr_expect_not(listing_is_seen(&r, d, O_NOATIME));
}
