/* One VM's events without threads or sockets around them. */
#include "pager.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "rig.h"
#include "xalloc.h"

struct desk {
	struct guest g;
	struct pager_source source;
	struct pager pager;
};

#define FILLED 7 /* every byte of the snapshot */

static void desk_start_with(struct desk *d, size_t pages)
{
	struct regions regions = {.n = 1, .page_size = REGIONS_PAGE};

	guest_init(&d->g);
	guest_map(&d->g, pages, UFFD_FEATURE_EVENT_REMOVE);
	d->source.size = pages * PAGE;
	void *map = mmap(NULL, d->source.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	cr_assert_neq(map, MAP_FAILED);
	memset(map, FILLED, d->source.size);
	d->source.map = map;
	zeromap_init(&d->source.zero, d->source.size);
	regions.v[0] = (struct region){(uintptr_t)d->g.mem, d->g.len, 0};
	pager_init(&d->pager, &d->source, &regions, fcntl(d->g.uffd, F_DUPFD_CLOEXEC, 0));
}

static void desk_start(struct desk *d)
{
	desk_start_with(d, 8);
}

static void desk_end(struct desk *d)
{
	pager_free(&d->pager);
	(void)munmap((void *)(uintptr_t)d->source.map, d->source.size);
	zeromap_free(&d->source.zero);
	guest_free(&d->g);
}

Test(pager, a_descriptor_made_blocking_does_not_block_the_server)
{
	struct desk d = {0};
	struct err err = {0};

	desk_start(&d);
	cr_assert_eq(io_set_nonblock(d.g.uffd, false), 0);
	cr_expect_eq(pager_serve(&d.pager, &err), 0);
	cr_expect_not(d.pager.plain_read, "this kernel has RWF_NOWAIT for userfaultfd");
	desk_end(&d);
}

struct serving {
	struct pager *pager;
	atomic_int result;
};

static void *serve_once(void *data)
{
	struct serving *s = data;

	atomic_store(&s->result, pager_serve(s->pager, NULL));
	return NULL;
}

static void ignore(int sig)
{
	(void)sig;
}

Test(pager, where_it_does_block_a_signal_ends_the_read)
{
	const struct sigaction act = {.sa_handler = ignore};
	struct desk d = {0};
	pthread_t thread;

	desk_start(&d);
	d.pager.plain_read = true;
	struct serving s = {&d.pager, 1};
	cr_assert_eq(sigaction(SIGUSR1, &act, NULL), 0);
	cr_assert_eq(io_set_nonblock(d.g.uffd, false), 0);
	cr_assert_eq(pthread_create(&thread, NULL, serve_once, &s), 0);
	/* Until one comes while it reads. */
	while (atomic_load(&s.result) == 1) {
		(void)pthread_kill(thread, SIGUSR1);
		(void)poll(NULL, 0, 1);
	}
	cr_assert_eq(pthread_join(thread, NULL), 0);
	cr_expect_eq(atomic_load(&s.result), -EINTR);
	desk_end(&d);
}

/* --- removals, told apart from faults --- */

struct touch {
	const unsigned char *byte;
	atomic_int seen; /* -1 until it is */
	pthread_t thread;
	atomic_int tid; /* once nothing is left to do but to touch */
};

static void *touch(void *data)
{
	struct touch *t = data;

	atomic_store(&t->tid, gettid());
	atomic_store(&t->seen, *(const volatile unsigned char *)t->byte);
	return NULL;
}

static bool sleeps(int tid)
{
	auto_free char *path = xasprintf("/proc/self/task/%d/stat", tid);
	auto_buf struct buf stat = BUF_INIT(4096);

	cr_assert_geq(file_read(path, stat.max - 1, &stat, NULL), 0);
	const char *state = strrchr(buf_str(&stat), ')');
	return state && strchr("SD", state[2]);
}

/* Returns when the fault waits to be read. */
static void touch_start(struct touch *t, const struct desk *d, size_t page)
{
	*t = (struct touch){.byte = d->g.mem + page * PAGE, .seen = -1};
	cr_assert_eq(pthread_create(&t->thread, NULL, touch, t), 0);
	while (atomic_load(&t->tid) == 0 || !sleeps(atomic_load(&t->tid)))
		(void)sched_yield();
}

/* Pages given do not tell: one given before it is zapped is asked for again. */
static void serve_until_seen(struct desk *d, struct touch *touches, size_t n)
{
	struct err err = {0};

	for (size_t i = 0; i < n; i++) {
		while (atomic_load(&touches[i].seen) == -1)
			cr_assert_geq(pager_serve(&d->pager, &err), 0, "%s", err.msg);
		cr_assert_eq(pthread_join(touches[i].thread, NULL), 0);
	}
}

struct removal {
	unsigned char *from;
	size_t len;
	int result;
	pthread_t thread;
};

static void *remove_range(void *data)
{
	struct removal *r = data;

	r->result = madvise(r->from, r->len, MADV_DONTNEED);
	return NULL;
}

/* Returns when the removal waits to be read: until it is, the kernel takes no page from us. */
static void removal_start(struct removal *r, const struct desk *d, size_t page, size_t n)
{
	/* From no address at all: refused, in one way before the removal and in another after. */
	struct uffdio_copy probe = {.dst = (uintptr_t)d->g.mem, .src = 1, .len = PAGE};

	*r = (struct removal){.from = d->g.mem + page * PAGE, .len = n * PAGE, .result = -1};
	cr_assert_eq(pthread_create(&r->thread, NULL, remove_range, r), 0);
	do
		cr_assert_lt(ioctl(d->g.uffd, UFFDIO_COPY, &probe), 0);
	while (errno != EAGAIN);
}

Test(pager, a_fault_queued_before_the_removal_of_its_page_is_answered_after_it, .timeout = 60)
{
	enum { REMOVED, KEPT, TOUCHES };
	struct touch touches[TOUCHES];
	struct desk d = {0};
	struct removal removal;

	desk_start(&d);
	touch_start(&touches[REMOVED], &d, 2);
	touch_start(&touches[KEPT], &d, 5);
	removal_start(&removal, &d, 2, 2);
	serve_until_seen(&d, touches, TOUCHES);
	cr_assert_eq(pthread_join(removal.thread, NULL), 0);
	cr_expect_eq(removal.result, 0);
	cr_expect_eq(touches[REMOVED].seen, 0);
	cr_expect_eq(touches[KEPT].seen, FILLED);
	cr_expect_eq(d.pager.stats.removed, 2);
	desk_end(&d);
}

/* More faults than one read takes, and the kernel hands out faults first. Were they asked again
 * before the removal is read, they would be in front of it again: for ever, on one CPU. */
Test(pager, a_removal_behind_more_faults_than_one_read_takes_is_read_before_any_is_asked_again,
     .timeout = 60)
{
	enum { FAULTS = 100 };
	struct touch touches[FAULTS];
	struct desk d = {0};
	struct removal removal;
	struct err err = {0};

	desk_start_with(&d, FAULTS);
	for (size_t i = 0; i < FAULTS; i++)
		touch_start(&touches[i], &d, i);
	removal_start(&removal, &d, 10, 20);
	cr_expect_eq(pager_serve(&d.pager, &err), FAULTS + 1, "%s", err.msg);
	cr_expect_eq(d.pager.stats.removed, 20);
	cr_expect_geq(d.pager.stats.retried, 64, "none of the first read can be answered");
	serve_until_seen(&d, touches, FAULTS);
	cr_assert_eq(pthread_join(removal.thread, NULL), 0);
	cr_expect_eq(removal.result, 0);
	for (size_t i = 0; i < FAULTS; i++)
		cr_expect_eq(touches[i].seen, i >= 10 && i < 30 ? 0 : FILLED, "page %zu", i);
	cr_expect_eq(d.pager.stats.removed, 20);
	desk_end(&d);
}
