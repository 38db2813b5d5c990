/* test_locks.c - record locks of processes and of open files, flock; who waits, who is let go. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "posix.h"

enum kind { KIND_PROCESS, KIND_FILE, KIND_FLOCK, KIND_COUNT };

static const struct {
	off_t start, len;
} ranges[] = {{0, 0}, {0, 10}, {5, 10}, {10, 10}, {100, 0}};

static int lock(int fd, enum kind kind, int type, size_t range, bool wait)
{
	static const int flock_types[] = {
		[F_RDLCK] = LOCK_SH, [F_WRLCK] = LOCK_EX, [F_UNLCK] = LOCK_UN};
	struct flock l = {.l_type = (short)type,
			  .l_whence = SEEK_SET,
			  .l_start = ranges[range].start,
			  .l_len = ranges[range].len};

	if (kind == KIND_FLOCK)
		return flock(fd, flock_types[type] | (wait ? 0 : LOCK_NB));
	if (kind == KIND_FILE)
		return fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &l);
	return fcntl(fd, wait ? F_SETLKW : F_SETLK, &l);
}

/* Of another process, on a descriptor of its own: 0, or the errno. */
static int try_from_outside(enum kind kind, int type, size_t range)
{
	int status = -1;
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		int fd = open("d/t", O_RDWR | O_CLOEXEC);
		int error = fd < 0 ? 255 : lock(fd, kind, type, range, false) < 0 ? errno : 0;

		/* FUSE tells of the end of an open file when there is time: not before the next
		 * one asks. */
		if (error == 0)
			(void)lock(fd, kind, F_UNLCK, range, false);
		_exit(error);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static void outside(struct posix_at *at, const char *when)
{
	static const char *const names[] = {"process", "file", "flock"};

	for (int kind = 0; kind < KIND_COUNT; kind++)
		for (int type = F_RDLCK; type <= F_WRLCK; type++)
			for (size_t r = 0; r < ARRAY_SIZE(ranges); r++) {
				int error = try_from_outside((enum kind)kind, type, r);

				if (kind == KIND_FLOCK && r)
					continue;
				buf_addf(at->out, " %s.%s%d%zu=%s", when, names[kind], type, r,
					 strerrorname_np(error));
			}
}

/* As another process sees it. Only process locks have a process: for others FUSE names one, too. */
static void who_holds(const struct posix_case *c, struct posix_at *at)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct {
		int r, error;
		struct flock l;
	} answer = {.r = -1};
	int says[2];

	cr_assert_eq(pipe2(says, O_CLOEXEC), 0);
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		int fd = open("d/t", O_RDWR | O_CLOEXEC);

		answer.r = fcntl(fd, F_GETLK, &l);
		answer.error = errno;
		answer.l = l;
		(void)!write(says[1], &answer, sizeof(answer));
		_exit(0);
	}
	close(says[1]);
	cr_assert_eq(read(says[0], &answer, sizeof(answer)), (ssize_t)sizeof(answer));
	close(says[0]);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	errno = answer.error;
	(void)posix_result(at, "getlk", answer.r);
	buf_addf(at->out, ":%d,%jd+%jd", answer.l.l_type, (intmax_t)answer.l.l_start,
		 (intmax_t)answer.l.l_len);
	if ((c->a >> 8 & 255) == KIND_PROCESS && answer.l.l_type != F_UNLCK)
		buf_addf(at->out, ",%s", answer.l.l_pid == getpid() ? "us" : "another");
}

static void lock_t(const struct posix_case *c, struct posix_at *at)
{
	enum kind kind = (enum kind)(c->a >> 8 & 255);
	int type = (int)(c->a & 255);
	auto_close int fd = posix_result_fd(at, "open", open("d/t", (int)(c->a >> 16) | O_CLOEXEC));
	auto_close int other = open("d/t", O_RDWR | O_CLOEXEC);

	(void)posix_result(at, "lock", lock(fd, kind, type, (size_t)c->b, false));
	who_holds(c, at);
	outside(at, "held");
	(void)posix_result(at, "unlock", lock(fd, kind, F_UNLCK, 1, false));
	who_holds(c, at);
	(void)posix_result(at, "relock", lock(fd, kind, F_RDLCK, 2, false));
	who_holds(c, at);
	/* Closing any descriptor of the file lets a process's locks go, and no others. */
	cleanup_close_p(&other);
	other = -1;
	outside(at, "closed");
}

static void build_locks(struct posix_table *table)
{
	static const int opens[] = {O_RDWR, O_RDONLY, O_WRONLY};

	for (int kind = 0; kind < KIND_COUNT; kind++)
		for (int type = F_RDLCK; type <= F_WRLCK; type++)
			for (size_t r = 0; r < ARRAY_SIZE(ranges); r++)
				for (size_t o = 0; o < ARRAY_SIZE(opens); o++) {
					struct posix_case c = posix_default("lock", lock_t);

					if (kind == KIND_FLOCK && r)
						continue;
					c.t.mode = 0666;
					c.a = opens[o] << 16 | kind << 8 | type;
					c.b = (int64_t)r;
					posix_add(table, &c);
				}
}
POSIX_TABLE(locks, build_locks)

static void on_alarm(int sig)
{
	(void)sig;
}

/* A child that waits for a lock another process holds; it says 'w' before and 'l' after. */
static pid_t waiter(const struct world *w, enum kind kind, int *ret_says)
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
		int r = lock(fd, kind, F_WRLCK, 0, true);
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
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		auto_close int let = -1, stopped = -1, killed = -1;

		cr_assert_eq(lock(fd, (enum kind)kind, F_WRLCK, 0, false), 0);
		pid_t a = waiter(&w, (enum kind)kind, &let);
		pid_t b = waiter(&w, (enum kind)kind, &stopped);
		pid_t c = waiter(&w, (enum kind)kind, &killed);
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
		cr_expect_eq(lock(fd, (enum kind)kind, F_UNLCK, 0, false), 0);
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
	cr_assert_eq(lock(fd, KIND_FILE, F_WRLCK, 0, false), 0);
	for (int i = 0; i < CROWD; i++)
		pids[i] = waiter(&w, KIND_PROCESS, &says[i]);
	for (int i = 0; i < CROWD; i++)
		cr_assert_eq(said(says[i]), 'w');
	cr_expect_eq(lock(fd, KIND_FILE, F_UNLCK, 0, false), 0);
	for (int i = 0; i < CROWD; i++)
		cr_expect_eq(said(says[i]), 'l');
	for (int i = 0; i < CROWD; i++)
		cr_expect_eq(world_wait(pids[i]), 0);
}
