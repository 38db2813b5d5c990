#include "outside.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "proc.h"
#include "xalloc.h"

#define CIDR "--cidr=172.16.0.0/24"
#define MTU "--mtu=65520"
#define LINK "slirp0"
enum { FD_READY = 3, FD_EXIT }; /* in slirp4netns */
#define FD_SOCK 3               /* in the process outside */

struct outside {
	int sock;
};

/* Both ends are one program: no versions, no byte order. */
enum verb { VERB_SOCKET, VERB_SLIRP };
struct request {
	enum verb verb;
	int domain, type;
	pid_t target;
	char dir[PATH_MAX], sock[64];
};
struct answer {
	struct err err; /* code 0: a descriptor comes with it */
};

/* --- the process outside --- */

static int make_socket(const struct request *q, int *ret_fd, struct err *err)
{
	bool known = (q->domain == AF_INET || q->domain == AF_INET6) &&
		     (q->type == SOCK_DGRAM || q->type == SOCK_STREAM);

	if (!known)
		return err_set(err, ERR_FAILED, -EINVAL, "no such socket is made outside");
	*ret_fd = socket(q->domain, q->type | SOCK_CLOEXEC, 0);
	return *ret_fd < 0 ? err_sys(err, "cannot open a socket") : 0;
}

/* --enable-sandbox wants a root in the user namespace, where an ordinary user has none: their uid
 * is their own. It keeps no privilege there either way, and --enable-seccomp takes what it never
 * calls. Root's would keep everything. */
static int run_slirp(const struct request *q, const int fds[2], int *ret_pidfd, struct err *err)
{
	char api[sizeof(q->sock) + 16], pid[16];
	const char *const argv[] = {"slirp4netns",
				    "--ready-fd=3",
				    "--exit-fd=4",
				    CIDR,
				    MTU,
				    "--disable-dns",
				    "--disable-host-loopback",
				    "--enable-seccomp",
				    api,
				    pid,
				    LINK,
				    geteuid() == 0 ? "--enable-sandbox" : NULL,
				    NULL};
	const struct proc_fd given[] = {{fds[0], FD_READY}, {fds[1], FD_EXIT}};
	const struct proc_spec spec = {
		.argv = argv,
		.cwd = q->dir,
		.in = -1,
		.out = STDERR_FILENO,
		.err = STDERR_FILENO,
		.fds = given,
		.n_fds = ARRAY_SIZE(given),
		.new_session = true,
		.death_signal = SIGKILL,
	};

	(void)snprintf(api, sizeof(api), "--api-socket=%s", q->sock);
	(void)snprintf(pid, sizeof(pid), "%d", (int)q->target);
	return proc_spawn(&spec, ret_pidfd, NULL, err);
}

static int handle(const struct request *q, const int *fds, size_t n_fds, int *ret_fd,
		  struct err *err)
{
	if (q->verb == VERB_SOCKET)
		return make_socket(q, ret_fd, err);
	if (n_fds != 2)
		return err_set(err, ERR_FAILED, -EPROTO, "slirp4netns needs two descriptors");
	return run_slirp(q, fds, ret_fd, err);
}

static void serve_one(int sock, const struct request *q, const int *fds, size_t n_fds)
{
	struct answer a = {0};
	auto_close int fd = -1;

	(void)handle(q, fds, n_fds, &fd, &a.err);
	(void)io_send_fds(sock, &a, sizeof(a), &fd, fd >= 0 ? 1 : 0, NULL);
}

__attribute__((noreturn)) static void live_outside(int sock, pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent)
		_exit(1);
	/* What it runs is never waited for: the supervisor has the pidfd. */
	(void)signal(SIGCHLD, SIG_IGN);
	/* Nobody's lock and nobody's socket may live on in here. */
	if (dup2(sock, FD_SOCK) < 0 || close_range(FD_SOCK + 1, ~0u, 0) < 0 ||
	    io_set_cloexec(FD_SOCK, true) < 0)
		_exit(1);
	for (;;) {
		struct request q = {0};
		int fds[2] = {-1, -1};
		size_t n_fds = 0;
		ssize_t n =
			io_recv_fds(FD_SOCK, &q, sizeof(q), fds, ARRAY_SIZE(fds), &n_fds, 0, NULL);

		if (n != (ssize_t)sizeof(q))
			_exit(0); /* the supervisor is gone */
		q.dir[sizeof(q.dir) - 1] = q.sock[sizeof(q.sock) - 1] = '\0';
		serve_one(FD_SOCK, &q, fds, n_fds);
		for (size_t i = 0; i < n_fds; i++)
			(void)close(fds[i]);
	}
}

/* --- the supervisor's side --- */

int outside_start(struct outside **ret, struct err *err)
{
	pid_t parent = getpid(), pid;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "cannot make a socket pair");
	auto_close int ours = pair[0];
	auto_close int theirs = pair[1];
	pid = fork();
	if (pid < 0)
		return err_sys(err, "cannot fork");
	if (pid == 0)
		live_outside(theirs, parent);
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->sock = TAKE_FD(ours);
	return 0;
}

void outside_stop(struct outside *o)
{
	if (!o)
		return;
	cleanup_close_p(&o->sock);
	free(o);
}

static int ask(struct outside *o, const struct request *q, const int *fds, size_t n_fds,
	       int *ret_fd, struct err *err)
{
	struct answer a = {0};
	size_t got = 0;
	int fd = -1;
	ssize_t n;
	int r = io_send_fds(o->sock, q, sizeof(*q), fds, n_fds, err);

	if (r < 0)
		return err_wrap(err, "the process outside is gone");
	n = io_recv_fds(o->sock, &a, sizeof(a), &fd, 1, &got, 0, err);
	if (n >= 0 && n != (ssize_t)sizeof(a))
		return err_set(err, ERR_FAILED, -EPIPE, "the process outside is gone");
	if (n < 0)
		return (int)n;
	a.err.msg[sizeof(a.err.msg) - 1] = '\0';
	if (a.err.code < 0)
		return err_set(err, ERR_HOST, a.err.code, "%s", a.err.msg);
	if (got != 1)
		return err_set(err, ERR_FAILED, -EPROTO, "the process outside sent nothing");
	*ret_fd = fd;
	return 0;
}

int outside_socket(struct outside *o, int domain, int type, int *ret_fd, struct err *err)
{
	const struct request q = {.verb = VERB_SOCKET, .domain = domain, .type = type};

	return ask(o, &q, NULL, 0, ret_fd, err);
}

int outside_run_slirp(struct outside *o, const struct outside_slirp *what, int *ret_pidfd,
		      struct err *err)
{
	struct request q = {.verb = VERB_SLIRP, .target = what->target};
	const int fds[] = {what->ready_fd, what->exit_fd};
	int r;

	if (strlen(what->dir) >= sizeof(q.dir) || strlen(what->sock) >= sizeof(q.sock))
		return err_set(err, ERR_FAILED, -ENAMETOOLONG, "the path '%s' is too long",
			       what->dir);
	(void)snprintf(q.dir, sizeof(q.dir), "%s", what->dir);
	(void)snprintf(q.sock, sizeof(q.sock), "%s", what->sock);
	r = ask(o, &q, fds, ARRAY_SIZE(fds), ret_pidfd, err);
	if (r == -ENOENT)
		return err_hint(err, "apt install slirp4netns");
	return r;
}
