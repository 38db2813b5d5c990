#include "file.h"

#include "cleanup.h"
#include "io.h"
#include "xalloc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOLDER_MAX 200
#define LOCKED_FLAGS (O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC)

char *path_join(const char *dir, const char *name)
{
	size_t len = strlen(dir);
	const char *slash = len && dir[len - 1] == '/' ? "" : "/";

	return xasprintf("%s%s%s", dir, len ? slash : "", name);
}

/* The directory a path lies in: "." for a bare name. */
static char *parent_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return xstrdup(".");
	return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

bool file_exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

int file_write_fd(int fd, const void *data, size_t len, struct err *err)
{
	return io_write_full(fd, data, len, 0, err);
}

int file_fsync_dir(const char *path, struct err *err)
{
	auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return err_sys(err, "cannot sync directory '%s'", path);
	return 0;
}

struct replacement {
	const char *path;
	const void *data;
	size_t len;
	mode_t mode;
	bool to_disk, locked;
};

static int write_beside(int fd, const char *beside, const struct replacement *w, struct err *err)
{
	const char *path = w->path;
	int r = file_write_fd(fd, w->data, w->len, err);

	if (r < 0)
		return err_wrap(err, "cannot write '%s'", path);
	if (fchmod(fd, w->mode) < 0 || (w->to_disk && fsync(fd) < 0))
		return err_sys(err, "cannot write '%s'", path);
	if (rename(beside, path) < 0)
		return err_sys(err, "cannot replace '%s'", path);
	return 0;
}

static int replace(const struct replacement *w, struct err *err)
{
	const char *slash = strrchr(w->path, '/');
	auto_free char *dir = parent_of(w->path);
	/* Cut, so that the longest legal name still has room for the suffix. */
	auto_free char *name =
		xasprintf(".%.200s.%s", slash ? slash + 1 : w->path, w->locked ? "new" : "XXXXXX");
	auto_free char *beside = path_join(dir, name);
	auto_close int fd =
		w->locked ? open(beside, LOCKED_FLAGS, w->mode) : mkostemp(beside, O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "cannot write beside '%s'", w->path);
	int r = write_beside(fd, beside, w, err);
	if (r < 0) {
		(void)unlink(beside);
		return r;
	}
	return w->to_disk ? file_fsync_dir(dir, err) : 0;
}

int file_replace(const char *path, const void *data, size_t len, mode_t mode, struct err *err)
{
	const struct replacement w = {path, data, len, mode, .to_disk = true};

	return replace(&w, err);
}

int file_replace_locked(const char *path, const void *data, size_t len, bool to_disk,
			struct err *err)
{
	const struct replacement w = {path, data, len, 0600, to_disk, .locked = true};

	return replace(&w, err);
}

static int too_large(const char *path, size_t max, struct err *err)
{
	return err_set(err, ERR_FAILED, -EFBIG, "file '%s' is larger than %zu bytes", path, max);
}

int file_read(const char *path, size_t max, struct buf *out, struct err *err)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	char piece[16384];

	if (fd < 0)
		return err_sys(err, "cannot open '%s'", path);
	if (fstat(fd, &st) < 0)
		return err_sys(err, "cannot stat '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_FAILED, -EINVAL, "'%s' is not a regular file", path);
	if (st.st_size > 0 && (uint64_t)st.st_size > max)
		return too_large(path, max, err);
	buf_reset(out);
	/* To the end, whatever fstat said: files in /proc claim to be empty. */
	for (;;) {
		ssize_t n = read(fd, piece, sizeof(piece));

		if (n == 0)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "cannot read '%s'", path);
		if ((size_t)n > max - out->len)
			return too_large(path, max, err);
		buf_add(out, piece, (size_t)n);
		if (!buf_ok(out))
			return too_large(path, out->max, err);
	}
}

static bool is_link(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

static int make_dir(const char *path, mode_t mode, struct err *err)
{
	struct stat st;

	for (;;) {
		if (mkdir(path, mode) == 0) {
			/* Past the umask: others have to get through these. */
			if (chmod(path, mode) == 0)
				return 0;
			if (errno != ENOENT)
				return err_sys(err, "cannot set the mode of directory '%s'", path);
			continue;
		}
		int code = errno;
		if (stat(path, &st) == 0) {
			if (S_ISDIR(st.st_mode))
				return 0;
			code = ENOTDIR;
		} else if (code == EEXIST && errno == ENOENT && !is_link(path)) {
			/* Removed between two looks, as a set is by the one who destroys it. */
			continue;
		}
		return err_sys_code(err, -code, "cannot make directory '%s'", path);
	}
}

int file_mkdir_p(const char *path, mode_t mode, struct err *err)
{
	auto_free char *part = xstrdup(path);

	for (char *at = part + 1; *part && *at; at++) {
		if (*at != '/' || at[-1] == '/')
			continue;
		*at = '\0';
		int r = make_dir(part, mode, err);
		if (r < 0)
			return r;
		*at = '/';
	}
	return make_dir(path, mode, err);
}

/* --- locks --- */

static char printable(char c)
{
	if ((unsigned char)c < ' ' || c == 0x7f)
		return '?';
	return c;
}

/* "PID COMMAND LINE", for the person who waits for us. */
static void write_holder(int fd)
{
	auto_buf struct buf line = BUF_INIT(HOLDER_MAX);
	char args[HOLDER_MAX];
	auto_close int cmdline = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = cmdline < 0 ? 0 : read(cmdline, args, sizeof(args));

	buf_addf(&line, "%ld", (long)getpid());
	for (ssize_t i = 0; i < n; i++) {
		if (i == 0)
			buf_add_char(&line, ' ');
		if (args[i])
			buf_add_char(&line, printable(args[i]));
		else if (i + 1 < n)
			buf_add_char(&line, ' ');
	}
	buf_add_char(&line, '\n');
	/* Only talk: a full disk must not keep anybody from locking. What a longer holder left
	 * behind the line stays, since cutting a file costs milliseconds and nobody reads on. */
	ssize_t unused = pwrite(fd, line.data, line.len, 0);
	(void)unused;
}

static void read_holder(int fd, struct buf *out)
{
	char line[HOLDER_MAX];
	ssize_t n = pread(fd, line, sizeof(line), 0);

	buf_reset(out);
	for (ssize_t i = 0; i < n && line[i] != '\n'; i++)
		buf_add_char(out, printable(line[i]));
}

/* The kernel has no flock with a deadline. A child that shares our open file waits in our place:
 * the lock belongs to the open file, so what it gets is ours, and it can be killed. */
static int lock_in_child(int fd, uint64_t deadline_ms, struct err *err)
{
	pid_t parent = getpid();
	pid_t pid = fork();
	int status = 0;

	if (pid < 0)
		return err_sys(err, "cannot start a process that waits");
	if (pid == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
			_exit(2);
		_exit(flock(fd, LOCK_EX) == 0 ? 0 : 1);
	}
	auto_close int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int r = pidfd < 0 ? -errno : io_wait(pidfd, POLLIN, deadline_ms);
	if (r <= 0)
		(void)kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r < 0)
		return err_sys_code(err, r, "cannot wait");
	if (r == 0)
		return err_set(err, ERR_BUSY, -ETIMEDOUT, "the deadline has passed");
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return err_set(err, ERR_FAILED, -EINTR, "waiting was interrupted");
	return 0;
}

static int take_lock(int fd, bool wait, uint64_t deadline_ms, struct buf *holder, struct err *err)
{
	auto_buf struct buf line = BUF_INIT(HOLDER_MAX);

	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno != EWOULDBLOCK)
		return err_sys(err, "cannot lock");
	read_holder(fd, &line);
	if (holder) {
		buf_reset(holder);
		buf_add_str(holder, buf_str(&line));
	}
	if (!wait)
		return err_set(err, ERR_BUSY, -EWOULDBLOCK, "it is held by process %s",
			       line.len ? line.data : "unknown");
	if (deadline_ms) {
		int r = lock_in_child(fd, deadline_ms, err);
		return r < 0 ? err_wrap(err, "it is held by process %s",
					line.len ? line.data : "unknown")
			     : 0;
	}
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_sys(err, "cannot lock");
	return 0;
}

/* False when the file was removed (its set destroyed) while we waited: the lock then guards
 * nothing. */
static bool still_there(int fd, const char *path)
{
	struct stat ours, theirs;

	return fstat(fd, &ours) == 0 && stat(path, &theirs) == 0 && ours.st_dev == theirs.st_dev &&
	       ours.st_ino == theirs.st_ino;
}

int file_lock(const char *path, bool wait, uint64_t deadline_ms, struct buf *holder, int *ret_fd,
	      struct err *err)
{
	for (;;) {
		auto_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

		if (fd < 0)
			return err_sys(err, "cannot open lock '%s'", path);
		int r = take_lock(fd, wait, deadline_ms, holder, err);
		if (r < 0)
			return err_wrap(err, "cannot take lock '%s'", path);
		if (!still_there(fd, path))
			continue;
		write_holder(fd);
		*ret_fd = TAKE_FD(fd);
		return 0;
	}
}
