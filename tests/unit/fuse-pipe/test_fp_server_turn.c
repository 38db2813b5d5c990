#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "fp_server.h"
#include "hooks.h"
#include "io.h"
#include "rig.h"

/* Another mount is about to begin: when the last operation of the one before ends. */

struct turn {
	struct rig r;
	int lease;                           /* which the operation waits for */
	const pthread_mutex_t *_Atomic lock; /* the server's */
	_Atomic(pthread_t) next;             /* who serves the next mount's stream */
	atomic_uint looks;                   /* of that one, for what is left of the last */
	struct fp_server_counts meanwhile;
};

static struct turn turn;

static void note_lock(const pthread_mutex_t *mutex)
{
	if (gettid() == getpid())
		atomic_store(&turn.lock, mutex);
}

/* With each look waiting locks are ended, and their lock is let go of. */
static void note_look(const pthread_mutex_t *mutex)
{
	if (pthread_equal(pthread_self(), atomic_load(&turn.next)) &&
	    mutex != atomic_load(&turn.lock))
		(void)atomic_fetch_add(&turn.looks, 1);
}

static void say_hello(struct rig *r)
{
	struct fp_hello h = {.version = FP_VERSION, .n_streams = 1};
	uint8_t wire[FP_HELLO_SIZE];

	memcpy(h.session, r->session, FP_SESSION_SIZE);
	fp_hello_put(&h, wire);
	cr_assert_eq(io_write_full(r->fd, wire, sizeof(wire), 0, NULL), 0);
}

static struct fp_hello hear_hello(const struct rig *r)
{
	uint8_t wire[FP_HELLO_SIZE];
	struct fp_hello h;

	cr_assert_eq(io_read_full(r->fd, wire, sizeof(wire), deadline_in(60000), NULL), 0);
	cr_assert_eq(fp_hello_get(wire, &h, NULL), 0);
	return h;
}

/* A truncation waits for a lease of ours, and its stream is gone. */
static void begin_last(struct rig *r)
{
	struct fuse_setattr_in cut = {.valid = FATTR_SIZE};

	(void)signal(SIGIO, SIG_IGN);
	rig_start(r, NULL);
	rig_write_file(r, "f", "text");
	uint64_t f = rig_lookup(r, 1, "f");
	turn.lease = open(rig_path(r, "f"), O_RDONLY | O_CLOEXEC);
	cr_assert_eq(fcntl(turn.lease, F_SETLEASE, F_RDLCK), 0);
	(void)rig_send(r, FUSE_SETATTR, f, &cut, sizeof(cut), NULL, NULL);
	while (fcntl(turn.lease, F_GETLEASE) == F_RDLCK)
		(void)sched_yield();
	cleanup_close_p(&r->fd);
}

/* Until the stream of the next mount waits for the last one's. */
static void begin_turn(void)
{
	struct rig *r = &turn.r;
	struct pollfd p = {.events = POLLIN};

	begin_last(r);
	atomic_store(&hooks_unlocked, note_lock);
	(void)fp_server_count(r->server); /* lets go of its own at the end */
	atomic_store(&hooks_unlocked, note_look);
	r->session[0] ^= 1;
	while (atomic_load(&turn.looks) == 0) {
		if (r->fd >= 0 && poll(&p, 1, 0) == 0)
			continue;
		/* -EBUSY: it is not known yet that the last one's is gone. */
		cleanup_close_p(&r->fd);
		p.fd = r->fd = rig_connect(r);
		atomic_store(&turn.next, atomic_load(&hooks_thread));
		say_hello(r);
	}
}

static void end_last(size_t streams)
{
	cr_assert_eq(fcntl(turn.lease, F_SETLEASE, F_UNLCK), 0);
	while (fp_server_count(turn.r.server).streams > streams)
		(void)sched_yield();
}

static void end_turn(void)
{
	atomic_store(&hooks_unlocked, NULL);
	cleanup_close_p(&turn.lease);
	rig_stop(&turn.r);
}

static void end_last_while_it_stops(const pthread_mutex_t *mutex)
{
	(void)mutex;
	if (gettid() != getpid())
		return;
	atomic_store(&hooks_unlocked, NULL);
	end_last(0);
	turn.meanwhile = fp_server_count(turn.r.server);
}

Test(fp_server, one_that_stops_begins_no_other_mount)
{
	begin_turn();
	atomic_store(&hooks_unlocked, end_last_while_it_stops);
	fp_server_stop(turn.r.server);
	turn.r.server = NULL;
	cr_expect_eq(turn.meanwhile.nodes, 2, "as the last mount left them");
	end_turn();
}

static void end_last_while_it_saves(const pthread_mutex_t *mutex)
{
	note_look(mutex);
	if (gettid() != getpid() || mutex == atomic_load(&turn.lock))
		return;
	atomic_store(&hooks_unlocked, note_look);
	end_last(1);
	const unsigned int looks = atomic_load(&turn.looks);
	do
		turn.meanwhile = fp_server_count(turn.r.server);
	while (atomic_load(&turn.looks) == looks && turn.meanwhile.nodes == 2);
}

Test(fp_server, no_other_mount_begins_while_one_is_saved)
{
	auto_close int fd = memfd_create("saved", MFD_CLOEXEC);
	struct err err = {0};

	begin_turn();
	atomic_store(&hooks_unlocked, end_last_while_it_saves);
	cr_expect_eq(fp_server_save(turn.r.server, fd, &err), 0, "%s", err.msg);
	cr_expect_eq(turn.meanwhile.nodes, 2, "as the last mount left them");
	struct fp_hello h = hear_hello(&turn.r);
	cr_expect(h.status == 0 && (h.flags & FP_H_FRESH), "then it does");
	end_turn();
}

/* There is no thread for its locks. */
Test(fp_server, a_mount_that_cannot_begin_leaves_none)
{
	auto_rig struct rig r = {0};
	auto_close int saved = memfd_create("saved", MFD_CLOEXEC);
	struct err err = {0};

	rig_start(&r, NULL);
	cleanup_close_p(&r.fd);
	while (fp_server_count(r.server).streams > 0)
		(void)sched_yield();
	r.session[0] ^= 1;
	r.fd = rig_connect(&r);
	atomic_store(&hooks_no_threads, true);
	cr_expect_eq(rig_hello(&r, r.fd, 0, 1).status, -EAGAIN);
	atomic_store(&hooks_no_threads, false);
	cleanup_close_p(&r.fd);
	r.session[0] ^= 1;
	r.fd = rig_connect(&r);
	cr_expect_eq(rig_hello(&r, r.fd, 1, 2).status, -EAGAIN, "stream 0 comes first");
	cr_expect_eq(fp_server_save(r.server, saved, &err), 0, "there is nothing");
	cleanup_close_p(&r.fd);
	rig_restart(&r);
	r.fd = rig_connect(&r);
	struct fp_hello h = rig_hello(&r, r.fd, 0, 1);
	cr_expect(h.status == 0 && (h.flags & FP_H_FRESH));
}
