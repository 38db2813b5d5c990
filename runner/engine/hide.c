#include "hide.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int set_read_only(int dirfd, const char *path, unsigned int flags)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID};
	long r = syscall(SYS_mount_setattr, dirfd, path, AT_RECURSIVE | flags, &attr, sizeof(attr));

	return r < 0 ? -errno : 0;
}

/* A copy of the mount there, which stays whatever is mounted over it; *ret -1: there is nothing. */
static int take(const struct hide_keep *k, int *ret)
{
	*ret = (int)syscall(SYS_open_tree, AT_FDCWD, k->path,
			    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (*ret < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	return k->writable ? 0 : set_read_only(*ret, "", AT_EMPTY_PATH);
}

/* In the empty file systems the way to it has to be made again. */
static int make_way(const char *path)
{
	char at[PATH_MAX];
	size_t len = strlen(path);

	if (len >= sizeof(at))
		return -ENAMETOOLONG;
	memcpy(at, path, len + 1);
	for (size_t i = 1; i <= len; i++) {
		char was = at[i];

		if (was != '/' && was != '\0')
			continue;
		at[i] = '\0';
		if (mkdir(at, 0755) < 0 && errno != EEXIST && errno != EROFS)
			return -errno;
		at[i] = was;
	}
	return 0;
}

static int put_back(int fd, const char *path)
{
	int r = make_way(path);

	if (r == 0 && syscall(SYS_move_mount, fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		r = -errno;
	(void)close(fd);
	return r;
}

static int empty(const char *dir)
{
	if (mount("fcvm", dir, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755,size=64k") ==
	    0)
		return 0;
	/* Also what lay below a directory that is empty already. */
	return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
}

int hide_enter(const struct hide *h)
{
	int fds[HIDE_KEEP_MAX];
	int r = 0;

	if (unshare(CLONE_NEWNS | CLONE_NEWIPC) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	for (size_t i = 0; i < h->n_keep && r == 0; i++)
		r = take(&h->keep[i], &fds[i]);
	if (r == 0)
		r = set_read_only(AT_FDCWD, "/", 0);
	for (size_t i = 0; i < h->n_dirs && r == 0; i++)
		r = empty(h->dirs[i]);
	for (size_t i = 0; i < h->n_keep && r == 0; i++)
		r = fds[i] < 0 ? 0 : put_back(fds[i], h->keep[i].path);
	if (r == 0 && chdir(h->cwd) < 0)
		r = -errno;
	return r;
}
