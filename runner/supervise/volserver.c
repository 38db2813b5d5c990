#include "volserver.h"

#include "cleanup.h"
#include "fp_process.h"
#include "io.h"
#include "proc.h"
#include "strv.h"
#include "xalloc.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define START_MS 15000
#define STOP_MS 2000
#define KILL_MS 5000 /* for SIGKILL to end it */
#define AGAIN_MS 50  /* until a dead server is replaced */
#define SHORT_LIFE_MS 1000
#define AGAIN_SLOW_MS 1000 /* when it died young */
#define CONTROL_FD 3
#define STATE_FD 4
#define SAVED_FD 5
#define PING_MS 1000
#define SILENCE_MS 10000
#define SAVE_MS 60000

struct volserver {
	struct loop *loop;
	const struct host *host;
	const struct volume_mount *mount;
	char *tag;
	int state_fd;
	bool rekey;   /* until the first process has done it */
	int saved_fd; /* the first process's, too; 0: none */
	int pidfd;    /* -1: no process */
	pid_t pid;
	int control;
	uint64_t began_ms;
	uint64_t ping_ms, silence_ms;
	uint64_t asked_ms; /* the oldest ping without an answer, 0: none */
	struct loop_source end, again, ping;
};

static void make_argv(const struct volserver *v, struct strv *argv)
{
	static const char *const caches[] = {[VOLUME_STRICT] = "strict",
					     [VOLUME_SHARED] = "shared",
					     [VOLUME_PRIVATE] = "private"};

	strv_add(argv, v->host->exe);
	strv_add(argv, "--data-dir");
	strv_add(argv, v->host->data_dir);
	strv_add(argv, "internal");
	strv_add(argv, "volumes");
	strv_addf(argv, "--dir=%s", v->mount->source);
	strv_addf(argv, "--tag=%s", v->tag);
	strv_addf(argv, "--cache=%s", caches[v->mount->cache]);
	strv_addf(argv, "--trust=%s", v->mount->trust == VOLUME_FULL ? "full" : "squash");
	strv_addf(argv, "--control-fd=%d", CONTROL_FD);
	strv_addf(argv, "--state-fd=%d", STATE_FD);
	if (v->mount->read_only)
		strv_add(argv, "--read-only");
	if (v->rekey)
		strv_add(argv, "--rekey");
	if (v->saved_fd)
		strv_addf(argv, "--saved-fd=%d", SAVED_FD);
}

/* Its next word: the first byte, or 0 when there is none; the rest is text. */
static char hear(const struct volserver *v, char text[FP_SENTENCE_MAX], uint64_t deadline_ms)
{
	ssize_t n = io_wait(v->control, POLLIN, deadline_ms) > 0
			    ? recv(v->control, text, FP_SENTENCE_MAX - 1, MSG_DONTWAIT)
			    : 0;

	text[n > 0 ? n : 0] = '\0';
	return text[0];
}

static void on_end(struct loop *loop, struct loop_source *src, uint32_t events);
static void on_ping(struct loop *loop, struct loop_source *src, uint32_t events);

static int spawn(struct volserver *v, struct err *err)
{
	auto_strv struct strv argv = {0};
	int pair[2] = {-1, -1};

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "cannot make a socket pair");
	auto_close int ours = pair[0];
	auto_close int theirs = pair[1];

	/* Nobody in the guest may make the supervisor wait for a server that does not read. */
	(void)io_set_nonblock(ours, true);
	const struct proc_fd fds[] = {{.from = theirs, .to = CONTROL_FD},
				      {.from = v->state_fd, .to = STATE_FD},
				      {.from = v->saved_fd, .to = SAVED_FD}};

	make_argv(v, &argv);
	const struct proc_spec p = {
		.argv = (const char *const *)argv.v,
		.in = -1,
		.out = -1,
		.err = STDERR_FILENO,
		.fds = fds,
		.n_fds = ARRAY_SIZE(fds) - (v->saved_fd ? 0 : 1),
		.own_group = true,
		.death_signal = SIGKILL,
	};
	auto_close int pidfd = -1;
	int r = proc_spawn(&p, &pidfd, &v->pid, err);

	if (r >= 0)
		r = loop_add(v->loop, &v->end, pidfd, EPOLLIN, on_end, v, err);
	if (r >= 0)
		r = loop_timer(v->loop, &v->ping, v->ping_ms, v->ping_ms, on_ping, v, err);
	if (r < 0)
		return r;
	v->began_ms = now_ms();
	v->asked_ms = 0;
	v->pidfd = TAKE_FD(pidfd);
	v->control = TAKE_FD(ours);
	return 0;
}

/* The end of its socket tells it to end. */
static void dismiss(struct volserver *v)
{
	loop_remove(v->loop, &v->again);
	loop_remove(v->loop, &v->end);
	loop_remove(v->loop, &v->ping);
	cleanup_close_p(&v->control);
	v->control = -1;
}

static void forget(struct volserver *v)
{
	cleanup_close_p(&v->pidfd);
	v->pidfd = -1;
	v->pid = 0;
}

static void reap(struct volserver *v, uint64_t deadline_ms)
{
	int status = 0;

	if (v->pidfd >= 0 && proc_wait(v->pidfd, deadline_ms, &status, NULL) >= 0)
		forget(v);
}

/* Their processes are over, or are about to be; nobody waits longer for those that cannot end. */
static void bury(struct volserver *const *v, size_t n, uint64_t deadline_ms)
{
	for (size_t i = 0; i < n; i++)
		dismiss(v[i]);
	for (size_t i = 0; i < n; i++)
		reap(v[i], deadline_ms);
	for (size_t i = 0; i < n; i++)
		if (v[i]->pidfd >= 0)
			(void)proc_signal(v[i]->pidfd, SIGKILL);
	/* Those that hang in their disk take the signal when that lets go. */
	deadline_ms = deadline_in(KILL_MS);
	for (size_t i = 0; i < n; i++) {
		reap(v[i], deadline_ms);
		forget(v[i]);
	}
}

static void start_again(struct volserver *v, uint64_t ms);

static void on_again(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct volserver *v = src->data;

	(void)loop;
	(void)events;
	if (spawn(v, NULL) < 0)
		start_again(v, AGAIN_SLOW_MS);
}

static void start_again(struct volserver *v, uint64_t ms)
{
	(void)loop_timer(v->loop, &v->again, ms, 0, on_again, v, NULL);
}

/* What the guest had open is in its own records: the next process serves the same mount. */
static void on_end(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct volserver *v = src->data;
	bool young = now_ms() - v->began_ms < SHORT_LIFE_MS;

	(void)loop;
	(void)events;
	bury(&v, 1, now_ms());
	start_again(v, young ? AGAIN_SLOW_MS : AGAIN_MS);
}

/* What lies in the socket is heard first, and only a ping can be left without an answer: a
 * supervisor that was busy itself must not take that for the server's silence. What starts it again
 * is its end. */
static void on_ping(struct loop *loop, struct loop_source *src, uint32_t events)
{
	static const char order = FP_ORDER_PING;
	struct volserver *v = src->data;
	char text[FP_SENTENCE_MAX];

	(void)loop;
	(void)events;
	while (hear(v, text, now_ms()))
		v->asked_ms = 0;
	if (v->asked_ms && now_ms() - v->asked_ms >= v->silence_ms)
		(void)proc_signal(v->pidfd, SIGKILL);
	/* One that finds no room asks for the same: somebody to read. */
	(void)send(v->control, &order, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (!v->asked_ms)
		v->asked_ms = now_ms();
}

static int await_ready(const struct volserver *v, struct err *err)
{
	char text[FP_SENTENCE_MAX];
	char word = hear(v, text, deadline_in(START_MS));

	if (word == FP_SAYS_READY)
		return 0;
	return err_set(err, ERR_HOST, -EIO, "%s",
		       word == FP_SAYS_FAILED ? text + 1 : "its server did not begin");
}

int volserver_start(struct loop *loop, const struct volserver_spec *spec, struct volserver **ret,
		    struct err *err)
{
	struct volserver *v = xcalloc(1, sizeof(*v));
	int r = 0;

	*v = (struct volserver){.loop = loop,
				.host = spec->host,
				.mount = spec->mount,
				.tag = xstrdup(spec->tag),
				.state_fd = spec->state_fd,
				.rekey = spec->rekey,
				.saved_fd = spec->saved_fd,
				.ping_ms = spec->ping_ms ? spec->ping_ms : PING_MS,
				.silence_ms = spec->silence_ms ? spec->silence_ms : SILENCE_MS,
				.pidfd = -1,
				.control = -1};
	r = spawn(v, err);
	if (r >= 0)
		r = await_ready(v, err);
	if (r < 0) {
		v->state_fd = -1;
		volserver_stop(v);
		return err_wrap(err, "volume '%s'", spec->mount->name);
	}
	v->rekey = false;
	v->saved_fd = 0;
	*ret = v;
	return 0;
}

void volserver_stop_all(struct volserver *const *v, size_t n)
{
	bury(v, n, deadline_in(STOP_MS));
	for (size_t i = 0; i < n; i++) {
		cleanup_close_p(&v[i]->state_fd);
		free(v[i]->tag);
		free(v[i]);
	}
}

void volserver_stop(struct volserver *v)
{
	if (v)
		volserver_stop_all(&v, 1);
}

void volserver_give(struct volserver *v, int fd)
{
	static const char order = FP_ORDER_STREAM;
	auto_close int stream = fd;

	if (v->control >= 0 && io_set_nonblock(stream, false) == 0)
		(void)io_send_fds(v->control, &order, 1, &stream, 1, NULL);
}

/* The word that ends an order, or 0: the process is gone, and so is what was to be done; its socket
 * ends a little before it. What came before the word answered pings. */
static int await_word(struct volserver *v, char want, char text[FP_SENTENCE_MAX],
		      uint64_t deadline_ms, struct err *err)
{
	char word = 0;

	while ((word = hear(v, text, deadline_ms)) && word != want && word != FP_SAYS_FAILED)
		;
	v->asked_ms = 0;
	if (word || io_wait(v->pidfd, POLLIN, deadline_ms) > 0)
		return word;
	return err_set(err, ERR_HOST, -ETIMEDOUT, "volume '%s': its server does not answer",
		       v->mount->name);
}

int volserver_drain(struct volserver *v, struct err *err)
{
	static const char order = FP_ORDER_DRAIN;
	uint64_t deadline_ms = deadline_in(FP_DRAIN_MS * 2);
	char text[FP_SENTENCE_MAX];

	/* Dead: nothing is under way. */
	if (v->control < 0 || io_wait(v->control, POLLOUT, deadline_ms) < 0 ||
	    send(v->control, &order, 1, MSG_NOSIGNAL) < 0)
		return 0;
	int r = await_word(v, FP_SAYS_DRAINED, text, deadline_ms, err);
	return r < 0 ? r : 0;
}

int volserver_save(struct volserver *v, int fd, struct err *err)
{
	static const char order = FP_ORDER_SAVE;
	char text[FP_SENTENCE_MAX];

	if (v->control < 0 || io_send_fds(v->control, &order, 1, &fd, 1, NULL) < 0)
		return 0;
	int r = await_word(v, FP_SAYS_SAVED, text, deadline_in(SAVE_MS), err);
	if (r == FP_SAYS_FAILED)
		return err_set(err, ERR_HOST, -EIO, "volume '%s': %s", v->mount->name, text + 1);
	return r < 0 ? r : 0;
}

const struct volume_mount *volserver_mount(const struct volserver *v)
{
	return v->mount;
}

int volserver_state(const struct volserver *v)
{
	return v->state_fd;
}

pid_t volserver_pid(const struct volserver *v)
{
	return v->pid;
}
