#include "world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/loop.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "run.h"
#include "xalloc.h"

#define IMAGE_SIZE (2048LL << 20) /* sparse */

static const char server_path[] = TEST_BUILD_DIR "/fuse-pipe-server";
static const char mount_path[] = TEST_BUILD_DIR "/fuse-pipe-mount";

static const struct {
	const char *name;
	const char *mkfs[10];
} systems[] = {
	[FS_EXT4] = {"ext4",
		     {"mkfs.ext4", "-q", "-F", "-N", "300000", "-E", "lazy_itable_init=1", NULL}},
	[FS_BTRFS] = {"btrfs", {"mkfs.btrfs", "-q", "-f", "-M", NULL}},
};

/* The image's name is gone once the loop device has it: nothing to remove later. */
static int image_new(const char *path, enum world_fs fs)
{
	auto_run struct run_result r = RUN_INIT;
	const char *argv[12];
	size_t n = 0;
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, IMAGE_SIZE), 0);
	while (systems[fs].mkfs[n]) {
		argv[n] = systems[fs].mkfs[n];
		n++;
	}
	argv[n++] = path;
	argv[n] = NULL;
	run_argv(&r, argv, NULL, NULL, WORLD_TIMEOUT_MS);
	cr_assert_eq(r.status, 0, "%s: %s", argv[0], buf_str(&r.err));
	cr_assert_eq(unlink(path), 0);
	return fd;
}

/* A loop device that goes away with its last user. */
static void mount_image(int image, const char *fs, const char *at)
{
	auto_close int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	struct loop_config config = {.fd = (uint32_t)image, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
	auto_close int loop = -1;
	char path[32];

	cr_assert_geq(ctl, 0, "/dev/loop-control: %s", strerror(errno));
	for (int tries = 0; tries < 100; tries++) {
		int number = ioctl(ctl, LOOP_CTL_GET_FREE);

		cr_assert_geq(number, 0);
		(void)snprintf(path, sizeof(path), "/dev/loop%d", number);
		cleanup_close_p(&loop);
		loop = open(path, O_RDWR | O_CLOEXEC);
		if (loop >= 0 && ioctl(loop, LOOP_CONFIGURE, &config) == 0)
			break;
		/* Somebody else was quicker. */
		cr_assert(loop < 0 || errno == EBUSY, "%s: %s", path, strerror(errno));
	}
	cr_assert_eq(mount(path, at, fs, 0, NULL), 0, "mount %s: %s", fs, strerror(errno));
}

pid_t world_spawn(const char *const *argv, uid_t uid, int *ret_out)
{
	int out[2] = {-1, -1};

	if (ret_out)
		cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		if (uid && (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 ||
			    setresuid(uid, uid, uid) < 0))
			_exit(126);
		/* Not before: a change of user forgets it. */
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (ret_out)
			(void)dup2(out[1], 1);
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		dprintf(2, "cannot run %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	if (ret_out) {
		close(out[1]);
		*ret_out = out[0];
	}
	return pid;
}

int world_wait(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		cr_assert_eq(errno, EINTR);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void world_kill(pid_t *pid)
{
	if (*pid > 0) {
		(void)kill(*pid, SIGKILL);
		while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	*pid = 0;
}

static pid_t spawn_server(const struct world *w, int *ret_out)
{
	const char *argv[12] = {server_path, "--cache", w->cache, "--trust",
				w->flags & WORLD_FULL_TRUST ? "full" : "squash"};
	size_t n = 5;

	if (w->flags & WORLD_READ_ONLY)
		argv[n++] = "--read-only";
	if (w->flags & WORLD_USER) {
		/* The user is shown as itself, not as the root of a guest. */
		argv[n++] = "--as";
		argv[n++] = WORLD_UID_TEXT ":" WORLD_UID_TEXT;
	}
	argv[n++] = w->vol;
	argv[n] = w->sock;
	return world_spawn(argv, w->flags & WORLD_USER ? WORLD_UID : 0, ret_out);
}

/* Servers are started by a process that has no file of the mount open: closing one, which exec
 * does, asks the server that is not there yet. */
static void spawner_main(const struct world *w, int sock)
{
	char byte;

	(void)signal(SIGCHLD, SIG_IGN);
	while (read(sock, &byte, 1) == 1) {
		int fds[2];

		fds[0] = (int)syscall(SYS_pidfd_open, spawn_server(w, &fds[1]), 0);
		if (fds[0] < 0 || io_send_fds(sock, "", 1, fds, 2, NULL) < 0)
			_exit(1);
		close(fds[0]);
		close(fds[1]);
	}
	_exit(0);
}

static void start_spawner(struct world *w)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[0]);
		spawner_main(w, pair[1]);
	}
	close(pair[1]);
	w->spawner = pair[0];
}

/* Both tools say so on stdout when they can be used. */
static void await_line(int out, const char *tool)
{
	char line[512];

	cr_assert_eq(io_wait(out, POLLIN, deadline_in(WORLD_TIMEOUT_MS)), 1, "%s hangs", tool);
	cr_assert_gt(read(out, line, sizeof(line)), 0, "%s ended early", tool);
}

void world_start_server(struct world *w)
{
	struct err err = {0};
	int fds[2] = {-1, -1};
	size_t n = 0;
	char byte;

	cr_assert_eq(write(w->spawner, "", 1), 1);
	cr_assert_eq(io_recv_fds(w->spawner, &byte, 1, fds, 2, &n, 0, &err), 1, "%s", err.msg);
	cr_assert_eq(n, 2);
	w->server = fds[0];
	await_line(fds[1], server_path);
	close(fds[1]);
}

void world_kill_server(struct world *w)
{
	if (w->server < 0)
		return;
	(void)syscall(SYS_pidfd_send_signal, w->server, SIGKILL, NULL, 0);
	cr_assert_eq(io_wait(w->server, POLLIN, deadline_in(WORLD_TIMEOUT_MS)), 1);
	cleanup_close_p(&w->server);
	w->server = -1;
}

void world_start_mount(struct world *w)
{
	const char *argv[] = {mount_path, w->sock, w->mnt, "-o", "rw", NULL};
	auto_close int out = -1;

	if (w->flags & WORLD_FULL_TRUST)
		argv[4] = "trusted";
	w->mount = world_spawn(argv, w->flags & WORLD_USER ? WORLD_UID : 0, &out);
	await_line(out, mount_path);
}

static void check_needs(unsigned int flags)
{
	if (geteuid() != 0)
		cr_skip_test("needs root");
	if (flags & WORLD_USER && access("/usr/bin/fusermount3", X_OK) != 0)
		cr_skip_test("needs fusermount3");
	if (!(flags & WORLD_BIND) && access("/dev/fuse", R_OK | W_OK) != 0)
		cr_skip_test("needs /dev/fuse");
	if (access("/dev/loop-control", R_OK | W_OK) != 0)
		cr_skip_test("needs /dev/loop-control");
}

/* The world of the running test, for the clean-up after a failed assertion. */
static char *live_dir;

static int make_dir(char **ret, const char *parent, const char *name)
{
	*ret = path_join(parent, name);
	cr_assert_eq(mkdir(*ret, 0755), 0, "%s: %s", *ret, strerror(errno));
	return open(*ret, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void give_to_user(const struct world *w)
{
	const char *const paths[] = {w->dir, w->vol, w->mnt};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		cr_assert_eq(chown(paths[i], WORLD_UID, WORLD_UID), 0);
	/* Everybody's, as udev makes it; in this mount namespace only. */
	auto_free char *device = path_join(w->dir, "fuse");
	cr_assert_eq(mknod(device, S_IFCHR | 0666, makedev(10, 229)), 0);
	cr_assert_eq(chmod(device, 0666), 0);
	cr_assert_eq(mount(device, "/dev/fuse", NULL, MS_BIND, NULL), 0);
}

void world_open(struct world *w, enum world_fs fs, const char *cache, unsigned int flags)
{
	*w = (struct world){.cache = cache,
			    .flags = flags,
			    .bare_fd = -1,
			    .vol_fd = -1,
			    .mnt_fd = -1,
			    .spawner = -1,
			    .server = -1};
	check_needs(flags);
	w->dir = tmpdir_new("mnt");
	live_dir = xstrdup(w->dir);
	cr_assert_eq(chmod(w->dir, 0755), 0);
	cr_assert_eq(unshare(CLONE_NEWNS), 0);
	cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	(void)umask(022);

	auto_free char *image = path_join(w->dir, "image");
	auto_close int image_fd = image_new(image, fs);
	auto_free char *disk = path_join(w->dir, "disk");
	cr_assert_eq(mkdir(disk, 0755), 0);
	mount_image(image_fd, systems[fs].name, disk);
	w->bare_fd = make_dir(&w->bare, disk, "bare");
	w->vol_fd = make_dir(&w->vol, disk, "vol");
	close(make_dir(&w->mnt, w->dir, "mnt"));
	w->sock = path_join(w->dir, "sock");
	if (flags & WORLD_USER)
		give_to_user(w);
	if (flags & WORLD_BIND) {
		cr_assert_eq(mount(w->vol, w->mnt, NULL, MS_BIND, NULL), 0);
	} else {
		start_spawner(w);
		world_start_server(w);
		world_start_mount(w);
	}
	/* A user's mount is not even root's to see. */
	w->mnt_fd = open(w->mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert(w->mnt_fd >= 0 || flags & WORLD_USER, "%s: %s", w->mnt, strerror(errno));
}

void world_close(struct world *w)
{
	char **const strings[] = {&w->bare, &w->vol, &w->mnt, &w->sock};
	int *const fds[] = {&w->bare_fd, &w->vol_fd, &w->mnt_fd, &w->spawner};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		cleanup_close_p(fds[i]);
	if (chdir("/") < 0)
		return;
	if (w->mnt)
		(void)umount2(w->mnt, MNT_DETACH);
	world_kill(&w->mount);
	world_kill_server(w);
	if (w->dir) {
		auto_free char *disk = path_join(w->dir, "disk");

		(void)umount2(disk, MNT_DETACH);
	}
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
		cleanup_free_p(strings[i]);
	tmpdir_remove(&w->dir);
	cleanup_free_p(&live_dir);
}

void world_cleanup(void)
{
	static const char *const mounts[] = {"mnt", "disk"};

	if (chdir("/") < 0)
		return;
	for (size_t i = 0; live_dir && i < ARRAY_SIZE(mounts); i++) {
		auto_free char *path = path_join(live_dir, mounts[i]);

		(void)umount2(path, MNT_DETACH);
	}
	tmpdir_remove(&live_dir);
}
