#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "proc.h"

#define READY_DEADLINE_MS 10000

/* The first process of the namespace: the write fails if the parent died before the call. */
__attribute__((noreturn)) static void keep(int ready)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || write(ready, "", 1) != 1)
		_exit(1);
	(void)setsid();
	(void)close_range(0, ~0u, 0);
	for (;;)
		(void)pause();
}

int proc_pid_ns(int *ret_pidfd, struct err *err)
{
	int fds[2], fd = -1;
	char byte;
	struct clone_args args = {
		.flags = CLONE_PIDFD | CLONE_NEWPID,
		.pidfd = (uintptr_t)&fd,
		.exit_signal = SIGCHLD,
	};

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	auto_close int ours = fds[0];
	auto_close int theirs = fds[1];
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid < 0)
		return err_sys(err, "cannot make a pid namespace");
	if (pid == 0) {
		(void)close(ours);
		keep(theirs);
	}
	(void)close(TAKE_FD(theirs));
	auto_close int pidfd = fd;
	int r = io_read_full(ours, &byte, 1, deadline_in(READY_DEADLINE_MS), err);

	if (r < 0) {
		(void)proc_signal(pidfd, SIGKILL);
		(void)proc_wait(pidfd, deadline_in(READY_DEADLINE_MS), &(int){0}, NULL);
		return err_wrap(err, "the pid namespace's first process");
	}
	*ret_pidfd = TAKE_FD(pidfd);
	return 0;
}
