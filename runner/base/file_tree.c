/* file_remove_tree() of file.h: one open directory at a time, whatever the depth. */
#include "file.h"

#include "cleanup.h"
#include "xalloc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One directory on the way down. Going up through ".." is checked against dev and ino: a tree that
 * is moved about meanwhile must not lead us elsewhere. */
struct level {
	char *name; /* in the level above */
	dev_t dev;
	ino_t ino;
};

struct walk {
	const char *path; /* for messages */
	struct level *levels;
	size_t n, cap;
	DIR *dir; /* of the deepest level */
};

static void walk_free(struct walk *w)
{
	cleanup_closedir_p(&w->dir);
	for (size_t i = 0; i < w->n; i++)
		free(w->levels[i].name);
	free(w->levels);
}
#define auto_walk __attribute__((cleanup(walk_free)))

/* Refuses links and, by the kernel's own check, other mounts (also binds of the same device). */
static int open_inside(int parent, const char *name, int flags)
{
	struct open_how how = {
		.flags = (unsigned int)(flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
		.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS,
	};

	return (int)syscall(SYS_openat2, parent, name, &how, sizeof(how));
}

static int fail(const struct walk *w, int code, const char *name, struct err *err)
{
	if (code == -EXDEV || code == -EBUSY)
		(void)err_set(err, ERR_CLEANUP, code, "cannot remove '%s': '%s' is a mount point",
			      w->path, name);
	else
		(void)err_sys_code(err, code, "cannot remove '%s': '%s'", w->path, name);
	return code;
}

/* Makes fd (consumed) the directory that is read. */
static int read_from(struct walk *w, int fd, struct err *err)
{
	DIR *dir = fdopendir(fd);

	if (!dir) {
		int r = fail(w, -errno, "fdopendir", err);
		(void)close(fd);
		return r;
	}
	cleanup_closedir_p(&w->dir);
	w->dir = dir;
	return 0;
}

/* A directory without write permission keeps its entries from its own owner: a container image has
 * such, and root never notices. Through /proc, since no descriptor that can be read need be had. */
static void open_to_us(int fd)
{
	struct stat st;
	char path[64];

	if (geteuid() == 0 || fstat(fd, &st) < 0 || st.st_uid != geteuid() ||
	    (st.st_mode & S_IRWXU) == S_IRWXU)
		return;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	(void)chmod(path, S_IRWXU); /* what stays shut is told by what fails next */
}

static int open_level(int parent, const char *name)
{
	auto_close int handle = open_inside(parent, name, O_PATH);

	if (handle < 0)
		return -1;
	open_to_us(handle);
	return open_inside(parent, name, O_RDONLY);
}

static int go_down(struct walk *w, int parent, const char *name, struct err *err)
{
	auto_close int fd = open_level(parent, name);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(w, -errno, name, err);
	w->levels = xgrow(w->levels, &w->cap, w->n + 1, sizeof(*w->levels));
	w->levels[w->n++] = (struct level){xstrdup(name), st.st_dev, st.st_ino};
	return read_from(w, TAKE_FD(fd), err);
}

static int go_up(struct walk *w, struct err *err)
{
	auto_close int fd =
		openat(dirfd(w->dir), "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	const struct level *above = &w->levels[w->n - 2];
	auto_free char *name = w->levels[w->n - 1].name;
	struct stat st;

	w->levels[--w->n].name = NULL;
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(w, -errno, name, err);
	if (st.st_dev != above->dev || st.st_ino != above->ino)
		return err_set(err, ERR_CLEANUP, -EAGAIN,
			       "cannot remove '%s': '%s' was moved meanwhile", w->path, name);
	/* Not empty: somebody adds to it, or readdir lost its place. The new scan meets it again.
	 */
	if (unlinkat(fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT && errno != ENOTEMPTY)
		return fail(w, -errno, name, err);
	return read_from(w, TAKE_FD(fd), err);
}

/* 1 when something was done, 0 at the end of the directory. */
static int next_entry(struct walk *w, struct err *err)
{
	errno = 0;
	const struct dirent *e = readdir(w->dir);
	int fd = dirfd(w->dir);

	if (!e)
		return errno ? fail(w, -errno, w->levels[w->n - 1].name, err) : 0;
	if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
		return 1;
	if (unlinkat(fd, e->d_name, 0) == 0 || errno == ENOENT)
		return 1;
	if (errno != EISDIR && errno != EPERM)
		return fail(w, -errno, e->d_name, err);
	int code = -errno;
	if (unlinkat(fd, e->d_name, AT_REMOVEDIR) == 0)
		return 1;
	/* EPERM is also what an immutable file gives; then it is no directory. */
	if (errno == ENOTDIR)
		return fail(w, code, e->d_name, err);
	auto_free char *name = xstrdup(e->d_name);
	int r = go_down(w, fd, name, err);
	return r < 0 ? r : 1;
}

static int remove_below(const char *path, int parent, const char *name, struct err *err)
{
	auto_walk struct walk w = {.path = path};
	int r = go_down(&w, parent, name, err);

	if (r < 0 || !w.n)
		return r;
	for (;;) {
		r = next_entry(&w, err);
		if (r < 0)
			return r;
		if (r == 1)
			continue;
		if (w.n == 1)
			return 0;
		r = go_up(&w, err);
		if (r < 0)
			return r;
	}
}

int file_remove_tree(const char *path, struct err *err)
{
	auto_free char *copy = xstrdup(path);
	size_t len = strlen(copy);

	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	char *slash = strrchr(copy, '/');
	const char *name = slash ? slash + 1 : copy;
	const struct walk w = {.path = path};
	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return err_set(err, ERR_FAILED, -EINVAL, "refusing to remove '%s'", path);
	if (unlink(copy) == 0 || errno == ENOENT || errno == ENOTDIR)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return fail(&w, -errno, name, err);
	const char *dir = !slash ? "." : slash == copy ? "/" : copy;
	if (slash && slash != copy)
		*slash = '\0';
	auto_close int parent = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return fail(&w, -errno, name, err);
	for (;;) {
		int r = remove_below(path, parent, name, err);
		if (r < 0)
			return r;
		if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return 0;
		/* Not empty: as on the way up. */
		if (errno != ENOTEMPTY)
			return fail(&w, -errno, name, err);
	}
}
