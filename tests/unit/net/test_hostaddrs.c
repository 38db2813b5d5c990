#include "hostaddrs.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "run.h"

static void sh(const char *script)
{
	auto_run struct run_result r = RUN_INIT;

	run_argv(&r, (const char *const[]){"sh", "-c", script, NULL}, NULL, NULL, 20000);
	cr_assert_eq(r.status, 0, "%s: %s", script, buf_str(&r.err));
}

static bool has(struct hostaddrs *h, uint32_t addr, size_t want_n)
{
	auto_free uint32_t *v = NULL;
	struct err err = {0};
	bool found = false;
	size_t n = 0;

	cr_assert_eq(hostaddrs_list(h, &v, &n, &err), 0, "%s", err.msg);
	cr_expect_eq(n, want_n, "%zu addresses", n);
	for (size_t i = 0; i < n; i++)
		found = found || v[i] == addr;
	return found;
}

Test(hostaddrs, addresses_are_seen_as_they_come_and_go)
{
	struct hostaddrs *h = NULL;
	struct err err = {0};

	if (geteuid() != 0)
		cr_skip_test("a network namespace needs root");
	cr_assert_eq(unshare(CLONE_NEWNET), 0);
	cr_assert_eq(hostaddrs_open(&h, &err), 0, "%s", err.msg);
	cr_expect_not(has(h, 0x7f000001u, 0));
	sh("ip link set lo up && ip addr add 192.0.2.7/24 dev lo");
	cr_expect_eq(io_wait(hostaddrs_fd(h), POLLIN, deadline_in(5000)), 1);
	cr_expect(has(h, 0xc0000207u, 2));
	cr_expect_eq(io_wait(hostaddrs_fd(h), POLLIN, deadline_in(1)), 0, "it was heard");
	sh("ip addr del 192.0.2.7/24 dev lo");
	cr_expect_eq(io_wait(hostaddrs_fd(h), POLLIN, deadline_in(5000)), 1);
	cr_expect_not(has(h, 0xc0000207u, 1));
	hostaddrs_close(h);
}

/* More news than the socket holds: what is there now is all that matters. */
Test(hostaddrs, a_storm_of_changes_ends_in_what_there_is)
{
	struct hostaddrs *h = NULL;
	struct err err = {0};

	if (geteuid() != 0)
		cr_skip_test("a network namespace needs root");
	cr_assert_eq(unshare(CLONE_NEWNET), 0);
	cr_assert_eq(hostaddrs_open(&h, &err), 0, "%s", err.msg);
	sh("{ echo link set lo up; for i in $(seq 1 9) ; do for j in $(seq 1 250); do "
	   "echo addr add 192.0.$i.$j/32 dev lo; done; done; } | ip -batch -");
	cr_expect(has(h, 0xc00009fau, 1 + 9 * 250));
	hostaddrs_close(h);
}
