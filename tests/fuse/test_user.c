/* test_user.c - an ordinary user serves a directory and mounts it through fusermount3. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "world.h"
#include "xalloc.h"

#define CHECK(cond)                            \
	do {                                   \
		if (!(cond))                   \
			_exit(__LINE__ % 256); \
	} while (0)

/* The user's own view, in a process of the user's. */
static void as_user(const struct world *w)
{
	char data[8] = "";
	struct stat st;

	CHECK(setgroups(0, NULL) == 0 && setresgid(WORLD_UID, WORLD_UID, WORLD_UID) == 0 &&
	      setresuid(WORLD_UID, WORLD_UID, WORLD_UID) == 0 && chdir(w->mnt) == 0);
	int fd = open("file", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	CHECK(fd >= 0 && write(fd, "hello", 5) == 5 && fsync(fd) == 0);
	CHECK(pread(fd, data, sizeof(data), 0) == 5 && strcmp(data, "hello") == 0);
	CHECK(mkdir("dir", 0700) == 0 && rename("file", "dir/moved") == 0);
	CHECK(symlink("dir/moved", "link") == 0 && stat("link", &st) == 0 && st.st_size == 5);
	CHECK(open("roots", O_RDONLY | O_CLOEXEC) == -1 && errno == EACCES);
	_exit(0);
}

Test(user, mounts_a_directory_without_being_root, .fini = world_cleanup)
{
	auto_world struct world w;
	struct stat st;

	world_open(&w, FS_EXT4, "shared", WORLD_USER);
	cleanup_close_p(&(int){openat(w.vol_fd, "roots", O_CREAT | O_RDWR | O_CLOEXEC, 0600)});
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0)
		as_user(&w);
	cr_expect_eq(world_wait(pid), 0, "the line that failed");
	cr_assert_eq(fstatat(w.vol_fd, "dir/moved", &st, 0), 0);
	cr_expect_eq(st.st_uid, WORLD_UID);
	/* Told to end, it unmounts. */
	cr_assert_eq(kill(w.mount, SIGTERM), 0);
	cr_expect_eq(world_wait(w.mount), 0);
	w.mount = 0;
	cr_assert_eq(stat(w.mnt, &st), 0);
	cr_expect_eq(st.st_uid, WORLD_UID, "the directory below");
}
