#include "file.h"

#include "cleanup.h"
#include "io.h"
#include "run.h"
#include "xalloc.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static size_t count_entries(const char *path)
{
	auto_closedir DIR *d = opendir(path);
	size_t n = 0;

	cr_assert_not_null(d);
	while (readdir(d))
		n++;
	return n - 2;
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	cr_assert_eq(lstat(path, &st), 0);
	return st.st_mode & 07777;
}

static void put(const char *path, const char *text)
{
	struct err err = {0};

	cr_assert_eq(file_replace(path, text, strlen(text), 0600, &err), 0, "%s", err.msg);
}

Test(path, join_puts_one_slash)
{
	static const struct {
		const char *dir, *name, *want;
	} cases[] = {{"/a", "b", "/a/b"}, {"/a/", "b", "/a/b"}, {"/", "b", "/b"}, {"", "b", "b"}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *got = path_join(cases[i].dir, cases[i].name);
		cr_expect_str_eq(got, cases[i].want);
	}
}

Test(file_replace, writes_whole_text_with_its_mode_and_leaves_nothing_beside)
{
	auto_tmpdir char *dir = tmpdir_new("base-file");
	auto_free char *path = path_join(dir, "record.json");
	auto_buf struct buf got = BUF_INIT(100);

	umask(077);
	put(path, "old text that is longer");
	cr_expect_eq(file_replace(path, "new", 3, 0644, NULL), 0);
	cr_expect_eq(file_read(path, 100, &got, NULL), 0);
	cr_expect_str_eq(buf_str(&got), "new");
	cr_expect_eq(mode_of(path), 0644, "past the umask");
	cr_expect_eq(count_entries(dir), 1);
}

Test(file_replace, replaces_a_link_and_not_what_it_points_to)
{
	auto_tmpdir char *dir = tmpdir_new("base-file");
	auto_free char *target = path_join(dir, "target");
	auto_free char *link = path_join(dir, "link");
	auto_buf struct buf got = BUF_INIT(100);

	put(target, "safe");
	cr_assert_eq(symlink(target, link), 0);
	put(link, "new");
	cr_assert_eq(file_read(target, 100, &got, NULL), 0);
	cr_expect_str_eq(buf_str(&got), "safe");
}

Test(file_replace, a_failure_leaves_the_old_text_and_nothing_beside)
{
	auto_tmpdir char *dir = tmpdir_new("base-file");
	auto_free char *path = path_join(dir, "busy");
	auto_free char *inner = path_join(path, "x");
	auto_free char *want = xasprintf("cannot replace '%s': Is a directory", path);
	struct err err = {0};

	cr_assert_eq(mkdir(path, 0700), 0);
	put(inner, "x");
	cr_expect_eq(file_replace(path, "new", 3, 0600, &err), -EISDIR);
	cr_expect_str_eq(err.msg, want);
	cr_expect_eq(count_entries(dir), 1);
}

Test(file_replace, the_longest_legal_name_works)
{
	auto_tmpdir char *dir = tmpdir_new("base-file");
	auto_free char *path = xasprintf("%s/%0255d", dir, 7);

	put(path, "x");
	cr_expect(file_exists(path));
}

Test(file_replace, a_reader_sees_the_old_or_the_new_text_whole, .timeout = 60)
{
	auto_tmpdir char *dir = tmpdir_new("base-file");
	auto_free char *path = path_join(dir, "f");
	auto_buf struct buf got = BUF_INIT(100000);
	static char a[40000], b[40000];
	int status;

	memset(a, 'a', sizeof(a));
	memset(b, 'b', sizeof(b));
	cr_assert_eq(file_replace(path, a, sizeof(a), 0600, NULL), 0);
	pid_t pid = fork();
	if (pid == 0) {
		for (int i = 0; i < 50; i++)
			(void)file_replace(path, i % 2 ? a : b, sizeof(a), 0600, NULL);
		_exit(0);
	}
	while (waitpid(pid, &status, WNOHANG) == 0) {
		cr_assert_eq(file_read(path, got.max, &got, NULL), 0);
		cr_assert_eq(got.len, sizeof(a));
		cr_assert_eq(memcmp(got.data, got.data[0] == 'a' ? a : b, got.len), 0);
	}
}

Test(file_read, is_bounded_and_takes_regular_files_only)
{
	auto_tmpdir char *dir = tmpdir_new("base-file");
	auto_free char *path = path_join(dir, "f");
	auto_free char *fifo = path_join(dir, "fifo");
	auto_free char *missing = path_join(dir, "missing");
	auto_free char *larger = xasprintf("file '%s' is larger than 4 bytes", path);
	auto_free char *not_file = xasprintf("'%s' is not a regular file", fifo);
	auto_free char *not_there =
		xasprintf("cannot open '%s': No such file or directory", missing);
	auto_buf struct buf got = BUF_INIT(100), small = BUF_INIT(4);
	struct err err = {0};

	put(path, "hello");
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	cr_expect_eq(file_read(path, 5, &got, &err), 0);
	cr_expect_str_eq(buf_str(&got), "hello");
	cr_expect_eq(file_read(path, 4, &got, &err), -EFBIG);
	cr_expect_str_eq(err.msg, larger);
	cr_expect_eq(file_read(path, 100, &small, &err), -EFBIG);
	cr_expect_str_eq(err.msg, larger);
	cr_expect_eq(file_read(fifo, 100, &got, &err), -EINVAL);
	cr_expect_str_eq(err.msg, not_file);
	cr_expect_eq(file_read(dir, 100, &got, &err), -EINVAL);
	cr_expect_eq(file_read(missing, 100, &got, &err), -ENOENT);
	cr_expect_str_eq(err.msg, not_there);
}

Test(file_read, files_in_proc_are_read_though_they_claim_to_be_empty)
{
	auto_buf struct buf got = BUF_INIT(1u << 20);
	struct err err = {0};

	cr_expect_eq(file_read("/proc/self/status", got.max, &got, NULL), 0);
	cr_expect_eq(strncmp(buf_str(&got), "Name:", 5), 0);
	cr_expect_eq(file_read("/proc/self/status", 10, &got, &err), -EFBIG);
	cr_expect_str_eq(err.msg, "file '/proc/self/status' is larger than 10 bytes");
}

Test(file_mkdir_p, makes_the_whole_way_with_the_mode_and_keeps_what_is_there)
{
	auto_tmpdir char *dir = tmpdir_new("base-file");
	auto_free char *a = path_join(dir, "a");
	auto_free char *c = path_join(dir, "a//b/c/");

	umask(077);
	cr_assert_eq(mkdir(a, 0700), 0);
	cr_expect_eq(file_mkdir_p(c, 0755, NULL), 0);
	cr_expect_eq(file_mkdir_p(c, 0711, NULL), 0, "repeating it is fine");
	cr_expect_eq(mode_of(a), 0700);
	cr_expect_eq(mode_of(c), 0755);
}

Test(file_mkdir_p, a_file_in_the_way_is_named)
{
	auto_tmpdir char *dir = tmpdir_new("base-file");
	auto_free char *a = path_join(dir, "a");
	auto_free char *b = path_join(a, "b");
	auto_free char *want = xasprintf("cannot make directory '%s': Not a directory", a);
	struct err err = {0};

	put(a, "x");
	cr_expect_eq(file_mkdir_p(b, 0755, &err), -ENOTDIR);
	cr_expect_str_eq(err.msg, want);
}

/* --- trees --- */

Test(file_remove_tree, absent_is_success_and_a_file_or_link_is_removed_itself)
{
	auto_tmpdir char *dir = tmpdir_new("base-tree");
	auto_free char *file = path_join(dir, "file");
	auto_free char *link = path_join(dir, "link");

	cr_expect_eq(file_remove_tree(file, NULL), 0);
	put(file, "x");
	cr_assert_eq(symlink(file, link), 0);
	cr_expect_eq(file_remove_tree(link, NULL), 0);
	cr_expect(file_exists(file));
	cr_expect_eq(file_remove_tree(file, NULL), 0);
	cr_expect_not(file_exists(file));
	auto_free char *below_nothing = path_join(dir, "no/such/dir");
	cr_expect_eq(file_remove_tree(below_nothing, NULL), 0);
}

Test(file_remove_tree, never_follows_a_link)
{
	auto_tmpdir char *dir = tmpdir_new("base-tree");
	auto_free char *outside = path_join(dir, "outside");
	auto_free char *kept = path_join(outside, "kept");
	auto_free char *tree = path_join(dir, "tree");
	auto_free char *to_dir = path_join(tree, "to-dir");
	auto_free char *to_up = path_join(tree, "up");
	auto_free char *dangling = path_join(tree, "dangling");
	auto_free char *top_link = path_join(dir, "top");

	cr_assert_eq(mkdir(outside, 0700), 0);
	put(kept, "x");
	cr_assert_eq(mkdir(tree, 0700), 0);
	cr_assert_eq(symlink(outside, to_dir), 0);
	cr_assert_eq(symlink("..", to_up), 0);
	cr_assert_eq(symlink("/no/such/place", dangling), 0);
	cr_assert_eq(symlink(outside, top_link), 0);
	cr_expect_eq(file_remove_tree(tree, NULL), 0);
	cr_expect_eq(file_remove_tree(top_link, NULL), 0);
	cr_expect_not(file_exists(tree));
	cr_expect(file_exists(kept));
}

Test(file_remove_tree, many_directories_with_files_of_every_kind_go)
{
	auto_tmpdir char *dir = tmpdir_new("base-tree");
	auto_free char *tree = path_join(dir, "tree");

	for (int i = 0; i < 30; i++) {
		auto_free char *deep = xasprintf("%s/%d/x/y", tree, i);
		auto_free char *fifo = path_join(deep, "fifo");
		auto_free char *sock = path_join(deep, "sock");
		auto_close int fd = -1;
		cr_assert_eq(file_mkdir_p(deep, 0700, NULL), 0);
		cr_assert_eq(mkfifo(fifo, 0600), 0);
		cr_assert_eq(io_unix_listen(sock, 1, &fd, NULL), 0);
		for (int j = 0; j < 20; j++) {
			auto_free char *file = xasprintf("%s/%d/f%d", tree, i, j);
			auto_close int f = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0400);
			cr_assert_geq(f, 0);
		}
	}
	auto_free char *slashed = xasprintf("%s///", tree);
	cr_expect_eq(file_remove_tree(slashed, NULL), 0);
	cr_expect_not(file_exists(tree));
}

Test(file_remove_tree, depth_costs_no_descriptors_and_no_stack)
{
	auto_tmpdir char *dir = tmpdir_new("base-tree");
	auto_free char *tree = path_join(dir, "tree");
	struct err err = {0};

	cr_assert_eq(mkdir(tree, 0700), 0);
	auto_close int at = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 3000; i++) {
		cr_assert_eq(mkdirat(at, "d", 0700), 0);
		int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(at);
		at = next;
	}
	cr_expect_eq(file_remove_tree(tree, &err), 0, "%s", err.msg);
	cr_expect_not(file_exists(tree));
}

Test(file_remove_tree, refuses_paths_that_end_nowhere)
{
	static const char *const paths[] = {"/", "", ".", "..", "/tmp/.", "/tmp/..", "///"};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		auto_free char *want = xasprintf("refusing to remove '%s'", paths[i]);
		struct err err = {0};

		cr_expect_eq(file_remove_tree(paths[i], &err), -EINVAL);
		cr_expect_str_eq(err.msg, want);
	}
}

/* In a mount namespace of the test's own: nothing is left, however it ends. */
Test(file_remove_tree, stays_on_its_side_of_a_mount_and_says_so)
{
	auto_tmpdir char *dir = tmpdir_new("base-tree");
	auto_free char *outside = path_join(dir, "outside");
	auto_free char *kept = path_join(outside, "kept");
	auto_free char *tree = path_join(dir, "tree");
	auto_free char *mnt = path_join(tree, "sub/mnt");
	auto_free char *want = xasprintf("cannot remove '%s': 'mnt' is a mount point", tree);
	struct err err = {0};

	if (geteuid() != 0)
		cr_skip_test("needs root to mount");
	cr_assert_eq(unshare(CLONE_NEWNS), 0);
	cr_assert_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	cr_assert_eq(file_mkdir_p(mnt, 0700, NULL), 0);
	cr_assert_eq(mkdir(outside, 0700), 0);
	put(kept, "x");
	/* A bind of the same file system: st_dev alone would not tell. */
	cr_assert_eq(mount(outside, mnt, NULL, MS_BIND, NULL), 0);
	int r = file_remove_tree(tree, &err);
	cr_expect(r == -EXDEV || r == -EBUSY, "%d", r);
	cr_expect_eq(err.class, ERR_CLEANUP);
	cr_expect_str_eq(err.msg, want);
	cr_expect(file_exists(kept));
	cr_expect_lt(file_remove_tree(mnt, &err), 0, "a mount point itself is refused, too");
	cr_expect(file_exists(kept));
	cr_assert_eq(umount2(mnt, 0), 0);
	cr_expect_eq(file_remove_tree(tree, NULL), 0);
}

/* --- locks --- */

Test(file_lock, a_second_taker_learns_who_holds_it)
{
	auto_tmpdir char *dir = tmpdir_new("base-lock");
	auto_free char *path = path_join(dir, "lock");
	auto_buf struct buf holder = BUF_INIT(500);
	auto_close int first = -1;
	int second = -1;
	struct err err = {0};
	auto_free char *pid = xasprintf("%d ", getpid());

	cr_assert_eq(file_lock(path, false, 0, NULL, &first, NULL), 0);
	cr_expect(fcntl(first, F_GETFD) & FD_CLOEXEC);
	cr_expect_eq(file_lock(path, false, 0, &holder, &second, &err), -EWOULDBLOCK);
	cr_expect_eq(second, -1);
	cr_expect_eq(err.class, ERR_BUSY);
	cr_expect_eq(strncmp(buf_str(&holder), pid, strlen(pid)), 0, "%s", buf_str(&holder));
	cr_expect_gt(holder.len, strlen(pid), "the command line follows");
	auto_free char *want =
		xasprintf("cannot take lock '%s': it is held by process %s", path, holder.data);
	cr_expect_str_eq(err.msg, want);
	cleanup_close_p(&first);
	cr_expect_eq(file_lock(path, false, 0, NULL, &first, NULL), 0);
}

Test(file_lock, waiting_ends_at_the_deadline, .timeout = 30)
{
	auto_tmpdir char *dir = tmpdir_new("base-lock");
	auto_free char *path = path_join(dir, "lock");
	auto_close int first = -1;
	int second = -1;
	struct err err = {0};

	cr_assert_eq(file_lock(path, false, 0, NULL, &first, NULL), 0);
	cr_expect_eq(file_lock(path, true, deadline_in(30), NULL, &second, &err), -ETIMEDOUT);
	cr_expect_eq(err.class, ERR_BUSY);
	const char *end = ": the deadline has passed";
	cr_expect_str_eq(err.msg + strlen(err.msg) - strlen(end), end);
	cr_expect_eq(waitpid(-1, NULL, WNOHANG), -1, "no child is left");
}

/* A child takes the lock and gives it back when told. */
static pid_t hold(const char *path, int *ret_release)
{
	int ready[2], release[2];
	char byte;

	cr_assert_eq(pipe2(ready, O_CLOEXEC), 0);
	cr_assert_eq(pipe2(release, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		int fd = -1;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(release[1]);
		if (file_lock(path, false, 0, NULL, &fd, NULL) < 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		(void)!read(release[0], &byte, 1);
		_exit(0);
	}
	close(ready[1]);
	close(release[0]);
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	*ret_release = release[1];
	return pid;
}

Test(file_lock, a_waiter_gets_it_when_the_holder_ends_with_and_without_deadline, .timeout = 60)
{
	auto_tmpdir char *dir = tmpdir_new("base-lock");
	auto_free char *path = path_join(dir, "lock");

	for (int with = 0; with < 2; with++) {
		auto_close int fd = -1;
		struct err err = {0};
		int release;
		pid_t holder = hold(path, &release);
		pid_t opener = fork();

		if (opener == 0) {
			/* Ends the holder once somebody waits for the lock. */
			auto_buf struct buf locks = BUF_INIT(1u << 20);
			do {
				(void)file_read("/proc/locks", locks.max, &locks, NULL);
			} while (!strstr(buf_str(&locks), "-> FLOCK"));
			kill(holder, SIGKILL);
			_exit(0);
		}
		close(release);
		cr_expect_eq(file_lock(path, true, with ? deadline_in(50000) : 0, NULL, &fd, &err),
			     0, "%s", err.msg);
		int second = -1;
		cr_expect_eq(file_lock(path, false, 0, NULL, &second, NULL), -EWOULDBLOCK);
		kill(opener, SIGKILL);
		waitpid(opener, NULL, 0);
		waitpid(holder, NULL, 0);
	}
}

Test(file_lock, a_lock_file_removed_while_waiting_is_made_anew, .timeout = 60)
{
	auto_tmpdir char *dir = tmpdir_new("base-lock");
	auto_free char *path = path_join(dir, "lock");
	auto_close int fd = -1;
	struct stat ours, there;
	int release;
	pid_t holder = hold(path, &release);

	cr_assert_eq(unlink(path), 0);
	pid_t waiter = fork();
	if (waiter == 0) {
		close(release);
		_exit(file_lock(path, true, 0, NULL, &fd, NULL) == 0 && fstat(fd, &ours) == 0 &&
				      stat(path, &there) == 0 && ours.st_ino == there.st_ino
			      ? 0
			      : 1);
	}
	close(release);
	int status;
	cr_assert_eq(waitpid(waiter, &status, 0), waiter);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	waitpid(holder, NULL, 0);
}

Test(file_lock, a_link_is_not_followed)
{
	auto_tmpdir char *dir = tmpdir_new("base-lock");
	auto_free char *path = path_join(dir, "lock");
	auto_free char *other = path_join(dir, "other");
	int fd = -1;

	put(other, "data");
	cr_assert_eq(symlink(other, path), 0);
	cr_expect_eq(file_lock(path, false, 0, NULL, &fd, NULL), -ELOOP);
}
