#include "fp_process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "fp_server.h"
#include "io.h"
#include "log.h"
#include "opt.h"

#define SPIN_US 30

struct args {
	const char *dir, *tag, *trust, *cache;
	uint64_t timeout_ms, control, state, saved;
	bool read_only, rekey;
};

static int read_args(int argc, char **argv, struct args *a, struct err *err)
{
	auto_strv struct strv rest = {0};
	const struct opt opts[] = {
		{0, "dir", OPT_STR, &a->dir, "DIR", "what is served", NULL, 0, 0},
		{0, "tag", OPT_STR, &a->tag, "TAG", "shown in argv", NULL, 0, 0},
		{0, "trust", OPT_CHOICE, &a->trust, "HOW", "what a guest's root is here",
		 "squash|full", 0, 0},
		{0, "cache", OPT_CHOICE, &a->cache, "HOW", "how long a guest may remember",
		 "shared|strict|private", 0, 0},
		{0, "timeout-ms", OPT_U64, &a->timeout_ms, "MS", "age of names and attributes",
		 NULL, 0, 86400000},
		{0, "control-fd", OPT_U64, &a->control, "N", "orders", NULL, 3, 65535},
		{0, "state-fd", OPT_U64, &a->state, "N", "what outlives us", NULL, 3, 65535},
		{0, "saved-fd", OPT_U64, &a->saved, "N", "what a snapshot has of the guest", NULL,
		 3, 65535},
		{0, "read-only", OPT_FLAG, &a->read_only, NULL, "refuse every change", NULL, 0, 0},
		{0, "rekey", OPT_FLAG, &a->rekey, NULL, "the state is another directory's", NULL, 0,
		 0},
	};
	const struct opt_parse how = {.opts = opts, .n = ARRAY_SIZE(opts)};
	int r = opt_parse(&how, argc, argv, &rest, NULL, err);

	if (r == 0 && (!a->dir || !a->control || !a->state || rest.n))
		r = err_set(err, ERR_SPEC, -EINVAL,
			    "internal volumes: expected --dir, --control-fd and --state-fd");
	return r;
}

static struct fp_server_options to_options(const struct args *a)
{
	return (struct fp_server_options){
		.volume = {.trust = strcmp(a->trust, "full") == 0 ? FP_FULL : FP_SQUASH,
			   .cache = strcmp(a->cache, "strict") == 0    ? FP_STRICT
				    : strcmp(a->cache, "private") == 0 ? FP_PRIVATE
								       : FP_SHARED,
			   .timeout_ms = (uint32_t)a->timeout_ms,
			   .read_only = a->read_only,
			   .state_fd = (int)a->state},
		.spin_us = SPIN_US,
		.saved_fd = (int)a->saved,
	};
}

/* Everything that has a path outside the directory is open before there are no paths any more. */
static int start(const struct args *a, struct fp_server **ret, struct err *err)
{
	struct fp_server_options opt = to_options(a);
	auto_close int root = -1, proc = -1;
	pid_t parent = getppid();
	int r = a->rekey ? fp_state_rekey((int)a->state, err) : 0;

	if (r == 0)
		r = fp_server_confine(a->dir, &opt.volume, &root, &proc, err);
	/* Other capabilities may have cleared it. */
	if (r == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent))
		r = err_set(err, ERR_FAILED, -ESRCH, "its supervisor has ended");
	if (r == 0)
		r = fp_server_start(root, proc, &opt, ret, err);
	if (r < 0)
		return r;
	(void)TAKE_FD(root);
	(void)TAKE_FD(proc);
	return 0;
}

static void say(int fd, const char *text, size_t len)
{
	(void)send(fd, text, len, MSG_NOSIGNAL);
}

static void say_failed(int control, const char *why)
{
	char text[FP_SENTENCE_MAX];
	int len = snprintf(text, sizeof(text), "%c%s", FP_SAYS_FAILED, why);

	say(control, text, (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1);
}

static void say_word(int control, char word)
{
	say(control, &word, 1);
}

static void obey(struct fp_server *s, int control, char order, int fd)
{
	auto_close int own = fd;
	struct err err = {0};

	if (order == FP_ORDER_PING) {
		say_word(control, FP_SAYS_PONG);
	} else if (order == FP_ORDER_DRAIN) {
		(void)fp_server_drain(s, deadline_in(FP_DRAIN_MS));
		say_word(control, FP_SAYS_DRAINED);
	} else if (order == FP_ORDER_SAVE && fd >= 0) {
		if (fp_server_save(s, fd, &err) < 0)
			say_failed(control, err.msg);
		else
			say_word(control, FP_SAYS_SAVED);
	} else if (order == FP_ORDER_STREAM && fd >= 0) {
		if (fp_server_add(s, TAKE_FD(own), &err) < 0)
			log_warn("%s", err.msg);
	}
}

static int serve(struct fp_server *s, int control, struct err *err)
{
	for (;;) {
		size_t n_fds = 0;
		int fd = -1;
		char order = 0;
		ssize_t n = io_recv_fds(control, &order, 1, &fd, 1, &n_fds, 0, err);

		if (n == -EINTR)
			continue;
		/* Closed over a word of ours that nobody read any more. */
		if (n == 0 || n == -ECONNRESET)
			return 0;
		if (n < 0)
			return (int)n;
		obey(s, control, order, n_fds ? fd : -1);
	}
}

int fp_process_internal(int argc, char **argv, struct err *err)
{
	struct args a = {.trust = "squash", .cache = "shared", .timeout_ms = 1000};
	struct fp_server *s = NULL;
	struct err why = {0};
	int r = read_args(argc, argv, &a, err);

	if (r < 0)
		return r;
	int control = (int)a.control;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)io_set_cloexec(control, true);
	(void)io_set_cloexec((int)a.state, true);
	if (a.saved)
		(void)io_set_cloexec((int)a.saved, true);
	r = start(&a, &s, &why);
	if (r < 0) {
		say_failed(control, why.msg);
	} else {
		say_word(control, FP_SAYS_READY);
		r = serve(s, control, &why);
		fp_server_stop(s);
	}
	if (r < 0 && err)
		*err = why;
	return r;
}
