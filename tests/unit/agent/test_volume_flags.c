#include "volume_flags.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "run.h"
#include "xalloc.h"

#define UNTRUSTED (ST_NOSUID | ST_NODEV)

/* A process with mounts of its own, as a container's init; without: the volume is taken off. */
static pid_t start_container(const char *without)
{
	int pipe_fds[2];
	char c;

	cr_assert_eq(pipe(pipe_fds), 0);
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		(void)unshare(CLONE_NEWNS);
		(void)mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
		if (without)
			(void)umount2(without, MNT_DETACH);
		(void)!write(pipe_fds[1], "x", 1);
		for (;;)
			(void)pause();
	}
	cr_assert_eq(read(pipe_fds[0], &c, 1), 1);
	(void)close(pipe_fds[0]);
	(void)close(pipe_fds[1]);
	return pid;
}

static void stop_container(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

static int set(pid_t container, const char *target, bool trusted)
{
	struct volume_flags f = {.container = container, .target = target, .trusted = trusted};
	int status = -1;
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0)
		_exit(volume_flags_run(&f));
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static unsigned long flags_of(pid_t container, const char *target)
{
	auto_free char *path = xasprintf("/proc/%d/root%s", (int)container, target);
	struct statvfs st = {0};

	cr_assert_eq(statvfs(path, &st), 0);
	return st.f_flag & UNTRUSTED;
}

static void need_mounts(void)
{
	if (geteuid() != 0)
		cr_skip_test("needs root");
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		cr_skip_test("needs a mount namespace");
}

Test(volume_flags, guest_and_container_change_both_ways)
{
	need_mounts();
	auto_tmpdir char *dir = tmpdir_new("flags");
	auto_free char *target = path_join(dir, "vol");

	cr_assert_eq(mkdir(target, 0755), 0);
	cr_assert_eq(mount("t", target, "tmpfs", MS_NOSUID | MS_NODEV, NULL), 0);
	pid_t container = start_container(NULL);

	cr_assert_eq(flags_of(container, target), UNTRUSTED);
	for (int round = 0; round < 4; round++) {
		bool trusted = round % 2 == 0;

		cr_expect_eq(set(container, target, trusted), 0);
		cr_expect_eq(flags_of(container, target), trusted ? 0 : UNTRUSTED);
		cr_expect_eq(flags_of(getpid(), target), trusted ? 0 : UNTRUSTED);
	}
	stop_container(container);
	cr_expect_eq(set(0, target, true), 0);
	cr_expect_eq(flags_of(getpid(), target), 0);
	(void)umount2(target, MNT_DETACH);
	cr_expect_eq(set(0, target, true), EINVAL);
	cr_expect_eq(set(0, "/nowhere/at/all", true), ENOENT);
}

Test(volume_flags, what_the_workload_has_in_place_of_the_volume_is_left_alone)
{
	need_mounts();
	auto_tmpdir char *dir = tmpdir_new("flags");
	auto_free char *target = path_join(dir, "vol");

	cr_assert_eq(mkdir(target, 0755), 0);
	cr_assert_eq(mount("under", target, "tmpfs", MS_NOSUID | MS_NODEV, NULL), 0);
	cr_assert_eq(mount("t", target, "tmpfs", MS_NOSUID | MS_NODEV, NULL), 0);
	pid_t container = start_container(target);

	cr_expect_eq(set(container, target, true), 0);
	cr_expect_eq(flags_of(getpid(), target), 0);
	cr_expect_eq(flags_of(container, target), UNTRUSTED);
	stop_container(container);
	(void)umount2(target, MNT_DETACH);
	(void)umount2(target, MNT_DETACH);
}
