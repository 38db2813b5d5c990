#include "hide.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "user.h"
#include "xalloc.h"

static void put(const char *dir, const char *name)
{
	auto_free char *path = path_join(dir, name);
	auto_free char *parent = xstrndup(path, (size_t)(strrchr(path, '/') - path));

	(void)file_mkdir_p(parent, 0700, NULL);
	(void)file_replace(path, "x", 1, 0600, NULL);
}

/* "NAME: yes", "no", or why it cannot be written. */
static void tell(const char *dir, const char *name)
{
	auto_free char *path = path_join(dir, name);
	auto_close int fd = open(path, O_RDWR | O_CLOEXEC);
	const char *how = fd >= 0 ? "written" : strerror(errno);

	(void)dprintf(STDOUT_FILENO, "%s: %s%s\n", name, how,
		      fd < 0 && access(path, R_OK) == 0 ? ", read" : "");
}

static int look(void *data)
{
	const struct user *u = data;
	auto_free char *vm = path_join(u->home, "data/sets/s/vms/a/vm");
	auto_free char *cache = path_join(u->home, "data/cache");
	auto_free char *absent = path_join(u->home, "data/absent");
	const struct hide h = {
		.dirs = {u->home, "/tmp", "/nowhere"},
		.n_dirs = 3,
		.keep = {{cache, false}, {absent, false}, {vm, true}},
		.n_keep = 3,
		.cwd = vm,
	};
	int r;

	put(u->home, ".ssh/id");
	put(u->home, "data/sets/s/vms/a/ctl.sock");
	put(vm, "memory");
	put(cache, "root.img");
	/* With the rights to mount, as the supervisor's has. */
	if (user_enter_namespace() < 0)
		return -1;
	r = hide_enter(&h);
	if (r < 0) {
		(void)dprintf(STDOUT_FILENO, "%s\n", strerror(-r));
		return -1;
	}
	tell(u->home, ".ssh/id");
	tell(u->home, "data/sets/s/vms/a/ctl.sock");
	tell(u->home, "data/cache/root.img");
	tell(vm, "memory");
	tell(".", "memory");
	(void)dprintf(STDOUT_FILENO, "new: %s\n",
		      open("/var/lib/new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) < 0
			      ? strerror(errno)
			      : "made");
	tell("/dev", "null");
	return 0;
}

Test(hide, what_is_the_users_is_gone_and_what_is_the_vms_is_there)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(4096);

	user_make(&u, "hide");
	user_call(&u, look, &u, &out);
	cr_expect_str_eq(buf_str(&out), ".ssh/id: No such file or directory\n"
					"data/sets/s/vms/a/ctl.sock: No such file or directory\n"
					"data/cache/root.img: Read-only file system, read\n"
					"memory: written\n"
					"memory: written\n"
					"new: Read-only file system\n"
					"null: written\n");
}

static int without_the_right(void *data)
{
	const struct hide h = {.cwd = "/"};

	(void)data;
	(void)dprintf(STDOUT_FILENO, "%s\n", strerror(-hide_enter(&h)));
	return 0;
}

Test(hide, who_cannot_hide_is_told)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(4096);

	user_make(&u, "hide");
	user_call(&u, without_the_right, NULL, &out);
	cr_expect_str_eq(buf_str(&out), "Operation not permitted\n");
}
