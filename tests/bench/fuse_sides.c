#include "fuse_sides.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "null_host.h"
#include "xalloc.h"

#define FUSE_MAGIC 0x65735546
#define WAIT_MS 30000
#define SFTP_SERVER "/usr/lib/openssh/sftp-server"

static const struct {
	const char *name, *needs;
} sides[SIDE_COUNT] = {
	[SIDE_HOST] = {"host", "/"},
	[SIDE_SHARED] = {"shared", TEST_BUILD_DIR "/fuse-pipe-server"},
	[SIDE_STRICT] = {"strict", TEST_BUILD_DIR "/fuse-pipe-server"},
	[SIDE_PRIVATE] = {"private", TEST_BUILD_DIR "/fuse-pipe-server"},
	[SIDE_NULL] = {"null", TEST_BUILD_DIR "/fuse-pipe-mount"},
	[SIDE_BINDFS] = {"bindfs", "/usr/bin/bindfs"},
	[SIDE_SSHFS] = {"sshfs", "/usr/bin/sshfs"},
	[SIDE_HP] = {"passthrough_hp", NULL},
};

static const char *made; /* the directory, for an early end */

void sides_die(const char *what)
{
	(void)fprintf(stderr, "bench_fuse: %s: %s\n", what, strerror(errno));
	if (made)
		(void)file_remove_tree(made, NULL);
	exit(1);
}

const char *side_name(enum side side)
{
	return sides[side].name;
}

bool side_is_there(enum side side)
{
	const char *path = side == SIDE_HP ? getenv("FCVM_BENCH_HP") : sides[side].needs;

	if (path && access(path, F_OK) == 0)
		return true;
	if (side != SIDE_HP || path)
		(void)fprintf(stderr, "not measured: %s (no %s)\n", sides[side].name,
			      path ? path : "FCVM_BENCH_HP");
	return false;
}

void sides_init(struct sides *s, const char *parent)
{
	(void)snprintf(s->dir, sizeof(s->dir), "%s/fcvm-bench-XXXXXX", parent);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		sides_die("mount namespace");
	if (!mkdtemp(s->dir))
		sides_die(s->dir);
	made = s->dir;
	s->source = path_join(s->dir, "source");
	s->mnt = path_join(s->dir, "mnt");
	s->sock = path_join(s->dir, "sock");
	if (mkdir(s->source, 0777) < 0 || mkdir(s->mnt, 0777) < 0)
		sides_die("mkdir");
}

void sides_free(struct sides *s)
{
	struct err err = {0};

	if (file_remove_tree(s->dir, &err) < 0)
		(void)fprintf(stderr, "bench_fuse: %s\n", err.msg);
	free(s->source);
	free(s->mnt);
	free(s->sock);
}

static pid_t spawn(const char *const *argv, int in_out)
{
	pid_t pid = fork();

	if (pid < 0)
		sides_die("fork");
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int fd = 0; in_out >= 0 && fd < 2; fd++)
			(void)dup2(in_out, fd);
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	return pid;
}

static bool is_fuse(const char *path)
{
	struct statfs st;

	return statfs(path, &st) == 0 && st.f_type == FUSE_MAGIC;
}

/* The kernel tells of changes of the mount table. */
static void wait_mounted(const struct sides *s)
{
	auto_close int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	uint64_t deadline = deadline_in(WAIT_MS);

	while (!is_fuse(s->mnt)) {
		if (now_ms() > deadline)
			sides_die("no mount in time");
		(void)io_wait(fd, POLLPRI, deadline_in(20));
	}
}

/* Both tools say so on stdout when they can be used, and nothing else. */
static pid_t spawn_tool(const char *const *argv)
{
	int pair[2];
	char line[512];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		sides_die("socketpair");
	pid_t pid = spawn(argv, pair[1]);
	close(pair[1]);
	if (read(pair[0], line, sizeof(line)) <= 0)
		sides_die(argv[0]);
	close(pair[0]);
	return pid;
}

static void up_ours(struct sides *s, enum side side)
{
	static const char path[] = TEST_BUILD_DIR "/fuse-pipe-server";
	/* As a volume of a VM: what a restart needs is kept. */
	const char *server[] = {path,        "--trust", "full",    "--cache", sides[side].name,
				"--spin-us", "30",      s->source, s->sock,   NULL};

	s->pids[0] = spawn_tool(server);
}

static void up_null(struct sides *s)
{
	auto_close int fd = -1;

	if (io_unix_listen(s->sock, 16, &fd, NULL) < 0)
		sides_die(s->sock);
	s->pids[0] = fork();
	if (s->pids[0] < 0)
		sides_die("fork");
	if (s->pids[0] == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		null_host_main(fd);
	}
}

static void up_pump(struct sides *s)
{
	static const char path[] = TEST_BUILD_DIR "/fuse-pipe-mount";
	const char *pump[] = {path, s->sock, s->mnt, NULL};

	s->pids[1] = spawn_tool(pump);
}

static void up_sshfs(struct sides *s)
{
	auto_free char *from = xasprintf("bench:%s", s->source);
	const char *sshfs[] = {"sshfs", "-f", "-o", "passive,allow_other", from, s->mnt, NULL};
	const char *sftp[] = {SFTP_SERVER, NULL};
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		sides_die("socketpair");
	s->pids[0] = spawn(sftp, pair[0]);
	s->pids[1] = spawn(sshfs, pair[1]);
	close(pair[0]);
	close(pair[1]);
}

static void up_others(struct sides *s, enum side side)
{
	const char *bindfs[] = {"bindfs", "-f", "--multithreaded", s->source, s->mnt, NULL};
	const char *hp[] = {getenv("FCVM_BENCH_HP"),
			    "-f",
			    "--nopassthrough",
			    "--nocache",
			    s->source,
			    s->mnt,
			    NULL};

	if (side == SIDE_SSHFS)
		up_sshfs(s);
	else
		s->pids[0] = spawn(side == SIDE_HP ? hp : bindfs, -1);
	wait_mounted(s);
}

const char *side_up(struct sides *s, enum side side)
{
	s->up = side;
	s->pids[0] = s->pids[1] = 0;
	switch (side) {
	case SIDE_HOST:
	case SIDE_COUNT:
		return s->source;
	case SIDE_SHARED:
	case SIDE_STRICT:
	case SIDE_PRIVATE:
		up_ours(s, side);
		up_pump(s);
		break;
	case SIDE_NULL:
		up_null(s);
		up_pump(s);
		break;
	case SIDE_BINDFS:
	case SIDE_SSHFS:
	case SIDE_HP:
		up_others(s, side);
	}
	return s->mnt;
}

void side_down(struct sides *s)
{
	if (s->up == SIDE_HOST)
		return;
	(void)umount2(s->mnt, MNT_DETACH);
	for (int i = 1; i >= 0; i--) {
		if (s->pids[i] <= 0)
			continue;
		(void)kill(s->pids[i], SIGKILL);
		(void)waitpid(s->pids[i], NULL, 0);
	}
}
