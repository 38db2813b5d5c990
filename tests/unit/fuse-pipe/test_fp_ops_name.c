#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "rig.h"

static void stat_at(struct rig *r, const char *name, struct stat *st)
{
	cr_assert_eq(lstat(rig_path(r, name), st), 0, "%s: %s", name, strerror(errno));
}

Test(fp_ops_name, what_is_made_is_there_and_is_the_callers)
{
	auto_rig struct rig r = {0};
	struct fuse_mkdir_in dir = {.mode = 0777, .umask = 022};
	struct fuse_mknod_in fifo = {.mode = S_IFIFO | 0666, .umask = 027};
	struct stat st;

	rig_need_root();
	rig_start(&r, NULL);
	cr_assert_eq(chmod(r.root, 0777), 0);
	r.uid = 1234;
	r.gid = 4321;
	cr_assert_eq(RIG_CALL(&r, FUSE_MKDIR, FUSE_ROOT_ID, &dir, "d"), 0);
	stat_at(&r, "d", &st);
	cr_expect(S_ISDIR(st.st_mode) && (st.st_mode & 0777) == 0755);
	cr_expect(st.st_uid == 1234 && st.st_gid == 4321);
	cr_assert_eq(RIG_CALL(&r, FUSE_MKNOD, FUSE_ROOT_ID, &fifo, "p"), 0);
	stat_at(&r, "p", &st);
	cr_expect(S_ISFIFO(st.st_mode) && (st.st_mode & 0777) == 0640 && st.st_uid == 1234);
	cr_assert_eq(rig_call(&r, FUSE_SYMLINK, FUSE_ROOT_ID, NULL, 0, "l", "/etc/passwd"), 0);
	stat_at(&r, "l", &st);
	cr_expect(S_ISLNK(st.st_mode) && st.st_uid == 1234);
	uint64_t l = rig_lookup(&r, FUSE_ROOT_ID, "l");
	cr_assert_eq(rig_call(&r, FUSE_READLINK, l, NULL, 0, NULL, NULL), 0);
	cr_expect(r.out_len == 11 && memcmp(r.out, "/etc/passwd", 11) == 0);
}

/* A directory of a group that only the supplementary list holds, and that hands its group on. */
Test(fp_ops_name, supplementary_groups_count_where_something_is_made)
{
	auto_rig struct rig r = {0};
	struct fuse_create_in in = {.flags = O_RDWR | O_CREAT | O_EXCL, .mode = S_IFREG | 02775};
	static const uint32_t groups[] = {777};
	struct stat st;

	rig_need_root();
	rig_start(&r, NULL);
	cr_assert_eq(chown(r.root, 0, 777), 0);
	cr_assert_eq(chmod(r.root, 02775), 0);
	r.uid = 1234;
	r.gid = 4321;
	/* Not in the group of the directory: what it makes loses the set-gid bit. */
	cr_assert_eq(RIG_CALL(&r, FUSE_CREATE, FUSE_ROOT_ID, &in, "without"), 0);
	stat_at(&r, "without", &st);
	cr_expect(st.st_gid == 777 && (st.st_mode & 07777) == 0775, "%o", st.st_mode);
	r.groups = groups;
	r.n_groups = 1;
	cr_assert_eq(RIG_CALL(&r, FUSE_CREATE, FUSE_ROOT_ID, &in, "with"), 0);
	stat_at(&r, "with", &st);
	cr_expect(st.st_gid == 777 && (st.st_mode & 07777) == 02775, "%o", st.st_mode);
}

Test(fp_ops_name, groups_of_one_caller_are_not_the_next_ones)
{
	auto_rig struct rig r = {0};
	struct fuse_create_in in = {.flags = O_RDWR | O_CREAT, .mode = S_IFREG | 02775};
	uint32_t many[100] = {777};
	struct stat st;

	rig_need_root();
	rig_start(&r, NULL);
	cr_assert_eq(chown(r.root, 0, 777), 0);
	cr_assert_eq(chmod(r.root, 02777), 0);
	for (uint32_t i = 1; i < ARRAY_SIZE(many); i++)
		many[i] = 10000 + i;
	r.uid = 1234;
	r.gid = 4321;
	r.groups = many;
	r.n_groups = ARRAY_SIZE(many);
	cr_assert_eq(RIG_CALL(&r, FUSE_CREATE, FUSE_ROOT_ID, &in, "a"), 0);
	stat_at(&r, "a", &st);
	cr_expect_eq(st.st_mode & S_ISGID, S_ISGID);
	r.groups = NULL;
	cr_assert_eq(RIG_CALL(&r, FUSE_CREATE, FUSE_ROOT_ID, &in, "b"), 0);
	stat_at(&r, "b", &st);
	cr_expect_eq(st.st_mode & S_ISGID, 0);
}

Test(fp_ops_name, links_and_renames_work_with_all_flags)
{
	auto_rig struct rig r = {0};
	struct fuse_rename2_in no = {.newdir = FUSE_ROOT_ID, .flags = RENAME_NOREPLACE};
	struct fuse_rename2_in swap = {.newdir = FUSE_ROOT_ID, .flags = RENAME_EXCHANGE};
	struct fuse_rename2_in bad = {.newdir = FUSE_ROOT_ID, .flags = 0x80};
	struct fuse_rename_in to = {0};
	struct fuse_link_in link = {0};
	struct stat a, b;

	rig_start(&r, NULL);
	rig_write_file(&r, "a", "a");
	rig_write_file(&r, "b", "bb");
	to.newdir = rig_mkdir(&r, FUSE_ROOT_ID, "d");
	cr_expect_eq(rig_call(&r, FUSE_RENAME2, 1, &no, sizeof(no), "a", "b"), -EEXIST);
	cr_expect_eq(rig_call(&r, FUSE_RENAME2, 1, &bad, sizeof(bad), "a", "b"), -EINVAL);
	cr_expect_eq(rig_call(&r, FUSE_RENAME2, 1, &swap, sizeof(swap), "a", "b"), 0);
	stat_at(&r, "a", &a);
	cr_expect_eq(a.st_size, 2);
	cr_expect_eq(rig_call(&r, FUSE_RENAME, 1, &to, sizeof(to), "a", "moved"), 0);
	stat_at(&r, "d/moved", &a);
	link.oldnodeid = rig_lookup(&r, to.newdir, "moved");
	cr_expect_eq(RIG_CALL(&r, FUSE_LINK, FUSE_ROOT_ID, &link, "again"), 0);
	stat_at(&r, "again", &b);
	cr_expect(a.st_ino == b.st_ino && b.st_nlink == 2);
	cr_expect_eq(rig_lookup(&r, FUSE_ROOT_ID, "again"), link.oldnodeid);
	cr_expect_eq(rig_call(&r, FUSE_UNLINK, to.newdir, NULL, 0, "moved", NULL), 0);
	cr_expect_eq(rig_call(&r, FUSE_RMDIR, 1, NULL, 0, "d", NULL), 0);
	cr_expect_eq(rig_call(&r, FUSE_RMDIR, 1, NULL, 0, "d", NULL), -ENOENT);
	cr_expect_eq(rig_call(&r, FUSE_UNLINK, to.newdir, NULL, 0, "x", NULL), -ENOENT);
}

Test(fp_ops_name, no_name_leads_out)
{
	auto_rig struct rig r = {0};
	static const char *const names[] = {"..", ".", "/", "/etc", "../x", "a/../../x", ""};

	rig_start(&r, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cr_expect_eq(rig_lookup_error(&r, FUSE_ROOT_ID, names[i]), -EINVAL, "%s", names[i]);
		cr_expect_eq(rig_call(&r, FUSE_UNLINK, 1, NULL, 0, names[i], NULL), -EINVAL);
		cr_expect_eq(rig_call(&r, FUSE_SYMLINK, 1, NULL, 0, names[i], "t"), -EINVAL);
	}
}

Test(fp_ops_name, links_are_never_followed)
{
	auto_rig struct rig r = {0};
	struct fuse_create_in create = {.flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0600};
	struct fuse_open_in open_in = {.flags = O_RDONLY};

	rig_start(&r, NULL);
	static const char *const targets[] = {
		"/etc", "..", "../../etc/passwd", "/proc/self/root", "/proc/self/cwd", "nothing"};
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		cr_assert_eq(symlink(targets[i], rig_path(&r, "l")), 0);
		uint64_t l = rig_lookup(&r, FUSE_ROOT_ID, "l");
		struct fuse_entry_out e;

		memcpy(&e, r.out, sizeof(e));
		cr_expect(S_ISLNK(e.attr.mode), "%s", targets[i]);
		cr_expect_eq(RIG_CALL(&r, FUSE_CREATE, 1, &create, "l"), -ELOOP);
		cr_expect_eq(RIG_CALL(&r, FUSE_OPEN, l, &open_in, NULL), -EINVAL);
		cr_expect_eq(RIG_CALL(&r, FUSE_OPENDIR, l, &open_in, NULL), -ENOTDIR);
		cr_expect_eq(rig_lookup_error(&r, l, "passwd"), -ENOTDIR);
		cr_assert_eq(unlink(rig_path(&r, "l")), 0);
	}
}

Test(fp_ops_name, what_is_mounted_below_is_not_reached)
{
	auto_rig struct rig r = {0};

	rig_need_root();
	rig_start(&r, NULL);
	uint64_t d = rig_mkdir(&r, FUSE_ROOT_ID, "d");
	/* Seen by the server's threads, too: the namespace is the process's. */
	cr_assert_eq(mount("none", rig_path(&r, "d"), "tmpfs", 0, NULL), 0);
	cr_expect_eq(rig_lookup_error(&r, FUSE_ROOT_ID, "d"), -EXDEV);
	/* The node from before is the directory below the mount, which is ours. */
	uint64_t x = rig_mkdir(&r, d, "x");
	cr_expect_neq(x, 0);
	cr_expect_neq(access(rig_path(&r, "d/x"), F_OK), 0);
	cr_assert_eq(umount(rig_path(&r, "d")), 0);
	cr_expect_eq(access(rig_path(&r, "d/x"), F_OK), 0);
}

/* Another name for a directory while it is swapped for a link that leads out. */
struct swapper {
	const char *dir, *link;
	atomic_bool stop;
};

static void *swap(void *data)
{
	struct swapper *s = data;

	while (!atomic_load(&s->stop))
		(void)renameat2(AT_FDCWD, s->dir, AT_FDCWD, s->link, RENAME_EXCHANGE);
	return NULL;
}

Test(fp_ops_name, a_directory_swapped_for_a_link_is_one_or_the_other)
{
	auto_rig struct rig r = {0};
	char dir[200], link[200];
	struct swapper s = {dir, link, false};
	pthread_t thread;

	rig_start(&r, NULL);
	(void)snprintf(dir, sizeof(dir), "%s/d", r.root);
	(void)snprintf(link, sizeof(link), "%s/l", r.root);
	cr_assert(mkdir(dir, 0755) == 0 && symlink(r.dir, link) == 0);
	rig_write_file(&r, "d/inside", "");
	cr_assert_eq(pthread_create(&thread, NULL, swap, &s), 0);
	for (int i = 0; i < 3000; i++) {
		uint64_t d = rig_lookup(&r, FUSE_ROOT_ID, "d");
		int got = rig_lookup_error(&r, d, "root");

		cr_expect(got == -ENOENT || got == -ENOTDIR, "%d", got);
		got = rig_lookup_error(&r, d, "inside");
		cr_expect(got == 0 || got == -ENOTDIR, "%d", got);
	}
	atomic_store(&s.stop, true);
	(void)pthread_join(thread, NULL);
}

Test(fp_ops_name, squash_makes_no_devices_and_no_set_id_files)
{
	auto_rig struct rig r = {0};
	const struct fp_options squash = {.trust = FP_SQUASH, .cache = FP_STRICT};
	struct fuse_mknod_in dev = {.mode = S_IFCHR | 0666, .rdev = 0x103};
	struct fuse_mknod_in file = {.mode = S_IFREG | 06755};
	struct fuse_rename2_in white = {.newdir = FUSE_ROOT_ID, .flags = RENAME_WHITEOUT};
	struct stat st;

	rig_start(&r, &squash);
	cr_expect_eq(RIG_CALL(&r, FUSE_MKNOD, FUSE_ROOT_ID, &dev, "null"), -EPERM);
	dev.rdev = 0; /* a whiteout: the kernel lets everybody make it */
	cr_expect_eq(RIG_CALL(&r, FUSE_MKNOD, FUSE_ROOT_ID, &dev, "white"), -EPERM);
	dev.mode = S_IFBLK | 0666;
	cr_expect_eq(RIG_CALL(&r, FUSE_MKNOD, FUSE_ROOT_ID, &dev, "disk"), -EPERM);
	cr_assert_eq(RIG_CALL(&r, FUSE_MKNOD, FUSE_ROOT_ID, &file, "f"), 0);
	stat_at(&r, "f", &st);
	cr_expect_eq(st.st_mode & 07777, 0755);
	(void)rig_create(&r, FUSE_ROOT_ID, "g", 06755, NULL);
	stat_at(&r, "g", &st);
	cr_expect_eq(st.st_mode & 07777, 0755);
	cr_expect_eq(rig_call(&r, FUSE_RENAME2, 1, &white, sizeof(white), "f", "h"), -EINVAL);
}

/* It learns the owner at its start. */
static void begin_anew(struct rig *r)
{
	rig_restart(r);
	r->fd = rig_connect(r);
	(void)rig_hello(r, r->fd, 0, 1);
	rig_ready(r->fd, true, NULL, 0);
	rig_init(r);
}

Test(fp_ops_name, squash_makes_root_the_owner_of_the_directory)
{
	auto_rig struct rig r = {0};
	const struct fp_options squash = {.trust = FP_SQUASH, .cache = FP_STRICT};
	struct stat st;

	rig_need_root();
	rig_start(&r, &squash);
	cr_assert_eq(chown(r.root, 1500, 1600), 0);
	rig_write_file(&r, "roots", "secret");
	cr_assert_eq(chmod(rig_path(&r, "roots"), 0600), 0);
	begin_anew(&r);
	(void)rig_mkdir(&r, FUSE_ROOT_ID, "d");
	stat_at(&r, "d", &st);
	cr_expect(st.st_uid == 1500 && st.st_gid == 1600);
	struct fuse_open_in in = {.flags = O_RDONLY};
	uint64_t node = rig_lookup(&r, FUSE_ROOT_ID, "roots");
	cr_expect_eq(RIG_CALL(&r, FUSE_OPEN, node, &in, NULL), -EACCES);
}

/* Group 0 is root's as user 0 is, wherever a caller names it. */
Test(fp_ops_name, squash_makes_nobody_a_member_of_roots_group)
{
	auto_rig struct rig r = {0};
	const struct fp_options squash = {.trust = FP_SQUASH, .cache = FP_STRICT};
	uint32_t groups[40] = {0};
	struct fuse_open_in in = {.flags = O_RDONLY};

	rig_need_root();
	rig_start(&r, &squash);
	cr_assert_eq(chown(r.root, 1500, 1600), 0);
	rig_write_file(&r, "roots", "secret");
	cr_assert_eq(chmod(rig_path(&r, "roots"), 0640), 0);
	rig_write_file(&r, "groups", "shared");
	cr_assert_eq(chown(rig_path(&r, "groups"), 0, 1600), 0);
	cr_assert_eq(chmod(rig_path(&r, "groups"), 0640), 0);
	begin_anew(&r);
	uint64_t roots = rig_lookup(&r, FUSE_ROOT_ID, "roots");
	uint64_t shared = rig_lookup(&r, FUSE_ROOT_ID, "groups");
	r.uid = r.gid = 1234;
	r.groups = groups;
	for (size_t i = 1; i < ARRAY_SIZE(groups); i++)
		groups[i] = 10000 + (uint32_t)i;
	for (r.n_groups = 1; r.n_groups <= ARRAY_SIZE(groups); r.n_groups += 39) {
		cr_expect_eq(RIG_CALL(&r, FUSE_OPEN, roots, &in, NULL), -EACCES);
		cr_expect_eq(RIG_CALL(&r, FUSE_OPEN, shared, &in, NULL), 0, "as its owner's group");
	}
}

Test(fp_ops_name, a_missing_name_may_be_remembered_where_that_is_allowed)
{
	auto_rig struct rig r = {0};
	const struct fp_options shared = {.trust = FP_FULL, .cache = FP_SHARED, .timeout_ms = 1500};
	struct fuse_entry_out e;

	rig_start(&r, &shared);
	cr_assert_eq(rig_lookup_error(&r, FUSE_ROOT_ID, "none"), 0);
	memcpy(&e, r.out, sizeof(e));
	cr_expect(e.nodeid == 0 && e.entry_valid == 1 && e.entry_valid_nsec == 500000000);
}

/* Sent again after the reply was lost: as if it had come once. */
Test(fp_ops_name, a_request_that_comes_twice_is_done_once)
{
	auto_rig struct rig r = {0};
	struct fuse_mkdir_in in = {.mode = 0755};
	struct fuse_rename_in to = {.newdir = FUSE_ROOT_ID};

	rig_start(&r, NULL);
	(void)rig_mkdir(&r, FUSE_ROOT_ID, "d");
	r.flags = FP_F_RESENT;
	r.unique -= 2;
	cr_expect_eq(RIG_CALL(&r, FUSE_MKDIR, FUSE_ROOT_ID, &in, "d"), 0);
	cr_expect_eq(RIG_CALL(&r, FUSE_MKDIR, FUSE_ROOT_ID, &in, "d"), -EEXIST, "another one");
	r.flags = 0;
	cr_expect_eq(rig_call(&r, FUSE_RENAME, 1, &to, sizeof(to), "d", "e"), 0);
	r.flags = FP_F_RESENT;
	r.unique -= 2;
	cr_expect_eq(rig_call(&r, FUSE_RENAME, 1, &to, sizeof(to), "d", "e"), 0);
	r.flags = 0;
	cr_expect_eq(rig_call(&r, FUSE_RMDIR, 1, NULL, 0, "x", NULL), -ENOENT);
	uint64_t unique = r.unique;
	(void)rig_mkdir(&r, FUSE_ROOT_ID, "x");
	r.flags = FP_F_RESENT;
	r.unique = unique - 2;
	cr_expect_eq(rig_call(&r, FUSE_RMDIR, 1, NULL, 0, "x", NULL), -ENOENT, "from the log");
	cr_expect_eq(access(rig_path(&r, "x"), F_OK), 0);
}

/* Others may have used the name meanwhile: what was done is not done to theirs. */
Test(fp_ops_name, what_was_done_is_not_done_again_to_what_others_made)
{
	auto_rig struct rig r = {0};
	struct fuse_rename_in to = {.newdir = FUSE_ROOT_ID};
	struct fuse_create_in in = {.flags = O_RDWR | O_CREAT | O_TRUNC, .mode = S_IFREG | 0600};
	struct fuse_mkdir_in dir = {.mode = 0755};
	struct stat st;

	rig_start(&r, NULL);
	rig_write_file(&r, "f", "old");
	cr_assert_eq(rig_call(&r, FUSE_UNLINK, 1, NULL, 0, "f", NULL), 0);
	rig_write_file(&r, "f", "new");
	r.flags = FP_F_RESENT;
	r.unique -= 2;
	cr_expect_eq(rig_call(&r, FUSE_UNLINK, 1, NULL, 0, "f", NULL), 0);
	cr_expect_eq(access(rig_path(&r, "f"), F_OK), 0, "another file");
	r.flags = 0;
	cr_assert_eq(rig_call(&r, FUSE_RENAME, 1, &to, sizeof(to), "f", "g"), 0);
	rig_write_file(&r, "f", "third");
	r.flags = FP_F_RESENT;
	r.unique -= 2;
	cr_expect_eq(rig_call(&r, FUSE_RENAME, 1, &to, sizeof(to), "f", "g"), 0);
	stat_at(&r, "g", &st);
	cr_expect_eq(st.st_size, 3, "not replaced by the third");
	r.flags = 0;
	cr_assert_eq(RIG_CALL(&r, FUSE_CREATE, 1, &in, "c"), 0);
	rig_write_file(&r, "c", "written since");
	r.flags = FP_F_RESENT;
	r.unique -= 2;
	cr_expect_eq(RIG_CALL(&r, FUSE_CREATE, 1, &in, "c"), 0);
	stat_at(&r, "c", &st);
	cr_expect_eq(st.st_size, 13, "not cut again");
	r.flags = 0;
	cr_assert_eq(RIG_CALL(&r, FUSE_MKDIR, 1, &dir, "d"), 0);
	cr_assert_eq(rmdir(rig_path(&r, "d")), 0);
	r.flags = FP_F_RESENT;
	r.unique -= 2;
	cr_expect_eq(RIG_CALL(&r, FUSE_MKDIR, 1, &dir, "d"), -ENOENT);
	cr_expect_lt(access(rig_path(&r, "d"), F_OK), 0, "not made again");
}

Test(fp_ops_name, nothing_changes_on_a_read_only_volume)
{
	auto_rig struct rig r = {0};
	const struct fp_options ro = {.trust = FP_FULL, .cache = FP_STRICT, .read_only = true};
	static const uint8_t zeros[256];

	rig_start(&r, &ro);
	rig_write_file(&r, "f", "text");
	uint64_t f = rig_lookup(&r, FUSE_ROOT_ID, "f");
	for (uint32_t opcode = 0; opcode < FP_OPCODES; opcode++) {
		const struct fp_op *op = fp_op_find(opcode);

		if (!op || !(op->flags & FP_OP_WRITES))
			continue;
		cr_expect_eq(rig_call(&r, opcode, FUSE_ROOT_ID, zeros, op->arg_size,
				      op->strings[0] ? "f" : NULL, op->strings[1] ? "g" : NULL),
			     -EROFS, "%s", op->name);
	}
	static const uint32_t flags[] = {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC};
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct fuse_open_in in = {.flags = flags[i]};

		cr_expect_eq(RIG_CALL(&r, FUSE_OPEN, f, &in, NULL), -EROFS);
	}
	(void)rig_open(&r, f, O_RDONLY);
}
