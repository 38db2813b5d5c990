/* fake_jailer.c - Firecracker's jailer as far as a program can play it that is not static: takes
 * the arguments fcvm gives and no others, each once, makes what the real one makes, changes the
 * user and runs the firecracker where it is, without the change of root. Usable as FCVM_JAILER. */
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parse.h"
#include "strv.h"
#include "xalloc.h"

enum option { ID, EXEC_FILE, UID, GID, BASE, CGROUP_VERSION, LIMIT, N_OPTIONS };
static const char *const names[N_OPTIONS] = {
	[ID] = "--id",
	[EXEC_FILE] = "--exec-file",
	[UID] = "--uid",
	[GID] = "--gid",
	[BASE] = "--chroot-base-dir",
	[CGROUP_VERSION] = "--cgroup-version",
	[LIMIT] = "--resource-limit",
};

__attribute__((noreturn)) static void die(const char *what, const char *text)
{
	(void)fprintf(stderr, "fake_jailer: %s: '%s'\n", what, text);
	_exit(1);
}

static int take_args(int argc, char **argv, const char *values[N_OPTIONS])
{
	int i = 1;

	for (; i < argc && strcmp(argv[i], "--") != 0; i += 2) {
		int o = 0;

		while (o < N_OPTIONS && strcmp(argv[i], names[o]) != 0)
			o++;
		if (o == N_OPTIONS || i + 1 >= argc || values[o])
			die("not this option, or not here", argv[i]);
		values[o] = argv[i + 1];
	}
	for (int o = 0; o < N_OPTIONS; o++)
		if (!values[o])
			die("missing", names[o]);
	/* Of 2 the real one leaves the cgroup it was put into, or ends. */
	if (strcmp(values[CGROUP_VERSION], "1") != 0)
		die("leaves its cgroup", values[CGROUP_VERSION]);
	if (strncmp(values[LIMIT], "no-file=", 8) != 0)
		die("no such limit", values[LIMIT]);
	return i + 1;
}

static unsigned int number(const char *text)
{
	uint64_t n = 0;

	if (parse_u64(text, 1, UINT32_MAX - 1, &n, NULL) < 0)
		die("no user of a VMM", text);
	return (unsigned int)n;
}

static void make_dir(const char *path, unsigned int uid, unsigned int gid)
{
	(void)mkdir(path, 0700);
	if (chmod(path, 0700) < 0 || chown(path, uid, gid) < 0)
		die("cannot make", path);
}

/* As the real one: a pid file that must be new, and a copy of the binary. */
static void make_file(const char *name, const char *ending, unsigned int uid)
{
	char *path = xasprintf("%s%s", name, ending);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);

	if (fd < 0 || fchown(fd, uid, uid) < 0 || close(fd) < 0)
		die("cannot make", path);
	free(path);
}

/* Those the host has; null is for the fake Firecracker, which brings a C library. */
static void make_devices(unsigned int uid, unsigned int gid)
{
	static const char *const devices[] = {"kvm", "net/tun", "urandom", "userfaultfd", "null"};

	for (size_t i = 0; i < sizeof(devices) / sizeof(*devices); i++) {
		char *host = xasprintf("/dev/%s", devices[i]);
		struct stat st;

		/* Without its slash: a name in our own directory. */
		if (stat(host, &st) == 0 && (mknod(host + 1, S_IFCHR | 0600, st.st_rdev) < 0 ||
					     chown(host + 1, uid, gid) < 0))
			die("cannot make", host + 1);
		free(host);
	}
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("dev", "/dev", NULL, MS_BIND, NULL) < 0)
		die("cannot mount", "/dev");
}

static void change_user(unsigned int uid, unsigned int gid)
{
	if (setgroups(0, NULL) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
		die("cannot change the user", "");
}

int main(int argc, char **argv)
{
	const char *values[N_OPTIONS] = {NULL};

	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return puts("Jailer v1.16.1\n") < 0;
	int rest = take_args(argc, argv, values);
	unsigned int uid = number(values[UID]), gid = number(values[GID]);
	const char *name = strrchr(values[EXEC_FILE], '/');
	static char *const env[] = {NULL};
	struct strv args = {0};

	if (!name || values[EXEC_FILE][0] != '/' || values[BASE][0] != '/')
		die("not an absolute path", values[EXEC_FILE]);
	if (close_range(3, ~0u, 0) < 0)
		die("cannot close", "descriptors");
	char *root = xasprintf("%s%s/%s/root", values[BASE], name, values[ID]);

	if (chdir(root) < 0)
		die("no root", root);
	make_dir(".", uid, gid);
	make_dir("dev", uid, gid);
	make_dir("dev/net", uid, gid);
	make_dir("run", uid, gid);
	make_devices(uid, gid);
	make_file(name + 1, "", uid);
	make_file(name + 1, ".pid", 0);
	strv_add(&args, values[EXEC_FILE]);
	strv_add(&args, "--id");
	strv_add(&args, values[ID]);
	for (int i = rest; i < argc; i++)
		strv_add(&args, argv[i]);
	change_user(uid, gid);
	(void)execve(values[EXEC_FILE], args.v, env);
	die("cannot run", values[EXEC_FILE]);
}
