/* test_firecracker_tiny.c - a real Firecracker with a guest that is small enough for a KVM that
 * emulates ring 0. */
#include <criterion/criterion.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../guest/tiny.h"
#include "cleanup.h"
#include "fc_calls.h"
#include "hugepool.h"
#include "run.h"
#include "tiny_world.h"

/* `boots` and `clones`: behind the jailer? Of one snapshot come both. */
static void live_and_die_with_the_server(bool boots, bool clones)
{
	struct tiny r;

	tiny_skip_without_uffd();
	tiny_up(&r);
	tiny_make_snapshot(&r, boots, clones);
	tiny_serve(&r);
	for (size_t i = 0; i < CLONES; i++)
		tiny_clone_vm(&r, i, "uffd");
	for (size_t i = 0; i < CLONES; i++)
		tiny_await_ticks(&r, i, 5);
	tiny_count_faults(&r, TINY_WALK_PAGES, MEMORY / 4096, 4096);
	if (clones)
		tiny_check_jails(&r);
	cr_assert_eq(kill(r.server.pid, SIGKILL), 0);
	for (size_t i = 0; i < CLONES; i++) {
		tiny_await_state(&r, i, "lost");
		auto_free char *pid = tiny_status_of(&r, i, "pid"),
			       *why = tiny_status_of(&r, i, "error");
		auto_free char *text = tiny_console_of(&r, i);

		cr_expect_str_eq(pid, "null");
		cr_expect_eq(strncmp(why, "memory server: ", 15), 0, "%s", why);
		cr_expect_not(strstr(text, TINY_BAD), "clone %zu said:\n%s", i, text);
	}
	tiny_down(&r);
}

Test(firecracker_tiny, clones_live_on_a_page_server_and_die_with_it)
{
	live_and_die_with_the_server(false, false);
}

/* Each clone's 16 MiB are 8 faults. */
static void live_in_huge_pages(bool jailed)
{
	char why[256];
	struct tiny r;

	tiny_skip_without_uffd();
	if (!hugepool_grow((CLONES + 1) * HUGE_EACH, why, sizeof(why)))
		cr_skip("%s", why);
	tiny_up(&r);
	r.config.huge_pages = true;
	tiny_make_snapshot(&r, jailed, jailed);
	tiny_serve(&r);
	for (size_t i = 0; i < CLONES; i++)
		tiny_clone_vm(&r, i, "uffd");
	for (size_t i = 0; i < CLONES; i++)
		tiny_await_ticks(&r, i, 5);
	tiny_count_faults(&r, 1, HUGE_EACH, VM_HUGE_PAGE);
	tiny_down(&r);
}

Test(firecracker_tiny, clones_live_in_huge_pages)
{
	live_in_huge_pages(false);
}

Test(firecracker_tiny, clones_behind_the_jailer_live_in_huge_pages)
{
	live_in_huge_pages(true);
}

/* The whole pool and a page more: refused by the page server, which says why, not by a SIGBUS. */
Test(firecracker_tiny, a_clone_the_pool_has_no_page_for_is_lost_with_the_reason)
{
	char why[256];
	struct tiny r;

	tiny_skip_without_uffd();
	if (!hugepool_grow(HUGE_EACH, why, sizeof(why)))
		cr_skip("%s", why);
	tiny_up(&r);
	r.config.huge_pages = true;
	tiny_make_snapshot(&r, false, false);
	tiny_serve(&r);
	void *taken = mmap(NULL, (hugepool_free() - 1) * VM_HUGE_PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
	cr_assert_neq(taken, MAP_FAILED);
	tiny_clone_vm(&r, 0, "uffd");
	if (r.restoring[0] > 0)
		(void)waitpid(r.restoring[0], NULL, 0);
	r.restoring[0] = 0;
	auto_free char *error = tiny_status_of(&r, 0, "error");

	cr_expect(strstr(error, "the host has no free huge page for byte "), "%s", error);
	tiny_down(&r);
}

Test(firecracker_tiny, clones_behind_the_jailer_live_on_a_page_server_and_die_with_it)
{
	live_and_die_with_the_server(false, true);
}

/* Killed while pages are still missing: a clone stops at the next one, it never reads zeros. */
Test(firecracker_tiny, a_server_that_dies_early_leaves_no_clone_with_wrong_pages)
{
	struct tiny r;

	tiny_skip_without_uffd();
	tiny_up(&r);
	tiny_make_snapshot(&r, false, false);
	tiny_serve(&r);
	for (size_t i = 0; i < CLONES; i++)
		tiny_clone_vm(&r, i, "uffd");
	tiny_await_ticks(&r, 0, 1);
	cr_assert_eq(kill(r.server.pid, SIGKILL), 0);
	for (size_t i = 0; i < CLONES; i++) {
		auto_free char *state = NULL;

		if (r.restoring[i] > 0)
			(void)waitpid(r.restoring[i], NULL, 0);
		r.restoring[i] = 0;
		state = tiny_status_of(&r, i, "state");
		auto_free char *text = tiny_console_of(&r, i);

		cr_expect(strcmp(state, "lost") == 0 || strcmp(state, "failed") == 0, "%s", state);
		cr_expect_not(strstr(text, TINY_BAD), "clone %zu said:\n%s", i, text);
	}
	tiny_down(&r);
}

static void share_the_file(bool boots, bool clones)
{
	struct tiny r;

	tiny_up(&r);
	tiny_make_snapshot(&r, boots, clones);
	for (size_t i = 0; i < CLONES; i++)
		tiny_clone_vm(&r, i, "file");
	for (size_t i = 0; i < CLONES; i++)
		tiny_await_ticks(&r, i, 5);
	if (clones)
		tiny_check_jails(&r);
	tiny_down(&r);
}

Test(firecracker_tiny, clones_share_the_memory_file)
{
	share_the_file(false, false);
}

Test(firecracker_tiny, clones_behind_the_jailer_share_the_memory_file)
{
	share_the_file(true, true);
}

Test(firecracker_tiny, what_was_saved_behind_the_jailer_needs_none)
{
	share_the_file(true, false);
}

Test(firecracker_tiny, it_answers_what_the_fake_answers)
{
	auto_buf struct buf out = BUF_INIT(1u << 20);
	struct tiny r;
	char why[200];

	/* For the one guest of huge pages. */
	if (!hugepool_grow(HUGE_EACH, why, sizeof(why)))
		cr_skip("%s", why);
	tiny_up(&r);
	if (strcmp(r.caps.version, "1.16.1") == 0) {
		/* A NIC is asked for: its tap belongs to nobody's namespace but this test's. */
		cr_assert_eq(unshare(CLONE_NEWNET), 0);
		fc_calls_run(r.binary, &out);
		golden_check("fc-answers.txt", buf_str(&out));
	}
	tiny_down(&r);
}
