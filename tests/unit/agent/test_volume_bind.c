#include "volume_bind.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "run.h"
#include "xalloc.h"

/* A process with mounts of its own, as a container's init. */
static pid_t start_container(void)
{
	int pipe_fds[2];
	char c;

	cr_assert_eq(pipe(pipe_fds), 0);
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		(void)unshare(CLONE_NEWNS);
		(void)mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
		(void)!write(pipe_fds[1], "x", 1);
		for (;;)
			(void)pause();
	}
	cr_assert_eq(read(pipe_fds[0], &c, 1), 1);
	(void)close(pipe_fds[0]);
	(void)close(pipe_fds[1]);
	return pid;
}

static int bind_it(pid_t container, const char *target, bool again)
{
	struct volume_bind b = {.container = container, .target = target, .again = again};
	int status = -1;
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0)
		_exit(volume_bind_run(&b));
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static int mounts_at(pid_t container, const char *target)
{
	auto_free char *path = xasprintf("/proc/%d/mountinfo", (int)container);
	auto_free char *want = xasprintf(" %s ", target);
	auto_buf struct buf text = BUF_INIT(1u << 20);
	int n = 0;

	cr_assert_geq(file_read(path, text.max - 1, &text, NULL), 0);
	for (const char *p = buf_str(&text); (p = strstr(p, want)); p++)
		n++;
	return n;
}

Test(volume_bind, a_mount_appears_in_a_running_container)
{
	if (geteuid() != 0)
		cr_skip_test("needs root");
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		cr_skip_test("needs a mount namespace");
	auto_tmpdir char *dir = tmpdir_new("bind");
	auto_free char *target = path_join(dir, "vol"), *file = path_join(target, "f");
	pid_t container = start_container();
	auto_free char *seen = xasprintf("/proc/%d/root%s", (int)container, file);

	cr_assert_eq(mkdir(target, 0755), 0);
	cr_assert_eq(mount("t", target, "tmpfs", 0, NULL), 0);
	cr_assert_eq(file_replace(file, "x", 1, 0644, NULL), 0);
	cr_expect(!file_exists(seen));
	cr_expect_eq(bind_it(container, target, false), 0);
	cr_expect(file_exists(seen));
	cr_expect_eq(bind_it(container, "/nowhere/at/all", false), ENOENT);
	/* Another one takes its place, not the place above it. */
	cr_assert_eq(umount2(target, 0), 0);
	cr_assert_eq(mount("u", target, "tmpfs", 0, NULL), 0);
	cr_expect_eq(bind_it(container, target, true), 0);
	cr_expect(!file_exists(seen));
	cr_expect_eq(mounts_at(container, target), 1);
	(void)kill(container, SIGKILL);
	(void)waitpid(container, NULL, 0);
	(void)umount2(target, MNT_DETACH);
}
