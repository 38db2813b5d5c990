/* The serving threads inside this process, for what a whole server cannot show. */
#include "serve.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "rig.h"

#define WAIT_MS 10000

struct bench {
	struct rig rig;
	struct guest g;
	struct serve *serve;
	struct serve_vm *vm;
	int memory;
};

static void bench_start(struct bench *b, bool plain_read)
{
	struct err err = {0};
	struct regions regions = {.n = 1, .page_size = REGIONS_PAGE};

	rig_prepare(&b->rig, 64);
	b->memory = open(b->rig.memory, O_RDONLY | O_CLOEXEC);
	const struct serve_spec spec = {b->memory, 64 * PAGE, 2, plain_read};
	cr_assert_eq(serve_start(&spec, &b->serve, &err), 0, "%s", err.msg);
	guest_init(&b->g);
	guest_map(&b->g, 64, UFFD_FEATURE_EVENT_REMOVE);
	regions.v[0] = (struct region){(uintptr_t)b->g.mem, b->g.len, 0};
	int uffd = fcntl(b->g.uffd, F_DUPFD_CLOEXEC, 0);
	cr_assert_eq(serve_add(b->serve, uffd, &regions, b, &b->vm, &err), 0, "%s", err.msg);
}

static void bench_end(struct bench *b)
{
	serve_remove(b->vm);
	serve_free(b->serve);
	guest_free(&b->g);
	(void)close(b->memory);
	rig_stop(&b->rig);
}

/* The reason a VM's serving ended, ticking as a server does. */
static int await_end(struct bench *b, struct err *why)
{
	uint64_t deadline = deadline_in(WAIT_MS);

	while (io_wait(serve_note_fd(b->serve), POLLIN, deadline_in(100)) == 0) {
		cr_assert_neq(deadline_left(deadline), 0, "nothing ended");
		serve_tick(b->serve);
	}
	cr_expect_eq(serve_next_ended(b->serve, why), b);
	struct err none;
	cr_expect_null(serve_next_ended(b->serve, &none));
	return why->code;
}

Test(serve, kernels_without_a_non_waiting_read_serve_the_same_pages)
{
	struct bench b = {0};

	bench_start(&b, true);
	for (size_t page = 0; page < 64; page++)
		cr_assert(rig_page_is_right(b.g.mem + page * PAGE, page), "page %zu", page);
	cr_expect_eq(serve_stats(b.vm)->faults, 64);
	bench_end(&b);
}

Test(serve, a_userfaultfd_that_was_never_set_up_ends_at_once)
{
	struct bench b = {0};
	struct err err = {0}, why = {0};
	struct regions regions = {.n = 1, .v = {{4096, 4096, 0}}, .page_size = REGIONS_PAGE};
	auto_close int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	struct serve_vm *raw = NULL;

	cr_assert_geq(device, 0);
	bench_start(&b, false);
	int uffd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	cr_assert_geq(uffd, 0);
	cr_assert_eq(serve_add(b.serve, uffd, &regions, &b, &raw, &err), 0, "%s", err.msg);
	cr_expect_eq(await_end(&b, &why), -EPROTO);
	cr_expect_str_eq(why.msg,
			 "the VM made its userfaultfd unusable: it blocks or is not set up");
	serve_remove(raw);
	cr_expect(rig_page_is_right(b.g.mem + PAGE, 1), "the other is served");
	bench_end(&b);
}

Test(serve, threads_that_come_round_are_alive_and_silence_is_death)
{
	struct bench b = {0};

	bench_start(&b, false);
	cr_expect(serve_alive(b.serve));
	/* Idle and never poked, a thread cannot be told from one that hangs. */
	uint64_t deadline = deadline_in(WAIT_MS);
	while (serve_alive(b.serve) && deadline_left(deadline) > 0)
		(void)poll(NULL, 0, 50);
	cr_expect_not(serve_alive(b.serve));
	serve_tick(b.serve);
	while (!serve_alive(b.serve) && deadline_left(deadline) > 0)
		(void)poll(NULL, 0, 1);
	cr_expect(serve_alive(b.serve));
	bench_end(&b);
}
