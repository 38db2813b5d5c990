#include "user.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "strv.h"
#include "xalloc.h"

#define TUN "/dev/net/tun"
/* Above the numbers fcvm's own ledger hands out. */
#define FIRST_UID 1881000000u

void user_make(struct user *u, const char *what)
{
	if (geteuid() != 0)
		cr_skip_test("needs root to be an ordinary user");
	u->uid = FIRST_UID + (uid_t)getpid();
	u->home = tmpdir_new(what);
	cr_assert_eq(chown(u->home, u->uid, u->uid), 0);
	cr_assert_eq(chmod(u->home, 0711), 0);
}

void user_free(struct user *u)
{
	tmpdir_remove(&u->home);
}

void user_copy(const char *from, const char *to, mode_t mode)
{
	auto_buf struct buf bytes = BUF_INIT(256u << 20);
	struct err err = {0};

	cr_assert_geq(file_read(from, bytes.max - 1, &bytes, &err), 0, "%s", err.msg);
	cr_assert_geq(file_replace(to, bytes.data, bytes.len, mode, &err), 0, "%s", err.msg);
}

static void own_mounts(void)
{
	cr_assert_eq(unshare(CLONE_NEWNS), 0, "%s", strerror(errno));
	cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0, "%s", strerror(errno));
}

void user_open_tun(void)
{
	if (!file_exists(TUN))
		cr_skip_test("needs " TUN);
	own_mounts();
	/* A file system that allows devices, wherever the test's own directories lie. */
	cr_assert_eq(mount("tun", "/dev/net", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755"), 0);
	cr_assert_eq(mknod(TUN, S_IFCHR | 0666, makedev(10, 200)), 0, "%s", strerror(errno));
	cr_assert_eq(chmod(TUN, 0666), 0);
}

void user_own_network(void)
{
	auto_close int sock = -1;
	struct ifreq req = {.ifr_name = "lo", .ifr_flags = IFF_UP};

	cr_assert_eq(unshare(CLONE_NEWNET), 0, "%s", strerror(errno));
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(ioctl(sock, SIOCSIFFLAGS, &req), 0, "%s", strerror(errno));
}

void user_hide(const char *path)
{
	if (file_exists(path))
		cr_assert_eq(mount("none", path, "tmpfs", 0, "mode=0755"), 0, "%s",
			     strerror(errno));
}

void user_become(const struct user *u)
{
	cr_assert_eq(setgroups(0, NULL), 0);
	cr_assert_eq(setresgid(u->uid, u->uid, u->uid), 0);
	cr_assert_eq(setresuid(u->uid, u->uid, u->uid), 0);
	/* As after the exec of a login: /proc/self is ours again. */
	cr_assert_eq(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
}

void user_call(const struct user *u, int (*fn)(void *data), void *data, struct buf *out)
{
	int fds[2], status = 0;
	char chunk[4096];
	ssize_t n;

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		(void)dup2(fds[1], STDOUT_FILENO);
		(void)close(fds[1]); /* a process that stays would keep the reader */
		if (u)
			user_become(u);
		_exit(fn(data) == 0 ? 0 : 1);
	}
	(void)close(fds[1]);
	while ((n = read(fds[0], chunk, sizeof(chunk))) > 0)
		buf_add(out, chunk, (size_t)n);
	(void)close(fds[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	cr_assert_eq(status, 0, "the child ended with %#x after: %s", (unsigned int)status,
		     buf_str(out));
}

static int put(const char *path, const char *text)
{
	auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

int user_enter_namespace(void)
{
	auto_free char *uid = xasprintf("%u %u 1", geteuid(), geteuid());
	auto_free char *gid = xasprintf("%u %u 1", getegid(), getegid());

	if (unshare(CLONE_NEWUSER) < 0 || put("/proc/self/setgroups", "deny") < 0 ||
	    put("/proc/self/uid_map", uid) < 0)
		return -1;
	return put("/proc/self/gid_map", gid);
}

void user_run(const struct user *u, struct run_result *r, const char *const *argv,
	      const char *const *env, uint64_t timeout_ms)
{
	auto_strv struct strv words = {0};

	strv_add(&words, "setpriv");
	strv_addf(&words, "--reuid=%u", u->uid);
	strv_addf(&words, "--regid=%u", u->uid);
	strv_add(&words, "--clear-groups");
	strv_add(&words, "env");
	strv_add(&words, "-i");
	strv_add(&words, "PATH=/usr/sbin:/usr/bin:/sbin:/bin");
	strv_addf(&words, "HOME=%s", u->home);
	for (; env && *env; env++)
		strv_add(&words, *env);
	for (; *argv; argv++)
		strv_add(&words, *argv);
	run_argv(r, (const char *const *)words.v, NULL, NULL, timeout_ms);
}
