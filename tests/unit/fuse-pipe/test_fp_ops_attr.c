#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"
#include "rig.h"

static int set(struct rig *r, uint64_t node, struct fuse_setattr_in in)
{
	return RIG_CALL(r, FUSE_SETATTR, node, &in, NULL);
}

static struct fuse_attr attr(const struct rig *r)
{
	struct fuse_attr_out out;

	cr_assert_eq(r->out_len, sizeof(out));
	memcpy(&out, r->out, sizeof(out));
	return out.attr;
}

Test(fp_ops_attr, attributes_are_those_of_the_file)
{
	auto_rig struct rig r = {0};
	struct fuse_getattr_in in = {0};
	struct stat st;

	rig_start(&r, NULL);
	rig_write_file(&r, "f", "12345");
	cr_assert_eq(RIG_CALL(&r, FUSE_GETATTR, rig_lookup(&r, 1, "f"), &in, NULL), 0);
	cr_assert_eq(stat(rig_path(&r, "f"), &st), 0);
	struct fuse_attr a = attr(&r);
	cr_expect(a.ino == st.st_ino && a.size == 5 && a.mode == st.st_mode && a.nlink == 1);
	cr_expect(a.mtime == (uint64_t)st.st_mtim.tv_sec &&
		  a.mtimensec == (uint32_t)st.st_mtim.tv_nsec);
	in = (struct fuse_getattr_in){.getattr_flags = FUSE_GETATTR_FH, .fh = 12345};
	cr_expect_eq(RIG_CALL(&r, FUSE_GETATTR, 1, &in, NULL), -EBADF, "no such handle");
	cr_expect_eq(RIG_CALL(&r, FUSE_GETATTR, 4242, &in, NULL), -ESTALE, "nor such a node");
	in.getattr_flags = 0;
	cr_expect_eq(RIG_CALL(&r, FUSE_GETATTR, 4242, &in, NULL), -ESTALE);
}

Test(fp_ops_attr, mode_owner_size_and_times_are_set)
{
	auto_rig struct rig r = {0};

	rig_need_root();
	rig_start(&r, NULL);
	rig_write_file(&r, "f", "12345");
	uint64_t f = rig_lookup(&r, 1, "f");
	cr_assert_eq(set(&r, f, (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 04711}), 0);
	cr_expect_eq(attr(&r).mode & 07777, 04711);
	cr_assert_eq(
		set(&r, f,
		    (struct fuse_setattr_in){.valid = FATTR_UID | FATTR_GID, .uid = 9, .gid = 8}),
		0);
	cr_expect(attr(&r).uid == 9 && attr(&r).gid == 8);
	cr_assert_eq(set(&r, f, (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = 100}), 0);
	cr_expect_eq(attr(&r).size, 100);
	cr_assert_eq(set(&r, f,
			 (struct fuse_setattr_in){
				 .valid = FATTR_MTIME, .mtime = 1000, .mtimensec = 999999999}),
		     0);
	cr_expect(attr(&r).mtime == 1000 && attr(&r).mtimensec == 999999999);
	cr_assert_eq(set(&r, f, (struct fuse_setattr_in){.valid = FATTR_MTIME | FATTR_MTIME_NOW}),
		     0);
	cr_expect_gt(attr(&r).mtime, 1000);
	cr_expect_eq(
		set(&r, f, (struct fuse_setattr_in){.valid = FATTR_MTIME, .mtimensec = 1000000000}),
		-EINVAL);
	cr_expect_eq(set(&r, f, (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = 1ull << 63}),
		     -EFBIG);
	cr_expect_eq(set(&r, 1, (struct fuse_setattr_in){.valid = FATTR_SIZE}), -EINVAL);
}

Test(fp_ops_attr, times_of_a_link_are_the_links)
{
	auto_rig struct rig r = {0};
	struct stat st;

	rig_start(&r, NULL);
	rig_write_file(&r, "f", "");
	cr_assert_eq(symlink("f", rig_path(&r, "l")), 0);
	cr_assert_eq(set(&r, rig_lookup(&r, 1, "l"),
			 (struct fuse_setattr_in){.valid = FATTR_ATIME, .atime = 77}),
		     0);
	cr_assert_eq(lstat(rig_path(&r, "l"), &st), 0);
	cr_expect_eq(st.st_atim.tv_sec, 77);
	cr_assert_eq(stat(rig_path(&r, "f"), &st), 0);
	cr_expect_neq(st.st_atim.tv_sec, 77);
}

Test(fp_ops_attr, a_callers_rights_decide_what_it_may_set)
{
	auto_rig struct rig r = {0};

	rig_need_root();
	rig_start(&r, NULL);
	rig_write_file(&r, "f", "");
	uint64_t f = rig_lookup(&r, 1, "f");
	r.uid = 1234;
	r.gid = 4321;
	cr_expect_eq(set(&r, f, (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 0777}),
		     -EPERM);
	cr_expect_eq(set(&r, f, (struct fuse_setattr_in){.valid = FATTR_UID, .uid = 1234}), -EPERM);
	cr_assert_eq(chown(rig_path(&r, "f"), 1234, 555), 0);
	/* Not in the file's group: the set-gid bit does not stick. */
	cr_assert_eq(set(&r, f, (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 02770}), 0);
	cr_expect_eq(attr(&r).mode & 07777, 0770);
	r.groups = (const uint32_t[]){555, 556};
	r.n_groups = 2;
	cr_assert_eq(set(&r, f, (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 02770}), 0);
	cr_expect_eq(attr(&r).mode & 07777, 02770);
	cr_expect_eq(set(&r, f, (struct fuse_setattr_in){.valid = FATTR_GID, .gid = 556}), 0);
	cr_expect_eq(set(&r, f, (struct fuse_setattr_in){.valid = FATTR_GID, .gid = 557}), -EPERM);
}

Test(fp_ops_attr, shortening_strips_set_id_bits_when_asked_to)
{
	auto_rig struct rig r = {0};

	rig_need_root();
	rig_start(&r, NULL);
	rig_write_file(&r, "f", "12345");
	cr_assert_eq(chmod(rig_path(&r, "f"), 06755), 0);
	uint64_t f = rig_lookup(&r, 1, "f");
	cr_assert_eq(set(&r, f, (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = 4}), 0);
	cr_expect_eq(attr(&r).mode & 07777, 06755);
	cr_assert_eq(
		set(&r, f,
		    (struct fuse_setattr_in){.valid = FATTR_SIZE | FATTR_KILL_SUIDGID, .size = 3}),
		0);
	cr_expect_eq(attr(&r).mode & 07777, 0755);
}

Test(fp_ops_attr, squash_strips_set_id_bits)
{
	auto_rig struct rig r = {0};
	const struct fp_options squash = {.trust = FP_SQUASH, .cache = FP_STRICT};

	rig_start(&r, &squash);
	rig_write_file(&r, "f", "");
	cr_assert_eq(set(&r, rig_lookup(&r, 1, "f"),
			 (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 06755}),
		     0);
	cr_expect_eq(attr(&r).mode & 07777, 0755);
}

static int set_xattr(struct rig *r, uint64_t node, const char *name, const char *value)
{
	struct fuse_setxattr_in in = {.size = (uint32_t)strlen(value)};

	return rig_call(r, FUSE_SETXATTR, node, &in, sizeof(in), name, value);
}

Test(fp_ops_attr, extended_attributes_come_and_go)
{
	auto_rig struct rig r = {0};
	struct fuse_getxattr_in size = {0}, big = {.size = 100}, small = {.size = 2};
	struct fuse_getxattr_out out;

	rig_start(&r, NULL);
	rig_write_file(&r, "f", "");
	if (setxattr(rig_path(&r, "f"), "user.x", "1", 1, 0) < 0)
		cr_skip_test("needs user xattrs in /tmp");
	uint64_t f = rig_lookup(&r, 1, "f");
	cr_assert_eq(set_xattr(&r, f, "user.a", "value"), 0);
	cr_assert_eq(RIG_CALL(&r, FUSE_GETXATTR, f, &size, "user.a"), 0);
	memcpy(&out, r.out, sizeof(out));
	cr_expect_eq(out.size, 5);
	cr_assert_eq(RIG_CALL(&r, FUSE_GETXATTR, f, &big, "user.a"), 0);
	cr_expect(r.out_len == 5 && memcmp(r.out, "value", 5) == 0);
	cr_expect_eq(RIG_CALL(&r, FUSE_GETXATTR, f, &small, "user.a"), -ERANGE);
	cr_expect_eq(RIG_CALL(&r, FUSE_GETXATTR, f, &big, "user.none"), -ENODATA);
	cr_assert_eq(RIG_CALL(&r, FUSE_LISTXATTR, f, &big, NULL), 0);
	cr_expect_eq(r.out_len, sizeof("user.x") + sizeof("user.a"));
	cr_assert_eq(rig_call(&r, FUSE_REMOVEXATTR, f, NULL, 0, "user.a", NULL), 0);
	cr_expect_eq(rig_call(&r, FUSE_REMOVEXATTR, f, NULL, 0, "user.a", NULL), -ENODATA);
	struct fuse_getxattr_in huge = {.size = UINT32_MAX};
	cr_expect_eq(RIG_CALL(&r, FUSE_GETXATTR, f, &huge, "user.x"), 0);
	cr_expect_eq(r.out_len, 1);
}

Test(fp_ops_attr, squash_sets_no_attribute_that_is_as_good_as_a_set_id_bit)
{
	auto_rig struct rig r = {0};
	const struct fp_options squash = {.trust = FP_SQUASH, .cache = FP_STRICT};
	static const char *const names[] = {"security.capability", "security.selinux",
					    "trusted.overlay.opaque", "system.other", "userx"};

	rig_start(&r, &squash);
	rig_write_file(&r, "f", "");
	uint64_t f = rig_lookup(&r, 1, "f");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cr_expect_eq(set_xattr(&r, f, names[i], "v"), -EPERM, "%s", names[i]);
		cr_expect_eq(rig_call(&r, FUSE_REMOVEXATTR, f, NULL, 0, names[i], NULL), -EPERM);
	}
}

Test(fp_ops_attr, not_root_the_guest_sees_itself_as_the_owner)
{
	auto_rig struct rig r = {0};
	const struct fp_options as = {
		.trust = FP_SQUASH, .cache = FP_STRICT, .as_uid = 1000, .as_gid = 100};
	struct fuse_getattr_in in = {0};

	if (geteuid() == 0 && (setresgid(4711, 4711, 4711) < 0 || setresuid(4711, 4711, 4711) < 0))
		cr_skip_test("cannot become another user");
	rig_start(&r, &as);
	rig_write_file(&r, "f", "");
	uint64_t f = rig_lookup(&r, 1, "f");
	cr_assert_eq(RIG_CALL(&r, FUSE_GETATTR, f, &in, NULL), 0);
	cr_expect(attr(&r).uid == 1000 && attr(&r).gid == 100);
	cr_expect_eq(set(&r, f,
			 (struct fuse_setattr_in){
				 .valid = FATTR_UID | FATTR_GID, .uid = 1000, .gid = 100}),
		     0);
	cr_expect_eq(set(&r, f, (struct fuse_setattr_in){.valid = FATTR_UID, .uid = 0}), -EPERM);
	cr_expect_eq(set(&r, f, (struct fuse_setattr_in){.valid = FATTR_GID, .gid = 0}), -EPERM);
	r.uid = 5;
	(void)rig_mkdir(&r, 1, "d");
	cr_assert_eq(RIG_CALL(&r, FUSE_GETATTR, rig_lookup(&r, 1, "d"), &in, NULL), 0);
	cr_expect_eq(attr(&r).uid, 1000, "whoever made it");
}
