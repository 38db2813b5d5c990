/* mount_main.c - fuse-pipe-mount: the guest's half on any machine, for a server behind a Unix
 * socket. Stays in the foreground; ends when the directory is unmounted, or unmounts it when told
 * to end. As an ordinary user it mounts through fusermount3. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "fp_wire.h"
#include "guest_pump.h"
#include "io.h"
#include "log.h"
#include "opt.h"
#include "parse.h"
#include "xalloc.h"

#define QUEUES 2

struct mounting {
	const char *socket;
	struct guest_mount_config mount;
	bool allow_other;
	bool mounted;
};

static int connect_stream(void *data, uint16_t stream, int *ret_fd, struct err *err)
{
	const struct mounting *m = data;
	auto_close int fd = -1;
	int size = 4 << 20;

	(void)stream;
	int r = io_unix_connect(m->socket, deadline_in(1000), &fd, err);
	if (r < 0)
		return r;
	/* Beyond wmem_max only for root; smaller is slower, not wrong. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

__attribute__((noreturn)) static void exec_fusermount(const char *const *argv, int comm)
{
	char number[16];

	if (comm >= 0) {
		(void)snprintf(number, sizeof(number), "%d", comm);
		(void)io_set_cloexec(comm, false);
		(void)setenv("_FUSE_COMMFD", number, 1);
	}
	/* execvp takes its words non-const for historical reasons only. */
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	dprintf(2, "cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static int run_fusermount(const char *const *argv, int comm, struct err *err)
{
	int status = 0;
	pid_t pid = fork();

	if (pid < 0)
		return err_sys(err, "cannot fork");
	if (pid == 0)
		exec_fusermount(argv, comm);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status != 0)
		return err_set(err, ERR_HOST, -EPERM, "fusermount3 refused");
	return 0;
}

/* fusermount3 is set-id, mounts for us and sends the descriptor over the socket it is told of. */
static int mount_as_user(const struct mounting *m, int *ret_fd, struct err *err)
{
	auto_free char *options = xasprintf("default_permissions,%s%ssubtype=fuse-pipe,fsname=%s",
					    m->allow_other ? "allow_other," : "",
					    m->mount.read_only ? "ro," : "", m->mount.source);
	const char *argv[] = {"fusermount3", "-o", options, "--", m->mount.target, NULL};
	int pair[2];
	size_t n = 0;
	char byte;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "cannot make a socket pair");
	auto_close int ours = pair[0];
	auto_close int theirs = pair[1];
	int r = run_fusermount(argv, theirs, err);
	if (r < 0)
		return r;
	cleanup_close_p(&theirs);
	theirs = -1;
	ssize_t got = io_recv_fds(ours, &byte, 1, ret_fd, 1, &n, 0, err);
	if (got < 0)
		return (int)got;
	return n == 1 ? 0 : err_set(err, ERR_HOST, -EPROTO, "fusermount3 sent no descriptor");
}

static int mount_it(void *data, int *ret_fd, struct err *err)
{
	struct mounting *m = data;
	int r = geteuid() == 0 ? guest_mount(&m->mount, ret_fd, err)
			       : mount_as_user(m, ret_fd, err);

	m->mounted = r == 0;
	return r;
}

static void unmount(const struct mounting *m)
{
	const char *argv[] = {"fusermount3", "-u", "-z", "--", m->mount.target, NULL};

	if (geteuid() == 0)
		(void)umount2(m->mount.target, MNT_DETACH);
	else
		(void)run_fusermount(argv, -1, NULL);
}

/* -o words are what mount(8) would say; the host decides about caches. */
static int take_options(struct mounting *m, const struct strv *words, struct err *err)
{
	static const char *const known[] = {"ro", "rw", "allow_other", "trusted"};

	for (size_t i = 0; i < words->n; i++) {
		auto_free char *copy = xstrdup(words->v[i]);
		char *save = NULL;

		for (char *w = strtok_r(copy, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
			if (strcmp(w, "ro") == 0)
				m->mount.read_only = true;
			else if (strcmp(w, "allow_other") == 0)
				m->allow_other = true;
			else if (strcmp(w, "trusted") == 0)
				m->mount.trusted = true;
			else if (strcmp(w, "rw") != 0)
				return err_set(err, ERR_SPEC, -EINVAL,
					       "unknown mount option '%s'; there are %s, %s, %s, "
					       "%s",
					       w, known[0], known[1], known[2], known[3]);
		}
	}
	return 0;
}

static int wait_for_end(struct guest_pump *pump, struct mounting *m, const sigset_t *set,
			struct err *err)
{
	auto_close int sig = signalfd(-1, set, SFD_CLOEXEC);
	struct pollfd p[] = {{.fd = guest_pump_fd(pump), .events = POLLIN},
			     {.fd = sig, .events = POLLIN}};

	if (sig < 0)
		return err_sys(err, "cannot make a signalfd");
	while (poll(p, ARRAY_SIZE(p), -1) < 0)
		if (errno != EINTR)
			return err_sys(err, "poll");
	if (p[1].revents)
		unmount(m);
	return 0;
}

static int serve(struct mounting *m, const struct guest_pump_config *config, struct err *err)
{
	auto_guest_pump struct guest_pump *pump = NULL;
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	int r = guest_pump_start(config, &pump, err);
	if (r < 0) {
		if (m->mounted)
			unmount(m);
		return r;
	}
	/* Who waits for the mount reads this line. */
	(void)printf("mounted %s\n", m->mount.target);
	(void)fflush(stdout);
	return wait_for_end(pump, m, &set, err);
}

int main(int argc, char **argv)
{
	struct mounting m = {.mount.source = "fuse-pipe"};
	auto_strv struct strv words = {0}, args = {0};
	uint64_t queues = QUEUES, spin_us = GUEST_PUMP_SPIN_US;
	const struct opt opts[] = {
		{.short_name = 'o',
		 .name = "options",
		 .kind = OPT_STRV,
		 .value = &words,
		 .arg = "WORDS",
		 .doc = "ro, rw, allow_other (root has it always), trusted"},
		{.name = "queues",
		 .kind = OPT_U64,
		 .value = &queues,
		 .arg = "N",
		 .min = 1,
		 .max = FP_STREAMS_MAX,
		 .doc = "threads, each with a stream of its own (2)"},
		{.name = "spin",
		 .kind = OPT_U64,
		 .value = &spin_us,
		 .arg = "US",
		 .max = 1000,
		 .doc = "how long to look for the next message before sleeping (30)"},
	};
	const struct opt_parse how = {.opts = opts, .n = ARRAY_SIZE(opts)};
	struct err err = {0};
	int r = opt_parse(&how, argc, argv, &args, NULL, &err);

	if (r == 0 && args.n != 2)
		r = err_set(&err, ERR_SPEC, -EINVAL,
			    "usage: fuse-pipe-mount SOCKET DIR [-o WORDS]");
	if (r == 0)
		r = take_options(&m, &words, &err);
	if (r == 0) {
		const struct guest_pump_config config = {
			.queues = (unsigned int)queues,
			.spin_us = (unsigned int)spin_us,
			.reconnect_ms = GUEST_PUMP_RECONNECT_MS,
			.connect = connect_stream,
			.mount = mount_it,
			.data = &m,
		};

		m.socket = args.v[0];
		m.mount.target = args.v[1];
		r = serve(&m, &config, &err);
	}
	if (r < 0)
		log_err(&err);
	return r < 0 ? err_exit_status(&err) : 0;
}
