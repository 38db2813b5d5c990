/* The whole page server as a process, with this process as supervisor and VMM. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "rig.h"
#include "xalloc.h"

Test(server, a_thousand_random_pages_equal_the_file)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;
	uint64_t seed = 42, counts[2] = {0}; /* pages seen for the first time: data, zero */
	bool seen[4096] = {false};

	rig_start(&rig, ARRAY_SIZE(seen));
	guest_init(&g);
	guest_start(&rig, &g, "vm-a");
	for (int i = 0; i < 1000; i++) {
		size_t page = rig_random(&seed, rig.pages);

		counts[page % 4 >= RIG_ZEROED] += !seen[page];
		seen[page] = true;
		cr_assert(rig_page_is_right(g.mem + page * PAGE, page), "page %zu", page);
	}
	rig_expect(&rig, "copied", counts[0]);
	rig_expect(&rig, "zero", counts[1]);
	rig_expect(&rig, "faults", counts[0] + counts[1]);
}

Test(server, holes_and_zeroed_pages_are_given_without_copying)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;

	rig_start(&rig, 64);
	guest_init(&g);
	guest_start(&rig, &g, "vm-a");
	guest_check_all(&g);
	rig_expect(&rig, "faults", 64);
	rig_expect(&rig, "copied", 32);
	rig_expect(&rig, "zero", 32);
}

Test(server, system_calls_on_missing_pages_are_served_too)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;
	unsigned char page[PAGE];
	int ends[2];

	rig_start(&rig, 64);
	guest_init(&g);
	guest_start(&rig, &g, "vm-a");
	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	cr_assert_eq(write(ends[1], g.mem + 5 * PAGE, PAGE), (ssize_t)PAGE);
	cr_assert_eq(read(ends[0], page, PAGE), (ssize_t)PAGE);
	cr_expect(rig_page_is_right(page, 5));
}

Test(server, a_removed_page_reads_as_zero_ever_after)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;

	rig_start(&rig, 64);
	guest_init(&g);
	guest_start(&rig, &g, "vm-a");
	cr_assert(rig_page_is_right(g.mem, 0));
	/* One page that was there and one that never was. */
	for (int round = 0; round < 3; round++) {
		cr_assert_eq(madvise(g.mem, 2 * PAGE, MADV_DONTNEED), 0);
		cr_expect(rig_page_is_zero(g.mem));
		cr_expect(rig_page_is_zero(g.mem + PAGE));
		g.mem[7] = 9;
	}
	cr_expect(rig_page_is_right(g.mem + 4 * PAGE, 4), "its neighbours are as they were");
	rig_expect(&rig, "removed", 6);
}

struct toucher {
	const struct guest *g;
	size_t first, step;
	atomic_uint *wrong;
};

static void *touch(void *data)
{
	const struct toucher *t = data;

	for (size_t page = t->first; page < t->g->len / PAGE; page += t->step)
		if (!rig_page_is_right(t->g->mem + page * PAGE, page))
			atomic_fetch_add(t->wrong, 1);
	return NULL;
}

/* All threads over all pages (stride 1) or each over its own (stride n). */
static void touch_in_threads(const struct guest *g, size_t n, bool shared)
{
	struct toucher touchers[16];
	pthread_t threads[16];
	atomic_uint wrong = 0;

	for (size_t i = 0; i < n; i++) {
		touchers[i] = (struct toucher){g, shared ? 0 : i, shared ? 1 : n, &wrong};
		cr_assert_eq(pthread_create(&threads[i], NULL, touch, &touchers[i]), 0);
	}
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(pthread_join(threads[i], NULL), 0);
	cr_expect_eq(atomic_load(&wrong), 0);
}

Test(server, eight_threads_faulting_at_once_all_see_the_file)
{
	auto_rig struct rig rig;
	auto_guest struct guest own, shared;

	rig_start(&rig, 2048);
	guest_init(&own);
	guest_init(&shared);
	guest_start(&rig, &own, "vm-own");
	guest_start(&rig, &shared, "vm-shared");
	touch_in_threads(&own, 8, false);
	touch_in_threads(&shared, 8, true);
	rig_expect(&rig, "copied", rig.pages);
	rig_expect(&rig, "zero", rig.pages);
}

static void *remove_pages(void *data)
{
	const struct guest *g = data;

	for (size_t page = 0; page + 8 <= g->len / PAGE; page += 8)
		if (madvise(g->mem + page * PAGE, 4 * PAGE, MADV_DONTNEED) != 0)
			return data;
	return NULL;
}

Test(server, faults_and_removals_at_once_end_in_the_right_bytes)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;
	struct toucher touchers[4];
	pthread_t threads[5];
	atomic_uint wrong = 0;
	void *failed = NULL;

	rig_start(&rig, 2048);
	guest_init(&g);
	guest_start(&rig, &g, "vm-a");
	/* What a thread reads of a page being removed is either: the end is what counts. */
	for (size_t i = 0; i < 4; i++) {
		touchers[i] = (struct toucher){&g, i, 4, &wrong};
		cr_assert_eq(pthread_create(&threads[i], NULL, touch, &touchers[i]), 0);
	}
	cr_assert_eq(pthread_create(&threads[4], NULL, remove_pages, &g), 0);
	for (size_t i = 0; i < 4; i++)
		cr_assert_eq(pthread_join(threads[i], NULL), 0);
	cr_assert_eq(pthread_join(threads[4], &failed), 0);
	cr_assert_null(failed);
	for (size_t page = 0; page < rig.pages; page++) {
		const unsigned char *at = g.mem + page * PAGE;

		cr_assert(page % 8 < 4 ? rig_page_is_zero(at) : rig_page_is_right(at, page),
			  "page %zu", page);
	}
	rig_expect(&rig, "removed", rig.pages / 2);
}

Test(server, what_one_vm_writes_reaches_neither_another_nor_the_file)
{
	auto_rig struct rig rig;
	auto_guest struct guest here, there;
	struct err err = {0};

	rig_start(&rig, 512);
	auto_free char *before = xstrdup(rig_digest(rig.memory));
	guest_init(&here);
	guest_init(&there);
	guest_start(&rig, &here, "vm-here");
	cr_assert(rig_page_is_right(here.mem, 0));
	pid_t pid = guest_fork(&rig, &there, "vm-there", RIG_UID + 1, guest_scribble, NULL);
	cr_expect_eq(guest_listen(&there, &err), 1, "%s", err.msg);
	cr_expect_eq(guest_wait(pid), 0);
	guest_check_all(&here);
	cr_expect_str_eq(rig_digest(rig.memory), before);
}
