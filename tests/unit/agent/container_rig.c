#include "container_rig.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "container.h"
#include "file.h"
#include "guest_pump.h"
#include "io.h"
#include "parse.h"
#include "podman_args.h"
#include "xalloc.h"

#define WAIT_MS 20000

static pid_t fork_alone(int keep)
{
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid > 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)dup2(keep, 3);
	(void)syscall(SYS_close_range, 4, ~0u, 0);
	return 0;
}

/* A FUSE mount without a server; an 'x' either way: it is there, it is to go, it is gone. */
__attribute__((noreturn)) static void init_main(const char *dam)
{
	const struct guest_mount_config config = {.target = dam, .source = "dam"};
	int fd = -1;
	char c;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    guest_mount(&config, &fd, NULL) < 0)
		_exit(1);
	(void)!write(3, "x", 1);
	(void)!read(3, &c, 1);
	(void)umount2(dam, MNT_DETACH);
	(void)close(fd);
	(void)!write(3, "x", 1);
	for (;;)
		(void)pause();
}

static void await_order(const struct container_rig *c)
{
	char x;

	cr_assert_eq(io_read_full(c->order, &x, 1, deadline_in(WAIT_MS), NULL), 0);
}

static void start_processes(struct container_rig *c, const char *dam)
{
	auto_close int theirs = -1;
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	c->order = pair[0];
	theirs = pair[1];
	c->init = fork_alone(theirs);
	if (c->init == 0)
		init_main(dam);
	await_order(c);
	c->monitor = fork_alone(theirs);
	while (c->monitor == 0)
		(void)pause();
}

static void leave(const struct agent_rig *r, const char *name, const char *text)
{
	auto_free char *path = path_join(r->dir, name);

	cr_assert_eq(file_replace(path, text, strlen(text), 0644, NULL), 0);
}

static void leave_files(const struct container_rig *c, const struct agent_rig *r)
{
	auto_free char *init = xasprintf("%d\n", (int)c->init);
	auto_free char *monitor = xasprintf("%d\n", (int)c->monitor);

	leave(r, PODMAN_ID_FILE,
	      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
	leave(r, PODMAN_PID_FILE, init);
	leave(r, PODMAN_CONMON_FILE, monitor);
}

void container_rig_start(struct container_rig *c, struct agent_rig *r, const char *dam)
{
	auto_proto_container struct proto_container spec = {.name = xstrdup("main"),
							    .image = xstrdup("image")};
	auto_free char *podman = path_join(r->dir, "podman");
	struct err err = {0};

	start_processes(c, dam);
	/* Where the agent looks for exit codes. */
	cr_assert_eq(mount("t", "/run", "tmpfs", 0, NULL), 0);
	cr_assert_eq(symlink("/bin/true", podman), 0);
	cr_assert_eq(setenv("PATH", r->dir, 1), 0);
	cr_assert_eq(container_run(&r->agent, &spec, &err), 0, "%s", err.msg);
	leave_files(c, r);
	RIG_UNTIL(r, container_state(&r->agent) != CONTAINER_CREATED);
	cr_assert_eq(container_state(&r->agent), CONTAINER_STARTED);
}

void container_rig_open_dam(struct container_rig *c)
{
	cr_assert_eq(io_write_full(c->order, "x", 1, deadline_in(WAIT_MS), NULL), 0);
	await_order(c);
}

static ino_t mounts_of(const char *pid)
{
	auto_free char *path = xasprintf("/proc/%s/ns/mnt", pid);
	struct stat st;

	return stat(path, &st) < 0 ? 0 : st.st_ino;
}

pid_t container_rig_guest(const struct container_rig *c)
{
	auto_free char *init = xasprintf("%d", (int)c->init);
	auto_closedir DIR *proc = opendir("/proc");
	const ino_t mounts = mounts_of(init);
	const struct dirent *e;
	uint64_t pid = 0;

	cr_assert_neq(mounts, 0);
	while ((e = readdir(proc)))
		if (parse_u64(e->d_name, 2, INT32_MAX, &pid, NULL) == 0 && (pid_t)pid != c->init &&
		    mounts_of(e->d_name) == mounts)
			return (pid_t)pid;
	return 0;
}

void container_rig_stop(struct container_rig *c)
{
	(void)kill(c->init, SIGKILL);
	(void)waitpid(c->init, NULL, 0);
	(void)waitpid(c->monitor, NULL, 0);
	cleanup_close_p(&c->order);
	(void)umount2("/run", MNT_DETACH);
}
