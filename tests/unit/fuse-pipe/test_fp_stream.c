#include "fp_stream.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "fp_ops.h"
#include "fp_run.h"
#include "hooks.h"
#include "io.h"
#include "rig.h"
#include "run.h"
#include "xalloc.h"

/* A stream by itself: the test is its guest and its watchdog, and can hold what it waits for. */
struct world {
	char *dir;
	int root, proc, fd;
	struct fp_volume *v;
	struct fp_pool *pool;
	struct fp_stream *st;
	pthread_t thread;
	atomic_uint idle;  /* how often the last reference went */
	struct rig as_rig; /* for its way of sending and receiving */
};

static void begin_worker(void *data)
{
	const struct world *w = data;

	(void)fp_creds_init(w->proc, NULL);
}

static void run_job(void *data, struct fp_job *job, void *scratch)
{
	(void)data;
	fp_stream_run_job(job, scratch);
}

static const struct fp_pool_ops pool_ops = {begin_worker, run_job, FP_SCRATCH_SIZE};

static void on_idle(struct fp_stream *st)
{
	struct world *w = st->server;

	(void)atomic_fetch_add(&w->idle, 1);
}

static void *serve(void *data)
{
	struct world *w = data;

	(void)fp_creds_init(w->proc, NULL);
	(void)fp_stream_serve(w->st, NULL);
	fp_stream_unref(w->st);
	return NULL;
}

static void begin(struct world *w)
{
	const struct fp_options opt = {.trust = FP_FULL, .cache = FP_STRICT, .state_fd = -1};
	int pair[2];

	w->dir = tmpdir_new("stream");
	w->root = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	w->proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(fp_volume_open(w->root, w->proc, &opt, fp_stream_lock_done, &w->v, NULL), 0);
	cr_assert_eq(fp_pool_new(2, &pool_ops, w, &w->pool, NULL), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	w->fd = pair[0];
	w->st = fp_stream_new(pair[1]);
	w->st->vol = w->v;
	w->st->pool = w->pool;
	w->st->server = w;
	w->st->on_idle = on_idle;
	w->as_rig = (struct rig){.fd = w->fd, .in = malloc(FP_FRAME_MAX)};
	cr_assert_eq(pthread_create(&w->thread, NULL, serve, w), 0);
	rig_init(&w->as_rig);
}

static void end_joined(struct world *w)
{
	fp_stream_free(w->st);
	fp_pool_free(w->pool);
	fp_volume_close(w->v);
	cleanup_close_p(&w->root);
	cleanup_close_p(&w->proc);
	free(w->as_rig.in);
	tmpdir_remove(&w->dir);
}

static void end(struct world *w)
{
	cleanup_close_p(&w->fd);
	(void)pthread_join(w->thread, NULL);
	while (!atomic_load(&w->idle))
		(void)sched_yield();
	end_joined(w);
}

static bool replied(const struct world *w)
{
	struct pollfd p = {.fd = w->fd, .events = POLLIN};

	return poll(&p, 1, 10) == 1;
}

Test(fp_stream, a_blocked_operation_loses_the_stream_and_still_answers)
{
	struct world w = {0};
	struct rig *r = &w.as_rig;

	begin(&w);
	uint64_t fh = rig_open(r, 1, O_RDONLY | O_DIRECTORY);
	struct fp_file *dir = fp_file_get(w.v->files, fh, 1);
	cr_assert_not_null(dir);
	(void)pthread_mutex_lock(&dir->lock);
	/* One write: the second request is received with the first. */
	struct fuse_read_in in = {.fh = fh, .size = 4096};
	uint64_t blocked = rig_send(r, FUSE_READDIR, 1, &in, sizeof(in), NULL, NULL);
	struct fuse_getattr_in attr = {0};
	uint64_t quick = rig_send(r, FUSE_GETATTR, 1, &attr, sizeof(attr), NULL, NULL);
	while (!replied(&w))
		cr_assert(fp_stream_watch(w.st, now_ms() + 1000));
	rig_receive(r);
	cr_expect_eq(r->got_unique, quick);
	for (int i = 0; i < 5; i++)
		cr_expect_eq(RIG_CALL(r, FUSE_GETATTR, 1, &attr, NULL), 0, "and goes on");
	(void)pthread_mutex_unlock(&dir->lock);
	rig_receive(r);
	cr_expect(r->got_unique == blocked && r->error == 0 && r->out_len > 0);
	fp_file_put(w.v->files, dir);
	end(&w);
}

struct blocked {
	struct world *w;
	struct fp_file *dir;
	const struct fp_rx *rx; /* whose operation waits for dir */
};

static struct blocked standing;

/* The watchdog has just taken the stream away: the operation ends, and its thread lets go of the
 * stream, before the watchdog gets any further. */
static void end_the_operation(const pthread_mutex_t *mutex)
{
	struct fp_stream *st = standing.w->st;
	const uint32_t refs = atomic_load(&st->refs);

	if (gettid() != getpid() || mutex != &st->rx_lock || st->rx == standing.rx)
		return;
	atomic_store(&hooks_unlocked, NULL);
	(void)pthread_mutex_unlock(&standing.dir->lock);
	while (atomic_load(&st->refs) == refs)
		(void)sched_yield();
}

Test(fp_stream, lives_on_when_its_operation_ends_while_it_changes_hands)
{
	struct world w = {0};
	struct rig *r = &w.as_rig;
	struct fuse_getattr_in attr = {0};

	begin(&w);
	uint64_t fh = rig_open(r, 1, O_RDONLY | O_DIRECTORY);
	standing = (struct blocked){.w = &w, .dir = fp_file_get(w.v->files, fh, 1), .rx = w.st->rx};
	cr_assert_not_null(standing.dir);
	(void)pthread_mutex_lock(&standing.dir->lock);
	struct fuse_read_in in = {.fh = fh, .size = 4096};
	uint64_t list = rig_send(r, FUSE_READDIR, 1, &in, sizeof(in), NULL, NULL);
	atomic_store(&hooks_unlocked, end_the_operation);
	while (atomic_load(&hooks_unlocked))
		cr_assert(fp_stream_watch(w.st, now_ms() + 1000));
	cr_expect_eq(atomic_load(&w.idle), 0, "another thread goes on with it");
	rig_receive(r);
	cr_expect(r->got_unique == list && r->error == 0);
	cr_expect_eq(RIG_CALL(r, FUSE_GETATTR, 1, &attr, NULL), 0);
	fp_file_put(w.v->files, standing.dir);
	end(&w);
}

/* An operation that stands on the directory it is given, and no thread to go on with the stream. */
static struct fp_file *end_for_want_of_a_thread(struct world *w)
{
	struct rig *r = &w->as_rig;
	uint64_t fh = rig_open(r, 1, O_RDONLY | O_DIRECTORY);
	struct fp_file *dir = fp_file_get(w->v->files, fh, 1);
	struct fuse_read_in in = {.fh = fh, .size = 4096};

	cr_assert_not_null(dir);
	(void)pthread_mutex_lock(&dir->lock);
	(void)rig_send(r, FUSE_READDIR, 1, &in, sizeof(in), NULL, NULL);
	atomic_store(&hooks_no_threads, true);
	while (fp_stream_watch(w->st, now_ms() + 1000))
		(void)sched_yield();
	atomic_store(&hooks_no_threads, false);
	return dir;
}

/* The server's watchdog holds the lock that letting go of the last reference takes. */
Test(fp_stream, ends_where_there_is_no_thread_to_go_on_and_leaves_its_reference)
{
	struct world w = {0};
	char byte;

	begin(&w);
	struct fp_file *dir = end_for_want_of_a_thread(&w);
	(void)pthread_mutex_unlock(&dir->lock);
	(void)pthread_join(w.thread, NULL);
	cr_expect_eq(read(w.fd, &byte, 1), 0, "the guest asks again elsewhere");
	cr_expect_eq(atomic_load(&w.idle), 0);
	fp_stream_abandon(w.st);
	cr_expect_eq(atomic_load(&w.idle), 1);
	fp_file_put(w.v->files, dir);
	cleanup_close_p(&w.fd);
	end_joined(&w);
}

static const struct fuse_lk_in all_of_it = {.owner = 1, .lk = {.end = INT64_MAX, .type = F_WRLCK}};

/* A file that somebody else has locked; its node, and the guest's handle. */
static uint64_t make_locked(struct world *w, uint64_t *ret_fh, int *ret_holder)
{
	uint64_t f = rig_create(&w->as_rig, 1, "f", 0600, ret_fh);
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	*ret_holder = openat(w->root, "f", O_RDWR | O_CLOEXEC);
	cr_assert_eq(fcntl(*ret_holder, F_OFD_SETLK, &fl), 0);
	return f;
}

static void send_setlkw(struct world *w, uint64_t f, uint64_t fh)
{
	struct fuse_lk_in in = all_of_it;

	in.fh = fh;
	(void)rig_send(&w->as_rig, FUSE_SETLKW, f, &in, sizeof(in), NULL, NULL);
}

static bool waits_end(const struct world *w)
{
	const uint64_t deadline = deadline_in(10000);

	while (fp_locks_waiting(w->v->locks) && now_ms() < deadline)
		(void)sched_yield();
	return fp_locks_waiting(w->v->locks) == 0;
}

static const struct fp_rx *receiver(struct world *w)
{
	(void)pthread_mutex_lock(&w->st->rx_lock);
	const struct fp_rx *rx = w->st->rx;
	(void)pthread_mutex_unlock(&w->st->rx_lock);
	return rx;
}

/* Nobody else would end it while the lock is somebody's, and it holds the stream. */
Test(fp_stream, a_lock_that_is_asked_for_when_the_stream_has_ended_does_not_wait)
{
	struct world w = {0};
	auto_close int holder = -1;
	uint64_t fh;

	begin(&w);
	uint64_t f = make_locked(&w, &fh, &holder);
	const struct fp_rx *rx = receiver(&w);
	/* As after a restore: it is opened, under its lock, when it is used. */
	struct fp_file *file = fp_file_get(w.v->files, fh, f);
	cr_assert_not_null(file);
	(void)pthread_mutex_lock(&file->lock);
	(void)close(file->fd);
	file->fd = -1;
	send_setlkw(&w, f, fh);
	while (receiver(&w) == rx)
		cr_assert(fp_stream_watch(w.st, now_ms() + 1000));
	cleanup_close_p(&w.fd);
	while (receiver(&w))
		(void)sched_yield();
	(void)pthread_mutex_unlock(&file->lock);
	(void)pthread_join(w.thread, NULL);
	cr_assert(waits_end(&w));
	fp_file_put(w.v->files, file);
	while (!atomic_load(&w.idle))
		(void)sched_yield();
	end_joined(&w);
}

Test(fp_stream, a_lock_does_not_wait_for_a_stream_that_nobody_goes_on_with)
{
	struct world w = {0};
	struct rig *r = &w.as_rig;
	struct fuse_getattr_in attr = {0};
	auto_close int holder = -1;
	uint64_t fh;

	begin(&w);
	uint64_t f = make_locked(&w, &fh, &holder);
	send_setlkw(&w, f, fh);
	cr_assert_eq(RIG_CALL(r, FUSE_GETATTR, 1, &attr, NULL), 0);
	cr_assert_eq(fp_locks_waiting(w.v->locks), 1);
	struct fp_file *dir = end_for_want_of_a_thread(&w);
	fp_stream_abandon(w.st);
	cr_assert(waits_end(&w));
	(void)pthread_mutex_unlock(&dir->lock);
	fp_file_put(w.v->files, dir);
	end(&w);
}

Test(fp_stream, a_stream_that_does_nothing_is_left_alone)
{
	struct world w = {0};
	struct fuse_getattr_in attr = {0};

	begin(&w);
	for (int i = 0; i < 20; i++) {
		cr_assert(fp_stream_watch(w.st, now_ms() + 1000000));
		cr_expect_eq(RIG_CALL(&w.as_rig, FUSE_GETATTR, 1, &attr, NULL), 0);
	}
	end(&w);
}

Test(fp_stream, many_requests_in_one_write_are_answered_one_by_one)
{
	struct world w = {0};
	struct rig *r = &w.as_rig;
	struct fuse_getattr_in attr = {0};
	enum { N = 500 };

	begin(&w);
	uint64_t first = r->unique + 2;
	for (int i = 0; i < N; i++)
		(void)rig_send(r, FUSE_GETATTR, 1, &attr, sizeof(attr), NULL, NULL);
	for (uint64_t i = 0; i < N; i++) {
		rig_receive(r);
		cr_expect_eq(r->got_unique, first + 2 * i);
	}
	end(&w);
}

Test(fp_stream, what_many_threads_send_arrives_whole)
{
	struct world w = {0};
	struct rig *r = &w.as_rig;
	uint64_t fh;
	enum { N = 200 };

	begin(&w);
	uint64_t f = rig_create(r, 1, "f", 0600, &fh);
	struct fuse_fsync_in sync = {.fh = fh}; /* workers */
	struct fuse_getattr_in attr = {0};      /* the receiving thread */
	for (int i = 0; i < N; i++) {
		(void)rig_send(r, FUSE_FSYNC, f, &sync, sizeof(sync), NULL, NULL);
		(void)rig_send(r, FUSE_GETATTR, f, &attr, sizeof(attr), NULL, NULL);
	}
	for (int i = 0; i < 2 * N; i++) {
		rig_receive(r);
		cr_expect_eq(r->error, 0);
		cr_expect(r->out_len == 0 || r->out_len == sizeof(struct fuse_attr_out));
	}
	end(&w);
}

#define BEHIND (4u << 20)                        /* as much as may wait behind a writer */
#define LARGEST ((192u << 10) + FP_SCRATCH_SIZE) /* as much as a receiving thread may hold */

static void *send_much(void *data)
{
	struct world *w = data;
	auto_free char *much = xcalloc(1, BEHIND);

	fp_stream_send(w->st, much, BEHIND);
	return NULL;
}

static void await_sending(struct world *w, bool wanted)
{
	bool sending = !wanted;

	while (sending != wanted) {
		(void)pthread_mutex_lock(&w->st->lock);
		sending = w->st->sending;
		(void)pthread_mutex_unlock(&w->st->lock);
	}
}

/* Nothing of it may be cut: the guest could not find the next frame. */
Test(fp_stream, the_most_that_can_wait_behind_a_writer_arrives_whole)
{
	struct world w = {0};
	auto_free char *all = xcalloc(1, 2 * BEHIND + LARGEST);
	pthread_t writer;

	begin(&w);
	await_sending(&w, false); /* the last of INIT's reply */
	cr_assert_eq(pthread_create(&writer, NULL, send_much, &w), 0);
	await_sending(&w, true);
	fp_stream_send(w.st, all, BEHIND);
	memset(all, 'x', LARGEST);
	fp_stream_send(w.st, all, LARGEST);
	cr_assert_eq(io_read_full(w.fd, all, 2 * BEHIND + LARGEST, deadline_in(60000), NULL), 0);
	cr_expect_eq(all[2 * BEHIND + LARGEST - 1], 'x');
	(void)pthread_join(writer, NULL);
	end(&w);
}

/* The guest sends again what was not answered: what waits here must not come after that. */
static void cut_while_one_waits(struct world *w, int blocked)
{
	struct rig *r = &w->as_rig;
	struct fuse_mkdir_in in = {.mode = 0755};
	uint64_t fh = rig_open(r, 1, O_RDONLY | O_DIRECTORY);
	struct fp_file *dir = fp_file_get(w->v->files, fh, 1);
	struct fuse_read_in list = {.fh = fh, .size = 4096};

	cr_assert_not_null(dir);
	(void)pthread_mutex_lock(&dir->lock);
	for (int i = 0; i < blocked; i++)
		(void)rig_send(r, FUSE_READDIR, 1, &list, sizeof(list), NULL, NULL);
	(void)rig_send(r, FUSE_MKDIR, 1, &in, sizeof(in), "late", NULL);
	/* With a free receiving thread the last one is on its way to a worker. */
	int unread = blocked > 1;
	while (unread && ioctl(w->st->fd, FIONREAD, &unread) == 0)
		(void)sched_yield();
	fp_stream_cut(w->st);
	(void)pthread_mutex_unlock(&dir->lock);
	fp_file_put(w->v->files, dir);
	cleanup_close_p(&w->fd);
	(void)pthread_join(w->thread, NULL);
	while (!atomic_load(&w->idle))
		(void)sched_yield();
	cr_expect_lt(faccessat(w->root, "late", F_OK, 0), 0);
}

Test(fp_stream, what_was_received_is_not_begun_when_the_stream_is_cut)
{
	struct world w = {0};

	begin(&w);
	cut_while_one_waits(&w, 1);
	end_joined(&w);
}

Test(fp_stream, what_waits_for_a_worker_is_not_begun_when_the_stream_is_cut)
{
	struct world w = {0};

	begin(&w);
	atomic_store(&w.st->slow_until_ms, UINT64_MAX);
	cut_while_one_waits(&w, 2);
	end_joined(&w);
}

Test(fp_stream, what_waits_for_a_disk_leaves_the_receiving_thread_alone)
{
	const struct fuse_open_in opens = {.flags = O_WRONLY}, cuts = {.flags = O_WRONLY | O_TRUNC};
	const struct fuse_setattr_in mode = {.valid = FATTR_MODE}, size = {.valid = FATTR_SIZE};
	const struct fuse_write_in small = {.size = 4096}, large = {.size = 1 << 20};
	const struct fuse_fsync_in sync = {0};
	const struct {
		uint32_t opcode;
		const void *arg;
		bool blocks;
	} cases[] = {
		{FUSE_OPEN, &opens, false},   {FUSE_OPEN, &cuts, true},
		{FUSE_SETATTR, &mode, false}, {FUSE_SETATTR, &size, true},
		{FUSE_WRITE, &small, false},  {FUSE_WRITE, &large, true},
		{FUSE_FSYNC, &sync, true},    {FUSE_FLUSH, NULL, false},
	};
	struct fp_stream st = {.fd = -1};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct fp_request q = {.head = {.opcode = cases[i].opcode},
					     .op = fp_op_find(cases[i].opcode),
					     .arg = cases[i].arg};

		cr_expect_eq(fp_run_blocks(&st, &q, 1), cases[i].blocks, "case %zu", i);
	}
}
