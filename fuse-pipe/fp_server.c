#include "fp_server.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "fp_restore.h"
#include "fp_saved.h"
#include "fp_stream.h"
#include "io.h"
#include "log.h"
#include "xalloc.h"

#define WORKERS 64
#define WORKERS_MAX 256
#define HELLO_MS 10000
#define DRAIN_MS 5000
#define WATCH_MS 10
#define OLD_MS 800 /* less than a guest waits for READY */
#define NOT_GREETED UINT16_MAX

struct fp_server {
	struct fp_volume *vol;
	struct fp_pool *pool;
	struct fp_server_options opt;
	int root_fd, proc_fd;
	int saved_fd; /* until the mount it belongs to is back; -1: none */
	uint64_t epoch;
	pthread_t watchdog;
	bool watching;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct fp_stream *streams; /* connected or still in use */
	size_t n_streams;
	bool known; /* there is a session, and it has been told READY once */
	bool stopping;
	unsigned int saving; /* the tables stay as they are */
	uint8_t session[FP_SESSION_SIZE];
};

/* Under the lock. */
static void wait_changed(struct fp_server *s, long ms)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += ms * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	(void)pthread_cond_timedwait(&s->changed, &s->lock, &until);
}

/* --- streams --- */

static void on_idle(struct fp_stream *st)
{
	struct fp_server *s = st->server;

	(void)pthread_mutex_lock(&s->lock);
	for (struct fp_stream **at = &s->streams; *at; at = &(*at)->next) {
		if (*at != st)
			continue;
		*at = st->next;
		break;
	}
	s->n_streams--;
	(void)pthread_cond_broadcast(&s->changed);
	(void)pthread_mutex_unlock(&s->lock);
	fp_stream_free(st);
}

static int send_hello(struct fp_server *s, int fd, const struct fp_hello *got, int status,
		      bool fresh)
{
	uint8_t wire[FP_HELLO_SIZE];
	struct fp_hello h = {
		.version = FP_VERSION,
		.flags = (uint16_t)((fresh ? FP_H_FRESH : 0) |
				    (s->opt.volume.state_fd >= 0 ? FP_H_RECORDS : 0)),
		.stream = got->stream,
		.n_streams = got->n_streams ? got->n_streams : 1,
		.status = status,
		.epoch = s->epoch,
	};

	memcpy(h.session, got->session, FP_SESSION_SIZE);
	fp_hello_put(&h, wire);
	return io_write_full(fd, wire, sizeof(wire), deadline_in(HELLO_MS), NULL);
}

/* A stream that got past its hello and is not cut; the others touch no table. */
static struct fp_stream *other_stream(const struct fp_server *s, const struct fp_stream *me)
{
	struct fp_stream *st = s->streams;

	while (st && (st == me || st->index == NOT_GREETED))
		st = st->next;
	return st;
}

/* Under the lock. */
static void end_waits(const struct fp_server *s)
{
	if (s->vol && s->vol->locks)
		fp_locks_cancel(s->vol->locks, NULL);
}

static int refuse_stopping(struct err *err)
{
	return err_set(err, ERR_BUSY, -ESHUTDOWN, "the server is stopping");
}

/* Another session begins when the last one's streams are cut and nothing of it runs any more. */
static int begin_session(struct fp_server *s, const struct fp_stream *me,
			 const struct fp_hello *hello, struct err *err)
{
	const uint64_t deadline = deadline_in(DRAIN_MS);
	const struct fp_stream *other;

	while ((other = other_stream(s, me)) || s->saving) {
		if ((other && !atomic_load(&other->broken)) || now_ms() >= deadline)
			return err_set(err, ERR_BUSY, -EBUSY, "the directory is mounted already");
		end_waits(s);
		wait_changed(s, WATCH_MS);
		if (s->stopping)
			return refuse_stopping(err);
	}
	/* Also when that fails: then there are no tables. */
	s->known = false;
	int r = fp_volume_reset(s->vol, fp_stream_lock_done, err);
	if (r < 0)
		return r;
	memcpy(s->session, hello->session, FP_SESSION_SIZE);
	if (!fp_volume_begin(s->vol, hello->session))
		cleanup_close_p(&s->saved_fd);
	return 1;
}

/* Under the lock. 0: a stream of the session there is; 1: of one that begins; or why not. */
static int admit(struct fp_server *s, struct fp_stream *me, const struct fp_hello *hello,
		 struct err *err)
{
	bool same = s->known && memcmp(s->session, hello->session, FP_SESSION_SIZE) == 0;

	if (s->stopping)
		return refuse_stopping(err);
	if (!same && hello->stream != 0)
		return err_set(err, ERR_GUEST, -EAGAIN, "stream 0 comes first");
	if (!same)
		return begin_session(s, me, hello, err);
	/* The guest has given up the old one of this number, whatever we think of it. */
	for (struct fp_stream *st = s->streams; st; st = st->next)
		if (st != me && st->index == hello->stream)
			fp_stream_cut(st);
	return 0;
}

static int read_hello(struct fp_stream *st, struct fp_hello *hello, struct err *err)
{
	uint8_t wire[FP_HELLO_SIZE];
	int r = io_read_full(st->fd, wire, sizeof(wire), deadline_in(HELLO_MS), err);

	*hello = (struct fp_hello){.n_streams = 1};
	return r < 0 ? r : fp_hello_get(wire, hello, err);
}

/* --- what an earlier process has left --- */

static void take_saved(struct fp_server *s)
{
	struct err err = {0};

	if (s->saved_fd >= 0 && fp_saved_take(s->vol, s->saved_fd, &err) < 0)
		log_warn("%s", err.msg);
	cleanup_close_p(&s->saved_fd);
}

static int say_ready(const struct fp_stream *st, struct err *err)
{
	uint8_t head[FP_HEAD_SIZE];

	fp_head_put(head, FP_F_BARE | FP_F_READY, 0, 0, 0);
	return io_write_full(st->fd, head, sizeof(head), deadline_in(HELLO_MS), err);
}

/* What another stream of this number began ends before the guest asks for it again, or has had its
 * time. */
static void await_old(struct fp_server *s, const struct fp_stream *me)
{
	const uint64_t deadline = deadline_in(OLD_MS);
	bool found = true;

	(void)pthread_mutex_lock(&s->lock);
	while (found && !atomic_load(&me->broken) && now_ms() < deadline) {
		found = false;
		for (const struct fp_stream *st = s->streams; st; st = st->next)
			found |= st != me && st->index == me->index;
		if (found)
			wait_changed(s, WATCH_MS);
	}
	(void)pthread_mutex_unlock(&s->lock);
}

static int greet(struct fp_server *s, struct fp_stream *st, struct err *err)
{
	struct fp_hello hello;
	int r = read_hello(st, &hello, err), fresh = 0;

	if (r == 0) {
		(void)pthread_mutex_lock(&s->lock);
		fresh = r = admit(s, st, &hello, err);
		if (r >= 0)
			st->index = hello.stream;
		(void)pthread_mutex_unlock(&s->lock);
	}
	if (r < 0) {
		(void)send_hello(s, st->fd, &hello, r, false);
		return r;
	}
	st->records = s->opt.volume.state_fd >= 0 && (hello.flags & FP_H_RECORDS);
	r = send_hello(s, st->fd, &hello, 0, fresh);
	if (r == 0 && fresh)
		r = fp_restore_records(st, err);
	if (r < 0)
		return r;
	if (fresh)
		take_saved(s);
	(void)pthread_mutex_lock(&s->lock);
	s->known = true;
	(void)pthread_mutex_unlock(&s->lock);
	await_old(s, st);
	fp_inodes_ready(st->vol->inodes);
	return say_ready(st, err);
}

static void *serve_stream(void *data)
{
	struct fp_stream *st = data;
	struct err err = {0};
	int r = fp_creds_init(st->vol->proc_fd, &err);

	if (r == 0)
		r = greet(st->server, st, &err);
	if (r == 0)
		r = fp_stream_serve(st, &err);
	if (r < 0)
		log_debug("fuse-pipe stream %u: %s", st->index, err.msg);
	fp_stream_unref(st);
	return NULL;
}

int fp_server_add(struct fp_server *s, int fd, struct err *err)
{
	struct fp_stream *st = fp_stream_new(fd);
	pthread_attr_t attr;
	pthread_t thread;

	st->server = s;
	st->vol = s->vol;
	st->pool = s->pool;
	st->spin_us = s->opt.spin_us;
	st->index = NOT_GREETED;
	st->on_idle = on_idle;
	(void)pthread_mutex_lock(&s->lock);
	st->next = s->streams;
	s->streams = st;
	s->n_streams++;
	(void)pthread_cond_broadcast(&s->changed);
	bool full = s->n_streams > 4 * FP_STREAMS_MAX || s->stopping;
	(void)pthread_mutex_unlock(&s->lock);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int r = full ? EMFILE : pthread_create(&thread, &attr, serve_stream, st);
	(void)pthread_attr_destroy(&attr);
	if (r == 0)
		return 0;
	fp_stream_unref(st);
	return err_sys_code(err, -r, "cannot serve another stream");
}

/* --- the server --- */

static void begin_worker(void *data)
{
	const struct fp_server *s = data;

	/* Not s->proc_fd: the server owns it only when everything has started. */
	fp_creds_must_init(s->vol->proc_fd);
}

static void run_job(void *data, struct fp_job *job, void *scratch)
{
	(void)data;
	fp_stream_run_job(job, scratch);
}

static const struct fp_pool_ops pool_ops = {begin_worker, run_job, FP_SCRATCH_SIZE};

/* Under the lock. A stream whose reference is left to us, or NULL. */
static struct fp_stream *watch_all(const struct fp_server *s)
{
	const uint64_t now = now_ms();
	struct fp_stream *st = s->streams;

	while (st && fp_stream_watch(st, now))
		st = st->next;
	return st;
}

static void *watch(void *data)
{
	struct fp_server *s = data;

	(void)pthread_mutex_lock(&s->lock);
	while (!s->stopping) {
		struct fp_stream *ended = watch_all(s);

		if (ended) {
			/* The last reference takes the lock. */
			(void)pthread_mutex_unlock(&s->lock);
			fp_stream_abandon(ended);
			(void)pthread_mutex_lock(&s->lock);
			continue;
		}
		if (s->streams)
			wait_changed(s, WATCH_MS);
		else
			(void)pthread_cond_wait(&s->changed, &s->lock);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void init_sync(struct fp_server *s)
{
	pthread_condattr_t attr;

	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&s->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
}

static void stop_server_p(struct fp_server **s)
{
	if (*s)
		fp_server_stop(*s);
	*s = NULL;
}

int fp_server_start(int root_fd, int proc_fd, const struct fp_server_options *opt,
		    struct fp_server **ret, struct err *err)
{
	__attribute__((cleanup(stop_server_p))) struct fp_server *s = xcalloc(1, sizeof(*s));
	unsigned int workers = opt->workers ? opt->workers : WORKERS;
	int r;

	init_sync(s);
	s->opt = *opt;
	s->root_fd = s->proc_fd = s->saved_fd = -1;
	if (getrandom(&s->epoch, sizeof(s->epoch), 0) != sizeof(s->epoch))
		return err_sys(err, "cannot make a number");
	r = fp_volume_open(root_fd, proc_fd, &opt->volume, fp_stream_lock_done, &s->vol, err);
	if (r < 0)
		return r;
	r = fp_pool_new(workers < WORKERS_MAX ? workers : WORKERS_MAX, &pool_ops, s, &s->pool, err);
	if (r < 0)
		return r;
	r = pthread_create(&s->watchdog, NULL, watch, s);
	if (r != 0)
		return err_sys_code(err, -r, "cannot start a thread");
	s->watching = true;
	s->root_fd = root_fd;
	s->proc_fd = proc_fd;
	s->saved_fd = opt->saved_fd > 0 ? opt->saved_fd : -1;
	*ret = TAKE_PTR(s);
	return 0;
}

/* Waiting locks hold streams: they are ended with the locks' thread. */
static void cut_streams(struct fp_server *s)
{
	(void)pthread_mutex_lock(&s->lock);
	s->stopping = true;
	for (struct fp_stream *st = s->streams; st; st = st->next)
		(void)shutdown(st->fd, SHUT_RDWR);
	(void)pthread_cond_broadcast(&s->changed);
	(void)pthread_mutex_unlock(&s->lock);
}

/* Under the lock. The sum of what the streams received, or 0 while one of them works. */
static uint64_t quiet_mark(struct fp_server *s)
{
	uint64_t sum = 1;

	for (struct fp_stream *st = s->streams; st; st = st->next) {
		uint64_t received = 0;

		if (!fp_stream_is_quiet(st, &received))
			return 0;
		sum += received;
	}
	return sum;
}

int fp_server_drain(struct fp_server *s, uint64_t deadline_ms)
{
	uint64_t mark = 0, last = 0;

	(void)pthread_mutex_lock(&s->lock);
	do {
		last = mark;
		mark = quiet_mark(s);
		if (mark == 0 || mark != last)
			wait_changed(s, WATCH_MS);
	} while ((mark == 0 || mark != last) && now_ms() < deadline_ms);
	(void)pthread_mutex_unlock(&s->lock);
	return mark && mark == last ? 0 : -ETIMEDOUT;
}

int fp_server_save(struct fp_server *s, int fd, struct err *err)
{
	(void)pthread_mutex_lock(&s->lock);
	s->saving++;
	(void)pthread_mutex_unlock(&s->lock);
	int r = s->vol->locks ? fp_saved_write(s->vol, fd, err) : 0;
	(void)pthread_mutex_lock(&s->lock);
	s->saving--;
	(void)pthread_cond_broadcast(&s->changed);
	(void)pthread_mutex_unlock(&s->lock);
	return r;
}

void fp_server_stop(struct fp_server *s)
{
	cut_streams(s);
	if (s->watching)
		(void)pthread_join(s->watchdog, NULL);
	(void)pthread_mutex_lock(&s->lock);
	end_waits(s);
	while (s->streams)
		(void)pthread_cond_wait(&s->changed, &s->lock);
	(void)pthread_mutex_unlock(&s->lock);
	fp_pool_free(s->pool);
	fp_volume_close(s->vol);
	cleanup_close_p(&s->root_fd);
	cleanup_close_p(&s->proc_fd);
	cleanup_close_p(&s->saved_fd);
	(void)pthread_cond_destroy(&s->changed);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

struct fp_server_counts fp_server_count(struct fp_server *s)
{
	struct fp_server_counts c = {0};

	(void)pthread_mutex_lock(&s->lock);
	c.streams = s->n_streams;
	if (s->vol->locks) {
		struct fp_inode_counts in = fp_inodes_count(s->vol->inodes);

		c.nodes = in.known;
		c.hot = in.hot;
		c.files = fp_files_count(s->vol->files);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return c;
}
