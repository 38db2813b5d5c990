/* posix_locks.c - record locks of processes and of open files, flock: who holds what, who is kept
 * out. Who waits is tests/fuse's. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "posix.h"

static const struct {
	off_t start, len;
} ranges[] = {{0, 0}, {0, 10}, {5, 10}, {10, 10}, {100, 0}};

int range_lock(int fd, enum posix_lock_kind kind, int type, size_t range, bool wait)
{
	static const int flock_types[] = {
		[F_RDLCK] = LOCK_SH, [F_WRLCK] = LOCK_EX, [F_UNLCK] = LOCK_UN};
	struct flock l = {.l_type = (short)type,
			  .l_whence = SEEK_SET,
			  .l_start = ranges[range].start,
			  .l_len = ranges[range].len};

	if (kind == LOCK_OF_FLOCK)
		return flock(fd, flock_types[type] | (wait ? 0 : LOCK_NB));
	if (kind == LOCK_OF_FILE)
		return fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &l);
	return fcntl(fd, wait ? F_SETLKW : F_SETLK, &l);
}

/* Of another process, on a descriptor of its own: 0, or the errno. */
static int try_from_outside(enum posix_lock_kind kind, int type, size_t range)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open("d/t", O_RDWR | O_CLOEXEC);
		int error = fd < 0 ? 255 : range_lock(fd, kind, type, range, false) < 0 ? errno : 0;

		/* FUSE tells of the end of an open file when there is time: not before the next
		 * one asks. */
		if (error == 0)
			(void)range_lock(fd, kind, F_UNLCK, range, false);
		_exit(error);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid ? WEXITSTATUS(status) : ECHILD;
}

static void outside(struct posix_at *at, const char *when)
{
	static const char *const names[] = {"process", "file", "flock"};

	for (int kind = 0; kind < LOCK_OF_COUNT; kind++)
		for (int type = F_RDLCK; type <= F_WRLCK; type++)
			for (size_t r = 0; r < ARRAY_SIZE(ranges); r++) {
				int error = try_from_outside((enum posix_lock_kind)kind, type, r);

				if (kind == LOCK_OF_FLOCK && r)
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

	if (pipe2(says, O_CLOEXEC) < 0)
		return;
	pid_t pid = fork();
	if (pid == 0) {
		int fd = open("d/t", O_RDWR | O_CLOEXEC);

		answer.r = fcntl(fd, F_GETLK, &l);
		answer.error = errno;
		answer.l = l;
		(void)!write(says[1], &answer, sizeof(answer));
		_exit(0);
	}
	close(says[1]);
	(void)!read(says[0], &answer, sizeof(answer));
	close(says[0]);
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
	errno = answer.error;
	(void)posix_result(at, "getlk", answer.r);
	buf_addf(at->out, ":%d,%jd+%jd", answer.l.l_type, (intmax_t)answer.l.l_start,
		 (intmax_t)answer.l.l_len);
	if ((c->a >> 8 & 255) == LOCK_OF_PROCESS && answer.l.l_type != F_UNLCK)
		buf_addf(at->out, ",%s", answer.l.l_pid == getpid() ? "us" : "another");
}

static void lock_t(const struct posix_case *c, struct posix_at *at)
{
	enum posix_lock_kind kind = (enum posix_lock_kind)(c->a >> 8 & 255);
	int type = (int)(c->a & 255);
	auto_close int fd = posix_result_fd(at, "open", open("d/t", (int)(c->a >> 16) | O_CLOEXEC));
	auto_close int other = open("d/t", O_RDWR | O_CLOEXEC);

	(void)posix_result(at, "lock", range_lock(fd, kind, type, (size_t)c->b, false));
	who_holds(c, at);
	outside(at, "held");
	(void)posix_result(at, "unlock", range_lock(fd, kind, F_UNLCK, 1, false));
	who_holds(c, at);
	(void)posix_result(at, "relock", range_lock(fd, kind, F_RDLCK, 2, false));
	who_holds(c, at);
	/* Closing any descriptor of the file lets a process's locks go, and no others. */
	cleanup_close_p(&other);
	other = -1;
	outside(at, "closed");
}

void posix_build_locks(struct posix_table *table)
{
	static const int opens[] = {O_RDWR, O_RDONLY, O_WRONLY};

	for (int kind = 0; kind < LOCK_OF_COUNT; kind++)
		for (int type = F_RDLCK; type <= F_WRLCK; type++)
			for (size_t r = 0; r < ARRAY_SIZE(ranges); r++)
				for (size_t o = 0; o < ARRAY_SIZE(opens); o++) {
					struct posix_case c = posix_default("lock", lock_t);

					if (kind == LOCK_OF_FLOCK && r)
						continue;
					c.t.mode = 0666;
					c.a = opens[o] << 16 | kind << 8 | type;
					c.b = (int64_t)r;
					posix_add(table, &c);
				}
}
