#include "loop.h"

#include "cleanup.h"
#include "xalloc.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define NO_SLOT UINT32_MAX

/* epoll carries (slot, generation), never a pointer: an event that outlived its source finds a slot
 * of another generation and is dropped, whether the source was freed, re-added or moved. */
struct slot {
	struct loop_source *src; /* NULL: free */
	uint32_t generation;
	uint32_t next_free;
	int owned_fd; /* timers and signals, else -1 */
	bool timer;
};

struct loop {
	int epfd;
	struct slot *slots;
	size_t n, cap;
	uint32_t first_free;
	bool stopped;
	int value;
};

void loop_free_p(struct loop **p)
{
	struct loop *loop = *p;

	*p = NULL;
	if (!loop)
		return;
	/* Sources may be gone already: only what the loop itself knows is touched. */
	for (size_t i = 0; i < loop->n; i++)
		if (loop->slots[i].src)
			cleanup_close_p(&loop->slots[i].owned_fd);
	free(loop->slots);
	cleanup_close_p(&loop->epfd);
	free(loop);
}

int loop_new(struct loop **ret, struct err *err)
{
	int epfd = epoll_create1(EPOLL_CLOEXEC);

	if (epfd < 0)
		return err_sys(err, "cannot make an event loop");
	struct loop *loop = xcalloc(1, sizeof(*loop));
	loop->epfd = epfd;
	loop->first_free = NO_SLOT;
	*ret = loop;
	return 0;
}

static uint64_t take_slot(struct loop *loop, struct loop_source *src)
{
	uint32_t i = loop->first_free;

	if (i == NO_SLOT) {
		loop->slots = xgrow(loop->slots, &loop->cap, loop->n + 1, sizeof(*loop->slots));
		i = (uint32_t)loop->n++;
		loop->slots[i].generation = 0;
	} else {
		loop->first_free = loop->slots[i].next_free;
	}
	struct slot *s = &loop->slots[i];
	s->src = src;
	s->owned_fd = -1;
	s->timer = false;
	/* Never 0, so that a registered source is never mistaken for an idle one. */
	if (++s->generation == 0)
		s->generation = 1;
	return (uint64_t)s->generation << 32 | i;
}

static void drop_slot(struct loop *loop, uint64_t generation)
{
	uint32_t i = (uint32_t)generation;

	loop->slots[i].src = NULL;
	loop->slots[i].next_free = loop->first_free;
	loop->first_free = i;
}

/* The slot a generation stands for, NULL when that registration is over. */
static struct slot *find_slot(struct loop *loop, uint64_t generation)
{
	uint32_t i = (uint32_t)generation;

	if (!generation || i >= loop->n)
		return NULL;
	struct slot *s = &loop->slots[i];
	return s->src && s->generation == generation >> 32 ? s : NULL;
}

/* Of a source that is registered. */
static struct slot *slot_of(struct loop *loop, const struct loop_source *src)
{
	return &loop->slots[(uint32_t)src->generation];
}

int loop_add(struct loop *loop, struct loop_source *src, int fd, uint32_t events, loop_fn fn,
	     void *data, struct err *err)
{
	if (src->generation)
		return err_set(err, ERR_FAILED, -EEXIST, "event source %d is in a loop already",
			       src->fd);
	uint64_t generation = take_slot(loop, src);
	struct epoll_event ev = {.events = events, .data.u64 = generation};
	if (epoll_ctl(loop->epfd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		int code = -errno;
		drop_slot(loop, generation);
		return err_sys_code(err, code, "cannot watch descriptor %d", fd);
	}
	*src = (struct loop_source){
		.fd = fd, .events = events, .fn = fn, .data = data, .generation = generation};
	return 0;
}

int loop_mod(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.u64 = src->generation};

	if (!src->generation)
		return -ENOENT;
	if (src->events == events)
		return 0;
	if (epoll_ctl(loop->epfd, EPOLL_CTL_MOD, src->fd, &ev) < 0)
		return -errno;
	src->events = events;
	return 0;
}

void loop_remove(struct loop *loop, struct loop_source *src)
{
	if (!find_slot(loop, src->generation))
		return;
	/* Fails when the caller closed the descriptor first: the slot is what counts. */
	(void)epoll_ctl(loop->epfd, EPOLL_CTL_DEL, src->fd, NULL);
	drop_slot(loop, src->generation);
	if (src->owns_fd)
		cleanup_close_p(&src->fd);
	src->generation = 0;
	src->events = 0;
	src->owns_fd = false;
}

/* Registers a descriptor made here; it is closed with the source or the loop. */
static int add_owned(struct loop *loop, struct loop_source *src, int fd, loop_fn fn, void *data,
		     struct err *err)
{
	auto_close int owned = fd;
	int r = loop_add(loop, src, owned, EPOLLIN, fn, data, err);

	if (r < 0)
		return r;
	src->owns_fd = true;
	slot_of(loop, src)->owned_fd = TAKE_FD(owned);
	return 0;
}

static struct timespec to_timespec(uint64_t ms)
{
	return (struct timespec){.tv_sec = (time_t)(ms / 1000),
				 .tv_nsec = (long)(ms % 1000) * 1000000};
}

int loop_timer(struct loop *loop, struct loop_source *src, uint64_t first_ms, uint64_t period_ms,
	       loop_fn fn, void *data, struct err *err)
{
	struct itimerspec when = {.it_value = to_timespec(first_ms),
				  .it_interval = to_timespec(period_ms)};

	/* Zero would disarm: "at once" is one nanosecond. */
	if (!first_ms)
		when.it_value.tv_nsec = 1;
	if (!find_slot(loop, src->generation)) {
		int fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
		int r = fd < 0 ? err_sys(err, "cannot make a timer")
			       : add_owned(loop, src, fd, fn, data, err);
		if (r < 0)
			return r;
		slot_of(loop, src)->timer = true;
	}
	src->fn = fn;
	src->data = data;
	if (timerfd_settime(src->fd, 0, &when, NULL) < 0)
		return err_sys(err, "cannot set a timer");
	return 0;
}

int loop_signals(struct loop *loop, struct loop_source *src, const sigset_t *set, loop_fn fn,
		 void *data, struct err *err)
{
	int fd = signalfd(-1, set, SFD_NONBLOCK | SFD_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "cannot receive signals");
	return add_owned(loop, src, fd, fn, data, err);
}

static void dispatch(struct loop *loop, const struct epoll_event *ev)
{
	struct slot *s = find_slot(loop, ev->data.u64);
	uint64_t ticks;

	if (!s)
		return;
	/* Nothing to read: an earlier handler of this batch armed the timer anew. */
	if (s->timer && read(s->src->fd, &ticks, sizeof(ticks)) < 0)
		return;
	s->src->fn(loop, s->src, ev->events);
}

int loop_once(struct loop *loop, int timeout_ms, struct err *err)
{
	struct epoll_event events[BATCH];
	int n = epoll_wait(loop->epfd, events, BATCH, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : err_sys(err, "cannot wait for events");
	/* What is left after a stop is level-triggered and comes again. */
	for (int i = 0; i < n && !loop->stopped; i++)
		dispatch(loop, &events[i]);
	return n;
}

int loop_run(struct loop *loop, struct err *err)
{
	while (!loop->stopped) {
		int r = loop_once(loop, -1, err);
		if (r < 0)
			return r;
	}
	loop->stopped = false;
	return loop->value;
}

void loop_stop(struct loop *loop, int value)
{
	loop->stopped = true;
	loop->value = value;
}
