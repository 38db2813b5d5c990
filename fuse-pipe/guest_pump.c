/* guest_pump.c - the threads: when to work, to look again, to sleep, to connect again, to end. */
#include "guest_pump.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "guest_queue.h"
#include "io.h"
#include "xalloc.h"

#define RETRY_MS 20 /* between two looks for a host that is not there */
#define ATTEMPT_MS 5000
#define LATE_ATTEMPT_MS 1000 /* callers are refused between two of them */

static uint64_t now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

/* The kernel tells of an unmount by POLLERR. */
static int look(struct guest_queue *q, short fuse_events, short sock_events, int timeout_ms)
{
	struct pollfd p[] = {
		{.fd = q->pump->stop_fd, .events = POLLIN},
		{.fd = q->fuse_fd, .events = fuse_events},
		{.fd = q->sock, .events = sock_events},
	};

	if (poll(p, ARRAY_SIZE(p), timeout_ms) < 0 && errno != EINTR)
		return -errno;
	if (p[0].revents)
		return -ECANCELED;
	return p[1].revents & POLLERR ? -ENODEV : 0;
}

static int sleep_for_work(struct guest_queue *q)
{
	return look(q, guest_queue_takes_requests(q) ? POLLIN : 0,
		    guest_queue_has_output(q) ? POLLIN | POLLOUT : POLLIN, -1);
}

/* The next message mostly follows at once, and waking an idle CPU costs more than looking for it.
 * Others may have the CPU meanwhile. */
static ssize_t spin(struct guest_queue *q)
{
	uint64_t end = now_us() + q->pump->config.spin_us;
	ssize_t n = 0;

	while (n == 0 && now_us() < end) {
		(void)sched_yield();
		n = guest_queue_round(q);
	}
	return n;
}

static uint64_t attempt_deadline(const struct guest_queue *q, bool late)
{
	uint64_t deadline = deadline_in(late ? LATE_ATTEMPT_MS : ATTEMPT_MS);
	uint64_t end = q->lost_at_ms + q->pump->config.reconnect_ms;

	return !late && end < deadline ? end : deadline;
}

/* Until the host is back; callers wait, and are refused when they have waited long enough. */
static int come_back(struct guest_queue *q)
{
	for (;;) {
		bool late = now_ms() >= q->lost_at_ms + q->pump->config.reconnect_ms;
		int r = late ? guest_queue_refuse(q, deadline_in(RETRY_MS)) : 0;

		if (r == 0 && guest_link_connect(q, attempt_deadline(q, late), NULL) == 0)
			return 0;
		if (r == 0)
			r = look(q, late ? POLLIN : 0, 0, RETRY_MS);
		if (r < 0)
			return r;
	}
}

static void lose(struct guest_queue *q)
{
	cleanup_close_p(&q->sock);
	guest_queue_rewind(q);
	q->lost_at_ms = now_ms();
}

/* Who has work all the time never looks at stop_fd. */
static int run(struct guest_queue *q)
{
	int r = 0;

	while (r == 0 && !atomic_load_explicit(&q->pump->stopping, memory_order_relaxed)) {
		if (q->sock < 0 && (r = come_back(q)) < 0)
			break;
		ssize_t n = guest_queue_round(q);
		if (n == 0)
			n = spin(q);
		if (n == 0)
			r = sleep_for_work(q);
		else if (n == -ENODEV)
			r = -ENODEV;
		else if (n < 0)
			lose(q);
	}
	return r;
}

static void *queue_main(void *arg)
{
	struct guest_queue *q = arg;

	if (run(q) == -ENODEV)
		(void)eventfd_write(q->pump->gone_fd, 1);
	return NULL;
}

static bool is_hopeless(int error)
{
	return error == -EPROTO || error == -EPROTONOSUPPORT || error == -EMSGSIZE;
}

static int connect_first(struct guest_pump *pump, uint64_t deadline, struct err *err)
{
	for (unsigned int i = 0; i < pump->config.queues; i++) {
		int r = guest_link_connect(&pump->queues[i], deadline, err);

		while (r < 0 && !is_hopeless(r) && now_ms() < deadline) {
			(void)look(&pump->queues[i], 0, 0, RETRY_MS);
			r = guest_link_connect(&pump->queues[i], deadline, err);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* The two libcs differ in the type of ioctl's number, which is too big for one of them. */
static int clone_queues(struct guest_pump *pump, struct err *err)
{
	uint32_t from = (uint32_t)pump->queues[0].fuse_fd;

	for (unsigned int i = 1; i < pump->config.queues; i++) {
		struct guest_queue *q = &pump->queues[i];

		q->fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
		if (q->fuse_fd < 0 || syscall(SYS_ioctl, q->fuse_fd, FUSE_DEV_IOC_CLONE, &from) < 0)
			return err_sys(err, "cannot clone /dev/fuse");
	}
	return 0;
}

/* Signals are for the process's own thread. */
static int start_threads(struct guest_pump *pump, struct err *err)
{
	sigset_t all, old;
	int r = 0;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	for (unsigned int i = 0; i < pump->config.queues && r == 0; i++) {
		struct guest_queue *q = &pump->queues[i];

		r = -pthread_create(&q->thread, NULL, queue_main, q);
		q->started = r == 0;
	}
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r < 0 ? err_sys_code(err, r, "cannot start a thread") : 0;
}

static int await_start(struct guest_pump *pump, struct err *err)
{
	struct timespec end;
	int error = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += pump->config.reconnect_ms / 1000 + 1;
	pthread_mutex_lock(&pump->lock);
	while (!pump->started && error == 0)
		error = pthread_cond_timedwait(&pump->start_cond, &pump->lock, &end);
	if (pump->started)
		error = -pump->start_error;
	pthread_mutex_unlock(&pump->lock);
	return error ? err_sys_code(err, -error, "fuse-pipe host does not take the mount") : 0;
}

static struct guest_pump *pump_new(const struct guest_pump_config *config)
{
	struct guest_pump *pump = xcalloc(1, sizeof(*pump));
	pthread_condattr_t attr;

	pump->config = *config;
	pump->stop_fd = pump->gone_fd = -1;
	for (uint16_t i = 0; i < FP_STREAMS_MAX; i++)
		pump->queues[i] =
			(struct guest_queue){.pump = pump, .number = i, .fuse_fd = -1, .sock = -1};
	(void)pthread_mutex_init(&pump->lock, NULL);
	(void)pthread_mutex_init(&pump->connect_lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&pump->start_cond, &attr);
	(void)pthread_condattr_destroy(&attr);
	return pump;
}

static int open_events(struct guest_pump *pump, struct err *err)
{
	pump->stop_fd = eventfd(0, EFD_CLOEXEC);
	pump->gone_fd = eventfd(0, EFD_CLOEXEC);
	if (pump->stop_fd < 0 || pump->gone_fd < 0)
		return err_sys(err, "cannot make an eventfd");
	if (getrandom(pump->session, sizeof(pump->session), 0) != sizeof(pump->session))
		return err_sys(err, "cannot get random bytes");
	for (unsigned int i = 0; i < pump->config.queues; i++)
		pump->queues[i].in = xmalloc(GUEST_IN_SIZE);
	return 0;
}

int guest_pump_start(const struct guest_pump_config *config, struct guest_pump **ret,
		     struct err *err)
{
	if (config->queues < 1 || config->queues > FP_STREAMS_MAX)
		return err_set(err, ERR_FAILED, -EINVAL, "%u queues, expected 1 to %d",
			       config->queues, FP_STREAMS_MAX);
	auto_guest_pump struct guest_pump *pump = pump_new(config);
	int r = open_events(pump, err);

	if (r == 0)
		r = connect_first(pump, deadline_in(config->reconnect_ms), err);
	if (r == 0)
		r = config->mount(config->data, &pump->queues[0].fuse_fd, err);
	if (r == 0)
		r = io_set_nonblock(pump->queues[0].fuse_fd, true);
	if (r == 0)
		r = clone_queues(pump, err);
	if (r == 0)
		r = start_threads(pump, err);
	if (r == 0)
		r = await_start(pump, err);
	if (r == 0)
		*ret = TAKE_PTR(pump);
	return r;
}

int guest_pump_fd(const struct guest_pump *pump)
{
	return pump->gone_fd;
}

static void queue_release(struct guest_queue *q)
{
	if (q->started)
		(void)pthread_join(q->thread, NULL);
	cleanup_close_p(&q->sock);
	cleanup_close_p(&q->fuse_fd);
	guest_reqs_free(&q->reqs);
	free(q->scratch);
	free(q->in);
}

void guest_pump_free_p(struct guest_pump **pump)
{
	struct guest_pump *p = TAKE_PTR(*pump);

	if (!p)
		return;
	atomic_store(&p->stopping, true);
	if (p->stop_fd >= 0)
		(void)eventfd_write(p->stop_fd, 1);
	for (unsigned int i = 0; i < FP_STREAMS_MAX; i++)
		queue_release(&p->queues[i]);
	guest_records_free(&p->records);
	cleanup_close_p(&p->stop_fd);
	cleanup_close_p(&p->gone_fd);
	(void)pthread_cond_destroy(&p->start_cond);
	(void)pthread_mutex_destroy(&p->connect_lock);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
}
