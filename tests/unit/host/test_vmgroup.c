#include "vmgroup.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "run.h"
#include "xalloc.h"

Test(vmgroup, the_mount_is_found_wherever_it_is)
{
	static const struct {
		const char *text, *mount;
	} cases[] = {
		{"", NULL},
		{"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n", NULL},
		{"33 31 0:30 / /sys/fs/cgroup/cgroup2 rw - cgroup cgroup rw,cpu\n", NULL},
		{"x - cgroup2 cgroup2 rw\n", NULL},
		{"32 31 0:29 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu\n"
		 "41 31 0:38 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw\n",
		 "/sys/fs/cgroup/unified"},
		{"41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate",
		 "/sys/fs/cgroup"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *mount = vmgroup_mount_in(cases[i].text);

		if (cases[i].mount)
			cr_expect_str_eq(mount, cases[i].mount);
		else
			cr_expect_null(mount, "case %zu: %s", i, mount);
	}
}

static void put(const char *dir, const char *name, const char *text)
{
	auto_free char *path = path_join(dir, name);

	cr_assert_geq(file_replace(path, text, strlen(text), 0600, NULL), 0);
}

Test(vmgroup, what_is_missing_is_told_by_name)
{
	auto_tmpdir char *dir = tmpdir_new("cgroup");
	char missing[64];

	vmgroup_missing(NULL, missing, sizeof(missing));
	cr_expect_str_eq(missing, "memory, pids");
	put(dir, "cgroup.controllers", "cpu memory.x hugetlb pids\n");
	vmgroup_missing(dir, missing, sizeof(missing));
	cr_expect_str_eq(missing, "memory");
	put(dir, "cgroup.controllers", "memory pids\n");
	vmgroup_missing(dir, missing, sizeof(missing));
	cr_expect_str_eq(missing, "");
	/* A container's root, with processes of its own in it. */
	put(dir, "cgroup.type", "domain\n");
	put(dir, "cgroup.subtree_control", "pids\n");
	vmgroup_missing(dir, missing, sizeof(missing));
	cr_expect_str_eq(missing, "memory");
}

static char *text_of(const char *dir, const char *name)
{
	auto_free char *path = path_join(dir, name);
	auto_buf struct buf text = BUF_INIT(8192);

	cr_assert_geq(file_read(path, 8191, &text, NULL), 0, "%s", path);
	return xstrdup(buf_str(&text));
}

/* On a file system that is none of cgroups everything is what it was told to be. */
Test(vmgroup, limits_are_written_where_their_files_are)
{
	auto_tmpdir char *dir = tmpdir_new("cgroup");
	const struct vmgroup_limits limits = {.memory_bytes = 4096, .pids = 7};
	auto_free char *path = vmgroup_path(dir, "/x/vm"), *parent = path_join(dir, "fcvm");
	struct err err = {0};
	int procs = -1;

	cr_expect_eq(strncmp(path, parent, strlen(parent)), 0);
	cr_expect_eq(vmgroup_make(path, &limits, &procs, &err), -ENOENT, "%s", err.msg);
	put(path, "memory.max", "max");
	put(path, "cgroup.procs", "");
	/* Not empty, so it cannot go, and its files stay for the next try to write. */
	cr_expect_eq(vmgroup_make(path, &limits, &procs, &err), -ENOTEMPTY);
	cr_expect_eq(procs, -1);
}

/* --- others at work on the parent --- */

static const char *raced; /* whose making is raced */

/* The last VM that ended removes the parent, the next that starts makes it anew. */
static void race(void)
{
	auto_free char *parent = xstrndup(raced, (size_t)(strrchr(raced, '/') - raced));

	raced = NULL;
	cr_assert_eq(file_remove_tree(parent, NULL), 0);
	cr_assert_eq(mkdir(parent, 0755), 0);
	put(parent, "cgroup.subtree_control", "");
}

/* Takes the place of the C library's, also for a sanitizer that is not ready yet. */
__attribute__((no_sanitize("address", "undefined"))) int mkdir(const char *path, mode_t mode)
{
	if (raced && strcmp(path, raced) == 0)
		race();
	return (int)syscall(SYS_mkdir, path, mode);
}

Test(vmgroup, a_parent_that_was_made_anew_hands_its_controllers_on_all_the_same)
{
	auto_tmpdir char *dir = tmpdir_new("cgroup");
	const struct vmgroup_limits limits = {.memory_bytes = 4096, .pids = 7};
	auto_free char *path = vmgroup_path(dir, "/x/vm"), *parent = path_join(dir, "fcvm");
	struct err err = {0};
	int procs = -1;

	cr_assert_eq(mkdir(parent, 0755), 0);
	put(parent, "cgroup.subtree_control", "");
	raced = path;
	/* There is no cgroup.procs where no kernel makes one. */
	cr_expect_eq(vmgroup_make(path, &limits, &procs, &err), -ENOENT, "%s", err.msg);
	cr_expect_null(raced);
	auto_free char *last = text_of(parent, "cgroup.subtree_control");
	cr_expect_str_eq(last, "+hugetlb", "a file keeps the last of what it was told");
}

static pid_t spawn_in(int procs)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (write(procs, "0", 1) != 1)
			_exit(1);
		for (;;)
			(void)pause();
	}
	return pid;
}

static void await_member(const char *path)
{
	for (;;) {
		auto_free char *members = text_of(path, "cgroup.procs");

		if (*members)
			return;
		(void)usleep(1000);
	}
}

Test(vmgroup, what_is_in_it_is_killed_and_nothing_is_left, .timeout = 60)
{
	auto_free char *mount = vmgroup_mount();
	auto_tmpdir char *dir = tmpdir_new("cgroup-real");
	const struct vmgroup_limits limits = {.memory_bytes = 64u << 20, .pids = 9};
	struct err err = {0};
	int procs = -1, status = 0;
	char missing[64];

	if (!mount || geteuid() != 0)
		cr_skip_test("needs root and cgroup v2");
	auto_free char *path = vmgroup_path(mount, dir);
	cr_assert_eq(vmgroup_make(path, &limits, &procs, &err), 0, "%s", err.msg);
	pid_t pid = spawn_in(procs);
	await_member(path);
	vmgroup_missing(mount, missing, sizeof(missing));
	if (!strstr(missing, "pids")) {
		auto_free char *max = text_of(path, "pids.max");

		cr_expect_str_eq(max, "9\n");
	}
	if (!strstr(missing, "memory")) {
		auto_free char *max = text_of(path, "memory.max");

		cr_expect_str_eq(max, "67108864\n");
	}
	/* As a start after a crash does. */
	(void)close(procs);
	cr_expect_eq(vmgroup_make(path, &limits, &procs, &err), 0, "%s", err.msg);
	cr_expect_eq(waitpid(pid, &status, 0), pid);
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	cr_expect_eq(vmgroup_remove(path, &err), 0, "%s", err.msg);
	cr_expect_eq(vmgroup_remove(path, &err), 0, "gone already");
	cr_expect_not(file_exists(path));
	(void)close(procs);
}

/* The one controller that machines with cgroup v1 beside v2 often leave to v2. */
Test(vmgroup, a_limit_on_huge_pages_is_the_kernels_too)
{
	auto_free char *mount = vmgroup_mount(), *file = NULL;
	auto_tmpdir char *dir = tmpdir_new("cgroup-huge");
	const struct vmgroup_limits limits = {.huge_bytes = 6u << 20};
	struct err err = {0};
	int procs = -1;

	if (!mount || geteuid() != 0)
		cr_skip_test("needs root and cgroup v2");
	auto_free char *path = vmgroup_path(mount, dir);
	cr_assert_eq(vmgroup_make(path, &limits, &procs, &err), 0, "%s", err.msg);
	(void)close(procs);
	file = path_join(path, "hugetlb.2MB.max");
	if (file_exists(file)) {
		auto_free char *max = text_of(path, "hugetlb.2MB.max");

		cr_expect_str_eq(max, "6291456\n");
	}
	cr_expect_eq(vmgroup_remove(path, &err), 0, "%s", err.msg);
}
