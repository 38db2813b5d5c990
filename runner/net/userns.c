#include "userns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"

static int write_proc(const char *name, const char *text, struct err *err)
{
	char path[64];
	auto_close int fd = -1;

	(void)snprintf(path, sizeof(path), "/proc/self/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "cannot open '%s'", path);
	/* The kernel takes a map in one write or not at all. */
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		return err_sys(err, "cannot write '%s'", path);
	return 0;
}

static int write_map(const char *name, unsigned int id, struct err *err)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "%u %u 1\n", id, id);
	return write_proc(name, text, err);
}

static int refused(struct err *err)
{
	int r = -errno;

	(void)err_set(err, ERR_HOST, r, "the host refuses user namespaces: %s", strerror(-r));
	(void)err_hint(err,
		       "sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone and "
		       "kernel.apparmor_restrict_unprivileged_userns decide that; or use sudo");
	return r;
}

int userns_enter(struct err *err)
{
	unsigned int uid = geteuid(), gid = getegid();
	int r;

	if (unshare(CLONE_NEWUSER) < 0)
		return refused(err);
	/* Without it the kernel takes no group map from us: groups that deny access must not be
	 * dropped. */
	r = write_proc("setgroups", "deny", err);
	if (r == 0)
		r = write_map("uid_map", uid, err);
	if (r == 0)
		r = write_map("gid_map", gid, err);
	if (r < 0 && err)
		err->class = ERR_HOST;
	return r;
}

/* AppArmor can let the namespace come into being and give no right in it. */
static int try_it(struct err *err)
{
	int r = userns_enter(err);

	if (r == 0 && unshare(CLONE_NEWNET) < 0) {
		r = -errno;
		(void)err_set(err, ERR_HOST, r, "user namespaces give no rights here: %s",
			      strerror(-r));
	}
	return r;
}

bool userns_permitted(char *why, size_t size)
{
	struct err err = {0};
	int pipe_fds[2], status = 0;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return false;
	auto_close int from = pipe_fds[0];
	auto_close int to = pipe_fds[1];
	pid = fork();
	if (pid == 0) {
		if (try_it(&err) == 0)
			_exit(0);
		(void)!write(to, err.msg, strlen(err.msg));
		_exit(1);
	}
	cleanup_close_p(&to);
	to = -1;
	ssize_t n = pid < 0 || !why || size == 0 ? 0 : read(from, why, size - 1);
	if (why && size > 0)
		why[n > 0 ? n : 0] = '\0';
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	return pid > 0 && status == 0;
}
