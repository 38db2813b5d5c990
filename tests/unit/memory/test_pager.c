/* One VM's events without threads or sockets around them. */
#include "pager.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "rig.h"

struct desk {
	struct guest g;
	struct pager_source source;
	struct pager pager;
};

static void desk_start(struct desk *d)
{
	struct regions regions = {.n = 1};

	guest_init(&d->g);
	guest_map(&d->g, 8, UFFD_FEATURE_EVENT_REMOVE);
	d->source.size = 8 * PAGE;
	d->source.map = mmap(NULL, d->source.size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(d->source.map, MAP_FAILED);
	zeromap_init(&d->source.zero, d->source.size);
	regions.v[0] = (struct region){(uintptr_t)d->g.mem, d->g.len, 0};
	pager_init(&d->pager, &d->source, &regions, fcntl(d->g.uffd, F_DUPFD_CLOEXEC, 0));
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
