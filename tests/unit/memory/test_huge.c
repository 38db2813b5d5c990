/* The page server and memory in pages of 2 MiB. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "hugepool.h"
#include "rig.h"

#define PAGES 4
#define HOLE 2 /* the one that is a hole of the file */

static void start(struct rig *rig, size_t pool)
{
	char why[256];

	if (!hugepool_grow(pool, why, sizeof(why)))
		cr_skip_test("%s", why);
	rig_prepare(rig, PAGES * HUGE / PAGE);
	auto_close int fd = open(rig->memory, O_RDWR | O_CLOEXEC);

	cr_assert_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, HOLE * HUGE, HUGE),
		     0);
	rig_spawn(rig);
}

static bool is_right(const struct guest *g, size_t huge_page)
{
	for (size_t i = huge_page * 512; i < (huge_page + 1) * 512; i++)
		if (huge_page == HOLE ? !rig_page_is_zero(g->mem + i * PAGE)
				      : !rig_page_is_right(g->mem + i * PAGE, i))
			return false;
	return true;
}

static bool is_zero(const struct guest *g, size_t huge_page)
{
	for (size_t i = huge_page * 512; i < (huge_page + 1) * 512; i++)
		if (!rig_page_is_zero(g->mem + i * PAGE))
			return false;
	return true;
}

Test(huge, one_fault_brings_two_mebibytes_and_a_hole_as_many_zeroes, .timeout = 60)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;

	start(&rig, PAGES);
	guest_init_huge(&g);
	guest_start(&rig, &g, "vm-a");
	for (size_t i = PAGES; i-- > 0;)
		cr_expect(is_right(&g, i), "page %zu", i);
	rig_expect(&rig, "faults", PAGES);
	rig_expect(&rig, "copied", PAGES - 1);
	rig_expect(&rig, "zero", 1);
}

Test(huge, system_calls_on_missing_pages_are_served_too, .timeout = 60)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;
	unsigned char page[PAGE];
	int ends[2];

	start(&rig, PAGES);
	guest_init_huge(&g);
	guest_start(&rig, &g, "vm-a");
	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	cr_assert_eq(write(ends[1], g.mem + HUGE + 5 * PAGE, PAGE), (ssize_t)PAGE);
	cr_assert_eq(read(ends[0], page, PAGE), (ssize_t)PAGE);
	cr_expect(rig_page_is_right(page, 512 + 5));
}

Test(huge, a_removed_page_reads_as_zero_ever_after, .timeout = 60)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;

	start(&rig, PAGES);
	guest_init_huge(&g);
	guest_start(&rig, &g, "vm-a");
	cr_assert(is_right(&g, 0));
	/* One page that was there and one that never was. */
	for (int round = 0; round < 3; round++) {
		cr_assert_eq(madvise(g.mem, 2 * HUGE, MADV_DONTNEED), 0);
		cr_expect(is_zero(&g, 0));
		cr_expect(is_zero(&g, 1));
		g.mem[HUGE + 7] = 9;
	}
	cr_expect(is_right(&g, 3), "its neighbours are as they were");
	rig_expect(&rig, "removed", 6 * HUGE / PAGE);
}

/* All but one of the free pages, for as long as we live. */
static void take_pool(void)
{
	size_t len = (hugepool_free() - 1) * HUGE;

	if (len > 0)
		cr_assert_neq(mmap(NULL, len, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0),
			      MAP_FAILED);
	cr_assert_eq(hugepool_free(), 1);
}

static int read_two(struct guest *g, void *data)
{
	(void)data;
	guest_hand_off(g);
	return is_right(g, 0) && is_right(g, 1) ? 98 : 99;
}

Test(huge, an_empty_pool_ends_the_vm_with_the_reason, .timeout = 60)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;
	struct err err = {0};

	start(&rig, PAGES);
	take_pool();
	guest_init_huge(&g);
	pid_t pid = guest_fork(&rig, &g, "vm-a", RIG_UID + 1, read_two, NULL);
	cr_assert_eq(guest_listen(&g, &err), 1, "%s", err.msg);
	cr_expect_eq(guest_listen(&g, &err), -ENOMEM, "%s", err.msg);
	cr_expect_str_eq(err.msg, "the page server cannot serve this VM: the host has no free huge "
				  "page for byte 2097152");
	cr_expect_str_eq(err.hint, "raise vm.nr_hugepages");
	(void)kill(pid, SIGKILL);
	cr_expect_eq(guest_wait(pid), 128 + SIGKILL, "it never went on");
}

/* What a VMM says of its own memory harms nobody but itself. */
Test(huge, small_pages_called_huge_are_filled_in_larger_portions, .timeout = 60)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;
	struct err err = {0};

	rig_start(&rig, 2 * HUGE / PAGE);
	guest_init(&g);
	cr_assert_eq(guest_announce(&rig, &g, "vm-a", getpid(), getuid(), &err), 0, "%s", err.msg);
	guest_map(&g, 3 * HUGE / PAGE, 0);
	unsigned char *mapped = g.mem;
	g.mem = (unsigned char *)(((uintptr_t)g.mem + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
	g.len = 2 * HUGE;
	g.page_size = HUGE;
	guest_hand_off(&g);
	cr_assert_eq(guest_listen(&g, &err), 1, "%s", err.msg);
	guest_check_all(&g);
	rig_expect(&rig, "copied", 2);
	g.mem = mapped;
	g.len = 3 * HUGE;
}
