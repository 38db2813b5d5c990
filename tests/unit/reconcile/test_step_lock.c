/* test_step_lock.c - a step's process has let go of the set's lock while it works: were apply
 * killed, the next one would get it at once (decisions 3). */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "cleanup.h"
#include "fake_ops.h"
#include "io.h"
#include "step.h"

#define WAIT_MS 30000

Test(step, a_step_at_work_does_not_hold_the_lock)
{
	auto_fake struct fake_run f;
	uint64_t deadline = deadline_in(WAIT_MS);
	struct step_child child;
	struct err err = {0};
	int held[2], status = 0;

	fake_make(&f);
	fake_add(&f, RESOURCE_KERNEL, "a.wait", NULL);
	cr_assert_eq(graph_sort(&f.g, &err), 0, "%s", err.msg);
	plan_build(&f.ctx, &f.g, f.seen, true, &f.plan);
	cr_assert_eq(pipe2(held, O_CLOEXEC), 0);
	const struct step_input in = {.ctx = &f.ctx,
				      .g = &f.g,
				      .seen = f.seen,
				      .step = &f.plan.steps[0],
				      .lock_fd = held[1]}; /* stands for the lock */
	cr_assert_eq(step_start(&in, &child, &err), 0, "%s", err.msg);
	close(held[1]);
	while (fake_count(&f, "create a.wait") == 0) {
		cr_assert_gt(deadline_left(deadline), 0);
		(void)usleep(1000);
	}
	/* It waits to be told to go on, and nobody holds the other end any more. */
	struct pollfd p = {.fd = held[0], .events = POLLIN};
	cr_expect_eq(poll(&p, 1, 0), 1, "the step holds the lock");
	cr_expect(p.revents & POLLHUP);
	fake_touch(&f, "go");
	cr_expect_eq(step_reap(&child, &status, &err), 0, "%s", err.msg);
	cr_expect_eq(status, 0);
	close(held[0]);
}
