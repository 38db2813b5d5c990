/* test_escape.c - from the mount, nothing outside of the served directory can be read, changed or
 * even seen to exist: not by names, not by links, not while somebody on the host moves things
 * about, not by handles that are made up. `bare` is the neighbour that is to stay as it is. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "posix.h"
#include "world.h"
#include "xalloc.h"

#define SECRET "the neighbour's"

static void put_secret(int dir_fd, const char *name)
{
	auto_close int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

	cr_assert_geq(fd, 0, "%s: %s", name, strerror(errno));
	cr_assert_eq(write(fd, SECRET, sizeof(SECRET) - 1), (ssize_t)sizeof(SECRET) - 1);
}

static char *dump_of(int dir_fd)
{
	auto_buf struct buf out = BUF_INIT(1u << 20);

	posix_dump(dir_fd, &(struct posix_since){INT64_MAX / 2, 0}, false, &out);
	return buf_detach(&out);
}

/* It may work or not: what counts is what it leaves. */
static void try(long r)
{
	(void)r;
}

/* Everything one can do with a path. Some of it succeeds where the path is in the mount; none of it
 * may touch the neighbour. Returns true when something was read that is the neighbour's. */
static bool do_everything(int at, const char *path)
{
	char data[64] = "";
	struct stat st;
	auto_close int rd = openat(at, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	auto_close int wr = openat(at, path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	auto_free char *proc = xasprintf("/proc/self/fd/%d/%s", at, path);

	if (rd >= 0)
		try(read(rd, data, sizeof(data) - 1));
	if (wr >= 0)
		try(write(wr, "overwritten", 11));
	try(fstatat(at, path, &st, 0));
	try(fchmodat(at, path, 0777, 0));
	try(fchownat(at, path, 4242, 4242, 0));
	try(truncate(proc, 1));
	try(utimensat(at, path, NULL, 0));
	try(setxattr(proc, "user.escaped", "x", 1, 0));
	try(linkat(at, path, at, "linked", AT_SYMLINK_FOLLOW));
	try(unlinkat(at, "linked", 0));
	cleanup_close_p(&(int){openat(at, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666)});
	try(mkdirat(at, path, 0777));
	return strstr(data, "neighbour") != NULL;
}

Test(escape, by_names_and_links, .fini = world_cleanup)
{
	/* What these name exists on the host, seen from the directory that is served. Seen from the
	 * mount, where this process follows them, they lead nowhere but to this test's own. */
	static const char *const targets[] = {
		"../bare/secret",
		"../../disk/bare/secret",
		"..",
		"../bare",
		"./../bare/secret",
		"sub/../../bare/secret",
		"/proc/self/root/../bare/secret",
		"/proc/1/cwd",
		"/proc/thread-self/root",
	};
	auto_world struct world w;

	world_open(&w, FS_EXT4, "shared", WORLD_FULL_TRUST);
	put_secret(w.bare_fd, "secret");
	cr_assert_eq(mkdirat(w.vol_fd, "sub", 0777), 0);
	auto_free char *before = dump_of(w.bare_fd);

	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		auto_free char *name = xasprintf("link-%zu", i);

		/* Made below, as somebody on the host would, and through the mount. */
		cr_assert_eq(symlinkat(targets[i], i % 2 ? w.vol_fd : w.mnt_fd, name), 0);
		if (targets[i][0] != '/')
			cr_expect(!do_everything(w.mnt_fd, name), "%s was read", targets[i]);
	}
	static const char *const paths[] = {"../bare/secret", "sub/../../bare/secret", "./../bare",
					    "sub/../../bare/"};
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		cr_expect_eq(faccessat(w.mnt_fd, paths[i], F_OK, 0), -1);
	auto_free char *after = dump_of(w.bare_fd);
	cr_expect_str_eq(before, after);
}

/* A process on the host that exchanges a directory and a link as fast as it can. */
static pid_t start_swapping(const struct world *w, const char *a, const char *b)
{
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			(void)renameat2(w->vol_fd, a, w->vol_fd, b, RENAME_EXCHANGE);
	}
	return pid;
}

static void race(const struct world *w, const char *dir, unsigned int rounds)
{
	unsigned int seen = 0;

	for (unsigned int i = 0; i < rounds; i++) {
		auto_free char *secret = xasprintf("%s/secret", dir);
		auto_free char *fresh = xasprintf("%s/made-%u", dir, i);
		auto_close int sub = openat(w->mnt_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		seen += do_everything(w->mnt_fd, secret);
		cleanup_close_p(
			&(int){openat(w->mnt_fd, fresh, O_RDWR | O_CREAT | O_CLOEXEC, 0666)});
		try(unlinkat(w->mnt_fd, fresh, 0));
		if (sub >= 0)
			seen += do_everything(sub, "secret");
		try(renameat(w->mnt_fd, secret, w->mnt_fd, "stolen"));
		try(renameat(w->mnt_fd, "stolen", w->mnt_fd, secret));
	}
	cr_expect_eq(seen, 0, "the neighbour was read %u times", seen);
}

/* Whatever wins: the mount sees its own directory, or a link that leads nowhere from there. */
Test(escape, by_a_directory_that_becomes_a_link_in_between, .fini = world_cleanup)
{
	unsigned int rounds = getenv("FCVM_FUSE_FULL") ? 5000 : 400;
	auto_world struct world w;

	world_open(&w, FS_EXT4, "strict", WORLD_FULL_TRUST);
	cr_assert_eq(mkdirat(w.bare_fd, "in", 0777), 0);
	auto_close int in = openat(w.bare_fd, "in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put_secret(in, "secret");
	put_secret(w.bare_fd, "secret");
	cr_assert_eq(mkdirat(w.vol_fd, "dir", 0777), 0);
	cr_assert_eq(mkdirat(w.vol_fd, "dir/deep", 0777), 0);
	cr_assert_eq(symlinkat("../bare", w.vol_fd, "link"), 0);
	cr_assert_eq(symlinkat("../../bare/in", w.vol_fd, "dir/deep-link"), 0);
	auto_free char *before = dump_of(w.bare_fd);
	pid_t outer = start_swapping(&w, "dir", "link");
	pid_t inner = start_swapping(&w, "dir/deep", "dir/deep-link");

	race(&w, "dir", rounds);
	race(&w, "dir/deep", rounds);
	world_kill(&outer);
	world_kill(&inner);
	auto_free char *after = dump_of(w.bare_fd);
	cr_expect_str_eq(before, after);
}

/* A directory of the mount that the host moves out of what is served: ".." of it leads out. */
Test(escape, by_a_directory_that_is_moved_out, .fini = world_cleanup)
{
	auto_world struct world w;
	char data[64] = "";

	world_open(&w, FS_EXT4, "strict", WORLD_FULL_TRUST);
	put_secret(w.bare_fd, "secret");
	cr_assert_eq(mkdirat(w.vol_fd, "dir", 0777), 0);
	cr_assert_eq(mkdirat(w.vol_fd, "dir/sub", 0777), 0);
	auto_close int sub = openat(w.mnt_fd, "dir/sub", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(sub, 0);
	cr_assert_eq(renameat(w.vol_fd, "dir", w.bare_fd, "moved"), 0);
	auto_close int fd = openat(sub, "../../secret", O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		try(read(fd, data, sizeof(data) - 1));
	cr_expect_null(strstr(data, "neighbour"));
	cr_expect_eq(faccessat(sub, "../secret", F_OK, 0), -1);
}

/* What the host mounts below the directory stays the host's, whenever it was mounted. */
Test(escape, by_mount_points, .fini = world_cleanup)
{
	auto_world struct world w;

	world_open(&w, FS_EXT4, "strict", WORLD_FULL_TRUST);
	static const char *const points[] = {"tmpfs", "bind", "proc"};
	for (size_t i = 0; i < ARRAY_SIZE(points); i++)
		cr_assert_eq(mkdirat(w.vol_fd, points[i], 0777), 0);
	put_secret(w.bare_fd, "secret");
	auto_free char *tmpfs = xasprintf("%s/tmpfs", w.vol);
	auto_free char *bind = xasprintf("%s/bind", w.vol);
	auto_free char *proc = xasprintf("%s/proc", w.vol);

	cr_assert_eq(mount("none", tmpfs, "tmpfs", 0, NULL), 0);
	cr_assert_eq(mount(w.bare, bind, NULL, MS_BIND, NULL), 0);
	cr_assert_eq(mount("none", proc, "proc", 0, NULL), 0);
	auto_close int in = open(tmpfs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put_secret(in, "secret");
	for (int restarted = 0; restarted < 2; restarted++) {
		cr_expect_eq(faccessat(w.mnt_fd, "tmpfs/secret", F_OK, 0), -1);
		cr_expect_eq(faccessat(w.mnt_fd, "bind/secret", F_OK, 0), -1);
		cr_expect_eq(faccessat(w.mnt_fd, "proc/self/root", F_OK, 0), -1);
		cr_expect_eq(faccessat(w.mnt_fd, "proc/1/status", F_OK, 0), -1);
		/* A server that starts when they are there already. */
		world_kill_server(&w);
		world_start_server(&w);
	}
	world_kill_server(&w);
	cr_assert_eq(umount2(tmpfs, MNT_DETACH), 0);
	cr_assert_eq(umount2(bind, MNT_DETACH), 0);
	cr_assert_eq(umount2(proc, MNT_DETACH), 0);
}

/* A link that is made up to be a magic one is text like any other: the guest's kernel follows it in
 * the guest's own /proc, and the server never does. */
Test(escape, by_the_servers_own_proc, .fini = world_cleanup)
{
	auto_world struct world w;

	world_open(&w, FS_EXT4, "strict", WORLD_FULL_TRUST);
	put_secret(w.bare_fd, "secret");
	for (int fd = 0; fd < 64; fd++) {
		auto_free char *target = xasprintf("/proc/self/fd/%d", fd);
		auto_free char *name = xasprintf("fd-%d", fd);
		auto_free char *dots = xasprintf("fd-%d/../../bare/secret", fd);
		char text[64] = "";

		cr_assert_eq(symlinkat(target, w.mnt_fd, name), 0);
		cr_expect_eq(readlinkat(w.mnt_fd, name, text, sizeof(text) - 1),
			     (ssize_t)strlen(target));
		cr_expect_str_eq(text, target);
		/* Never through it in the mount: with O_NOFOLLOW there is nothing but the link. */
		cr_expect_eq(openat(w.mnt_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), -1);
		cr_expect_eq(errno, ELOOP);
		cr_expect_eq(faccessat(w.mnt_fd, dots, F_OK, 0), -1);
	}
}

/* File handles of the mount carry the server's node ids: every bit of one is turned once. */
Test(escape, by_handles_that_are_made_up, .fini = world_cleanup)
{
	struct {
		struct file_handle h;
		unsigned char bytes[128];
	} good = {.h.handle_bytes = 128};
	auto_world struct world w;
	struct stat known;
	int mount_id;
	unsigned int opened = 0;

	world_open(&w, FS_EXT4, "strict", WORLD_FULL_TRUST);
	cleanup_close_p(&(int){openat(w.mnt_fd, "file", O_CREAT | O_RDWR | O_CLOEXEC, 0600)});
	cr_assert_eq(fstatat(w.mnt_fd, "file", &known, 0), 0);
	if (name_to_handle_at(w.mnt_fd, "file", &good.h, &mount_id, 0) < 0)
		return; /* the server offers none: nothing to make up */
	for (unsigned int bit = 0; bit < 8 * good.h.handle_bytes; bit++) {
		struct stat st = {0};

		good.bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
		auto_close int fd = open_by_handle_at(w.mnt_fd, &good.h, O_RDONLY | O_CLOEXEC);
		good.bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
		if (fd < 0)
			continue;
		cr_assert_eq(fstat(fd, &st), 0);
		/* The generation of the kernel's own number may differ; the file may not. */
		cr_expect_eq(st.st_ino, known.st_ino, "bit %u opened inode %ju", bit,
			     (uintmax_t)st.st_ino);
		opened++;
	}
	cr_expect_lt(opened, 8 * good.h.handle_bytes);
}

Test(escape, a_read_only_volume_stays_as_it_is, .fini = world_cleanup)
{
	auto_world struct world w;

	world_open(&w, FS_EXT4, "shared", WORLD_FULL_TRUST | WORLD_READ_ONLY);
	put_secret(w.vol_fd, "file");
	cr_assert_eq(mkdirat(w.vol_fd, "dir", 0777), 0);
	auto_free char *before = dump_of(w.vol_fd);

	(void)do_everything(w.mnt_fd, "file");
	(void)do_everything(w.mnt_fd, "dir");
	(void)do_everything(w.mnt_fd, "dir/new");
	cr_expect_eq(unlinkat(w.mnt_fd, "file", 0), -1);
	cr_expect_eq(errno, EROFS);
	cr_expect_eq(unlinkat(w.mnt_fd, "dir", AT_REMOVEDIR), -1);
	cr_expect_eq(renameat(w.mnt_fd, "file", w.mnt_fd, "moved"), -1);
	cr_expect_eq(symlinkat("x", w.mnt_fd, "link"), -1);
	cr_expect_eq(openat(w.mnt_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), -1);
	auto_free char *after = dump_of(w.vol_fd);
	cr_expect_str_eq(before, after);
}

/* The default trust: no devices, no set-id bits, root is the directory's owner. */
Test(escape, a_squashed_root_gets_no_more_than_the_owner_of_the_directory, .fini = world_cleanup)
{
	auto_world struct world w;
	struct stat st;

	world_open(&w, FS_EXT4, "shared", 0);
	cr_assert_eq(fchown(w.vol_fd, 4242, 4343), 0);
	world_kill_server(&w); /* which learns the owner when it starts */
	world_start_server(&w);
	put_secret(w.vol_fd, "roots");
	cr_assert_eq(fchmodat(w.vol_fd, "roots", 0600, 0), 0);
	cr_expect_eq(openat(w.mnt_fd, "roots", O_RDONLY | O_CLOEXEC), -1, "root's own file");
	cleanup_close_p(&(int){openat(w.mnt_fd, "made", O_CREAT | O_RDWR | O_CLOEXEC, 06777)});
	cr_assert_eq(fstatat(w.vol_fd, "made", &st, 0), 0);
	cr_expect_eq(st.st_uid, 4242);
	cr_expect_eq(st.st_gid, 4343);
	cr_expect_eq(st.st_mode & 07000, 0);
	try(fchmodat(w.mnt_fd, "made", 06755, 0));
	cr_assert_eq(fstatat(w.vol_fd, "made", &st, 0), 0);
	cr_expect_eq(st.st_mode & 07000, 0);
	cr_expect_eq(mknodat(w.mnt_fd, "device", S_IFCHR | 0666, 0x0103), -1);
	cr_expect_eq(faccessat(w.vol_fd, "device", F_OK, 0), -1);
	cr_expect_eq(fchownat(w.mnt_fd, "made", 0, 0, 0), -1);
}
