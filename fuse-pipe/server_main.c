/* server_main.c - fuse-pipe-server: the host side alone, one directory on one socket, for tests and
 * benchmarks without a VM. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "fp_server.h"
#include "io.h"
#include "log.h"
#include "opt.h"
#include "parse.h"
#include "xalloc.h"

#define BACKLOG 64

struct args {
	const char *trust, *cache, *as;
	uint64_t timeout_ms, workers, spin_us, fds;
	bool read_only, no_state;
	struct strv rest;
};

static void usage(const struct opt *opts, size_t n)
{
	auto_buf struct buf b = BUF_INIT(8192);

	opt_usage(opts, n, &b);
	(void)printf(
		"usage: fuse-pipe-server [OPTIONS] DIR SOCKET\n\n"
		"Serves DIR to fuse-pipe-mount on the Unix socket SOCKET. As root it confines\n"
		"itself to DIR. Says so when it serves. SOCKET.state keeps what a restart\n"
		"needs.\n\n%s",
		buf_str(&b));
}

/* "UID:GID" */
static int parse_as(const char *text, struct fp_options *opt, struct err *err)
{
	const char *colon = strchr(text, ':');
	uint64_t uid = 0, gid = 0;

	if (!colon)
		return err_set(err, ERR_SPEC, -EINVAL, "--as: expected UID:GID, got '%s'", text);
	auto_free char *first = xstrndup(text, (size_t)(colon - text));
	int r = parse_u64(first, 0, UINT32_MAX - 1, &uid, err);
	if (r == 0)
		r = parse_u64(colon + 1, 0, UINT32_MAX - 1, &gid, err);
	if (r < 0)
		return err_wrap(err, "--as");
	opt->as_uid = (uid_t)uid;
	opt->as_gid = (gid_t)gid;
	return 0;
}

static int read_args(int argc, char **argv, struct args *a, bool *ret_help, struct err *err)
{
	const struct opt opts[] = {
		{0, "trust", OPT_CHOICE, &a->trust, "HOW", "what a guest's root is here",
		 "squash|full", 0, 0},
		{0, "cache", OPT_CHOICE, &a->cache, "HOW", "how long a guest may remember",
		 "shared|strict|private", 0, 0},
		{0, "timeout-ms", OPT_U64, &a->timeout_ms, "MS", "age of names and attributes",
		 NULL, 0, 86400000},
		{0, "workers", OPT_U64, &a->workers, "N", "threads for what blocks", NULL, 1, 256},
		{0, "spin-us", OPT_U64, &a->spin_us, "US", "ask for the next request so long", NULL,
		 0, 1000},
		{0, "fds", OPT_U64, &a->fds, "N", "descriptors at most", NULL, 0, 0},
		{0, "as", OPT_STR, &a->as, "UID:GID", "not root: how the guest sees our files",
		 NULL, 0, 0},
		{0, "read-only", OPT_FLAG, &a->read_only, NULL, "refuse every change", NULL, 0, 0},
		{0, "no-state", OPT_FLAG, &a->no_state, NULL, "mounts end with this process", NULL,
		 0, 0},
		{'h', "help", OPT_FLAG, ret_help, NULL, "show this", NULL, 0, 0},
	};
	const struct opt_parse how = {.opts = opts, .n = ARRAY_SIZE(opts)};
	int r = opt_parse(&how, argc, argv, &a->rest, NULL, err);

	if (r == 0 && *ret_help)
		usage(opts, ARRAY_SIZE(opts));
	if (r == 0 && !*ret_help && a->rest.n != 2)
		r = err_set(err, ERR_SPEC, -EINVAL, "expected DIR and SOCKET");
	return r;
}

static int to_options(const struct args *a, struct fp_server_options *ret, struct err *err)
{
	struct fp_options *v = &ret->volume;

	v->trust = strcmp(a->trust, "full") == 0 ? FP_FULL : FP_SQUASH;
	v->cache = strcmp(a->cache, "strict") == 0    ? FP_STRICT
		   : strcmp(a->cache, "private") == 0 ? FP_PRIVATE
						      : FP_SHARED;
	v->timeout_ms = (uint32_t)a->timeout_ms;
	v->read_only = a->read_only;
	v->fds_max = a->fds;
	v->state_fd = -1;
	ret->workers = (unsigned int)a->workers;
	ret->spin_us = (uint32_t)a->spin_us;
	return a->as ? parse_as(a->as, v, err) : 0;
}

static void accept_one(struct fp_server *s, int listen_fd)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct err err = {0};

	if (fd >= 0 && fp_server_add(s, fd, &err) < 0)
		log_warn("%s", err.msg);
}

static void serve_until_signal(struct fp_server *s, int listen_fd, int signal_fd)
{
	struct pollfd p[2] = {{.fd = signal_fd, .events = POLLIN},
			      {.fd = listen_fd, .events = POLLIN}};

	while (!p[0].revents) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return;
		if (p[1].revents)
			accept_one(s, listen_fd);
	}
}

/* Everything that has a path outside the directory is opened before there are no paths any more. */
static int run(const struct args *a, struct fp_server_options *opt, struct err *err)
{
	const char *dir = a->rest.v[0], *path = a->rest.v[1];
	auto_close int listen_fd = -1, signal_fd = -1, root = -1, proc = -1;
	struct fp_server *s = NULL;
	sigset_t set;
	int r = 0;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (signal_fd < 0)
		return err_sys(err, "cannot make a signal descriptor");
	if (!a->no_state) {
		auto_free char *state = xasprintf("%s.state", path);

		r = fp_state_file(state, &opt->volume.state_fd, err);
	}
	if (r == 0)
		r = io_unix_listen(path, BACKLOG, &listen_fd, err);
	if (r == 0)
		r = fp_server_confine(dir, &opt->volume, &root, &proc, err);
	if (r == 0)
		r = fp_server_start(root, proc, opt, &s, err);
	if (r < 0)
		return r;
	root = proc = -1;
	/* Who waits for the socket reads this line. */
	(void)printf("serving %s\n", dir);
	(void)fflush(stdout);
	serve_until_signal(s, listen_fd, signal_fd);
	fp_server_stop(s);
	return 0;
}

int main(int argc, char **argv)
{
	struct args a = {.trust = "squash",
			 .cache = "shared",
			 .timeout_ms = 1000,
			 .workers = 64,
			 .spin_us = 30};
	struct fp_server_options opt = {0};
	struct err err = {0};
	bool help = false;

	(void)signal(SIGPIPE, SIG_IGN);
	int r = read_args(argc, argv, &a, &help, &err);

	if (r == 0 && !help)
		r = to_options(&a, &opt, &err);
	if (r == 0 && !help)
		r = run(&a, &opt, &err);
	strv_free(&a.rest);
	if (r < 0) {
		(void)fprintf(stderr, "fuse-pipe-server: error: %s\n", err.msg);
		return err_exit_status(&err);
	}
	return 0;
}
