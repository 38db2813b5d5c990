#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "io.h"
#include "proc.h"

#define TIMEOUT_MS 20000

static char *pid_inside(int pid_ns)
{
	static const char *const argv[] = {"sh", "-c", "echo $$", NULL};
	auto_buf struct buf out = BUF_INIT(64);
	auto_close int pidfd = -1;
	int fds[2], status = -1;
	char chunk[32];
	ssize_t n;
	struct err err = {0};

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	const struct proc_spec spec = {
		.argv = argv, .in = -1, .out = fds[1], .err = -1, .pid_ns = pid_ns};

	cr_assert_eq(proc_spawn(&spec, &pidfd, NULL, &err), 0, "%s", err.msg);
	(void)close(fds[1]);
	while ((n = read(fds[0], chunk, sizeof(chunk))) > 0)
		buf_add(&out, chunk, (size_t)n);
	(void)close(fds[0]);
	cr_assert_eq(proc_wait(pidfd, deadline_in(TIMEOUT_MS), &status, &err), 0, "%s", err.msg);
	cr_expect_eq(status, 0);
	return buf_detach(&out);
}

static int make_ns(void)
{
	struct err err = {0};
	int ns = -1;

	if (geteuid() != 0)
		cr_skip_test("a pid namespace needs root");
	cr_assert_eq(proc_pid_ns(&ns, &err), 0, "%s", err.msg);
	return ns;
}

static void end_ns(int ns)
{
	int status = 0;

	(void)proc_signal(ns, SIGKILL);
	cr_expect_eq(proc_wait(ns, deadline_in(TIMEOUT_MS), &status, NULL), 0);
	cr_expect_eq(status, 128 + SIGKILL);
}

Test(proc_ns, only_the_child_that_asks_is_born_there)
{
	auto_close int ns = make_ns();
	auto_free char *first = pid_inside(ns), *outside = pid_inside(0), *second = pid_inside(ns);

	cr_expect_str_eq(first, "2\n");
	cr_expect_str_eq(second, "3\n");
	cr_expect(strlen(outside) > 2, "%s", outside);
	end_ns(ns);
}

static int sleeper(int ns)
{
	static const char *const argv[] = {"sleep", "1000", NULL};
	const struct proc_spec spec = {.argv = argv, .in = -1, .out = -1, .err = -1, .pid_ns = ns};
	struct err err = {0};
	int pidfd = -1;

	cr_assert_eq(proc_spawn(&spec, &pidfd, NULL, &err), 0, "%s", err.msg);
	return pidfd;
}

Test(proc_ns, its_end_is_the_end_of_all_that_live_in_it)
{
	auto_close int ns = make_ns();
	auto_close int pidfd = sleeper(ns);
	int status = 0;

	(void)proc_signal(ns, SIGKILL);
	cr_expect_eq(proc_wait(pidfd, deadline_in(TIMEOUT_MS), &status, NULL), 0);
	cr_expect_eq(status, 128 + SIGKILL);
	end_ns(ns);
}

/* No death signal is asked for: the namespace alone takes them along. */
Test(proc_ns, it_ends_with_whoever_made_it)
{
	int fds[2];
	char byte;

	if (geteuid() != 0)
		cr_skip_test("a pid namespace needs root");
	cr_assert_eq(pipe(fds), 0);
	pid_t maker = fork();

	if (maker == 0) {
		static const char *const argv[] = {"sleep", "1000", NULL};
		int ns = -1, pidfd = -1;

		if (proc_pid_ns(&ns, NULL) < 0)
			_exit(1);
		const struct proc_spec spec = {
			.argv = argv, .in = -1, .out = fds[1], .err = -1, .pid_ns = ns};

		if (proc_spawn(&spec, &pidfd, NULL, NULL) < 0)
			_exit(1);
		(void)raise(SIGKILL);
	}
	(void)close(fds[1]);
	int status = 0;

	cr_assert_eq(waitpid(maker, &status, 0), maker);
	cr_expect(WIFSIGNALED(status));
	/* The sleeper held the pipe's other end. */
	cr_assert_eq(io_wait(fds[0], POLLIN, deadline_in(TIMEOUT_MS)), 1);
	cr_expect_eq(read(fds[0], &byte, 1), 0);
	(void)close(fds[0]);
}
