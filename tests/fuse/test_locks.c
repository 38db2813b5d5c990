/* test_locks.c - record locks of processes and of open files, flock: who waits, who is let go. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "posix.h"
#include "world.h"

static void on_alarm(int sig)
{
	(void)sig;
}

/* A child that waits for a lock another process holds; it says 'w' before and 'l' after. */
static pid_t waiter(const struct world *w, enum posix_lock_kind kind, int *ret_says)
{
	int says[2];

	cr_assert_eq(pipe2(says, O_CLOEXEC), 0);
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		const struct sigaction act = {.sa_handler = on_alarm};
		int fd = openat(w->mnt_fd, "lock", O_RDWR | O_CLOEXEC);

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)sigaction(SIGALRM, &act, NULL);
		(void)!write(says[1], "w", 1);
		int r = range_lock(fd, kind, F_WRLCK, 0, true);
		(void)!write(says[1], r < 0 && errno == EINTR ? "i" : r < 0 ? "e" : "l", 1);
		_exit(0);
	}
	close(says[1]);
	*ret_says = says[0];
	return pid;
}

static char said(int fd)
{
	char c = '?';

	cr_assert_eq(io_wait(fd, POLLIN, deadline_in(WORLD_TIMEOUT_MS)), 1, "a hang");
	cr_assert_eq(read(fd, &c, 1), 1);
	return c;
}

static void waits(const char *cache)
{
	auto_world struct world w;

	world_open(&w, FS_EXT4, cache, WORLD_FULL_TRUST);
	auto_close int fd = openat(w.mnt_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	for (int kind = 0; kind < LOCK_OF_COUNT; kind++) {
		auto_close int let = -1, stopped = -1, killed = -1;

		cr_assert_eq(range_lock(fd, (enum posix_lock_kind)kind, F_WRLCK, 0, false), 0);
		pid_t a = waiter(&w, (enum posix_lock_kind)kind, &let);
		pid_t b = waiter(&w, (enum posix_lock_kind)kind, &stopped);
		pid_t c = waiter(&w, (enum posix_lock_kind)kind, &killed);
		cr_expect_eq(said(let), 'w');
		cr_expect_eq(said(stopped), 'w');
		cr_expect_eq(said(killed), 'w');
		cr_expect_eq(io_wait(let, POLLIN, deadline_in(100)), 0, "it waits");
		/* Until the signal finds it waiting. */
		do {
			cr_assert_eq(kill(b, SIGALRM), 0);
		} while (io_wait(stopped, POLLIN, deadline_in(20)) == 0);
		cr_expect_eq(said(stopped), 'i');
		world_kill(&c);
		cr_expect_eq(range_lock(fd, (enum posix_lock_kind)kind, F_UNLCK, 0, false), 0);
		cr_expect_eq(said(let), 'l');
		cr_expect_eq(world_wait(a), 0);
		cr_expect_eq(world_wait(b), 0);
	}
}
Test(locks, are_waited_for_and_waiting_can_be_interrupted, .fini = world_cleanup)
{
	waits("shared");
}
Test(locks, are_waited_for_where_they_are_local, .fini = world_cleanup)
{
	waits("private");
}

/* More waiters than the server could have threads for, and then the one who lets them go. */
Test(locks, a_crowd_that_waits_does_not_keep_the_holder_from_letting_go, .fini = world_cleanup)
{
	enum { CROWD = 200 };
	auto_world struct world w;
	pid_t pids[CROWD];
	int says[CROWD];

	world_open(&w, FS_EXT4, "shared", WORLD_FULL_TRUST);
	auto_close int fd = openat(w.mnt_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(range_lock(fd, LOCK_OF_FILE, F_WRLCK, 0, false), 0);
	for (int i = 0; i < CROWD; i++)
		pids[i] = waiter(&w, LOCK_OF_PROCESS, &says[i]);
	for (int i = 0; i < CROWD; i++)
		cr_assert_eq(said(says[i]), 'w');
	cr_expect_eq(range_lock(fd, LOCK_OF_FILE, F_UNLCK, 0, false), 0);
	for (int i = 0; i < CROWD; i++)
		cr_expect_eq(said(says[i]), 'l');
	for (int i = 0; i < CROWD; i++)
		cr_expect_eq(world_wait(pids[i]), 0);
}
