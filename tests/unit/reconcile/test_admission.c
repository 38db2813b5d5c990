#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "admission.h"
#include "cleanup.h"
#include "file.h"
#include "loop_rig.h"
#include "run.h"
#include "xalloc.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static uint64_t half(uint64_t pid, bool huge)
{
	(void)pid;
	return huge ? 56 * MIB : 128 * MIB;
}

Test(admission, what_starts_counts_whole_and_what_runs_by_what_it_may_still_take)
{
	auto_rig struct rig was, now;

	rig_make(&was, NULL, NULL);
	rig_settle(&was);
	rig_make(&now, "count: 3", "count: 5");
	rig_inherit(&now, &was);
	rig_plan(&now);
	struct admission a = admission_need(&now.g, now.seen, &now.plan, half);
	cr_expect_eq(a.vms, 2);
	cr_expect_eq(a.memory_bytes, 2 * (256 * MIB + ADMISSION_OVERHEAD) + 3 * 128 * MIB);
	cr_expect_eq(a.disk_bytes, 0);
}

Test(admission, a_baseline_counts_with_its_memory_file)
{
	auto_rig struct rig r;

	rig_make(&r, NULL, NULL);
	rig_inherit(&r, NULL);
	rig_plan(&r);
	struct admission a = admission_need(&r.g, r.seen, &r.plan, half);
	cr_expect_eq(a.vms, 4);
	cr_expect_eq(a.memory_bytes, 4 * (256 * MIB + ADMISSION_OVERHEAD));
	cr_expect_eq(a.disk_bytes, 256 * MIB);
}

/* Its memory is the pool's, which no other VM can have; a baseline gives it back to its clones. */
Test(admission, huge_pages_count_against_the_pool_and_not_against_memory)
{
	static const struct {
		const char *to;
		uint64_t pages;
	} cases[] = {
		{"memory: 256MiB\n    huge_pages: 2M", 3 * 128},
		{"memory: 256MiB\n    huge_pages: 2M\n    keep_running: true", 4 * 128},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_rig struct rig r;

		rig_make(&r, "memory: 256MiB", cases[i].to);
		rig_inherit(&r, NULL);
		rig_plan(&r);
		struct admission a = admission_need(&r.g, r.seen, &r.plan, half);
		cr_expect_eq(a.vms, 4);
		cr_expect_eq(a.memory_bytes, 4 * (uint64_t)ADMISSION_OVERHEAD);
		cr_expect_eq(a.huge_pages, cases[i].pages);
	}
}

Test(admission, a_clone_that_runs_may_still_take_the_huge_pages_it_has_not_touched)
{
	auto_rig struct rig was, now;

	rig_make(&was, "memory: 256MiB", "memory: 256MiB\n    huge_pages: 2M");
	rig_settle(&was);
	rig_make(&now, "memory: 256MiB", "memory: 256MiB\n    huge_pages: 2M");
	rig_inherit(&now, &was);
	rig_plan(&now);
	struct admission a = admission_need(&now.g, now.seen, &now.plan, half);
	cr_expect_eq(a.vms, 0);
	cr_expect_eq(a.huge_pages, 3 * 100);
}

/* It ends before its successor starts: counted beside it, a fleet that fills more than half of a
 * host could never change. */
Test(admission, a_vm_that_is_replaced_gives_its_memory_to_its_successor)
{
	static const struct {
		const char *was, *now;
		uint64_t memory_bytes, pages;
	} cases[] = {
		{"memory: 256MiB", "memory: 512MiB",
		 512 * MIB + ADMISSION_OVERHEAD + 3 * (384 * MIB + ADMISSION_OVERHEAD), 0},
		{"memory: 256MiB\n    huge_pages: 2M", "memory: 512MiB\n    huge_pages: 2M",
		 ADMISSION_OVERHEAD, 3 * (512 - 56) / 2},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_rig struct rig was, now;

		rig_make(&was, "memory: 256MiB", cases[i].was);
		rig_settle(&was);
		rig_make(&now, "memory: 256MiB", cases[i].now);
		rig_inherit(&now, &was);
		rig_plan(&now);
		struct admission a = admission_need(&now.g, now.seen, &now.plan, half);
		cr_expect_eq(a.vms, 4);
		cr_expect_eq(a.memory_bytes, cases[i].memory_bytes, "case %zu: %llu", i,
			     (unsigned long long)(a.memory_bytes / MIB));
		cr_expect_eq(a.huge_pages, cases[i].pages, "case %zu: %llu", i,
			     (unsigned long long)a.huge_pages);
	}
}

struct check {
	struct admission need;
	struct admission_host have;
	double overcommit;
	const char *msg; /* NULL: fits */
};

static const struct check checks[] = {
	{{0, 0, 0, 0}, {0, 0, {0, 0}}, 1.0, NULL},
	{{2 * GIB, 0, 2, 0}, {3 * GIB, 0, {0, 0}}, 1.0, NULL},
	{{2 * GIB + 1, 0, 2, 0}, {3 * GIB, 0, {0, 0}}, 1.5, NULL},
	{{4 * GIB, 0, 4, 0},
	 {3 * GIB, 0, {0, 0}},
	 1.0,
	 "not enough memory: 4 VMs to start may need 4 GiB, 3 GiB are available and policy.memory "
	 "keeps 1 GiB of it back (overcommit 1); short of 2 GiB"},
	{{1 * GIB, 0, 1, 0},
	 {512 * MIB, 0, {0, 0}},
	 4.0,
	 "not enough memory: 1 VMs to start may need 1 GiB, 512 MiB are available and "
	 "policy.memory keeps 1 GiB of it back (overcommit 4); short of 1 GiB"},
	{{1 * GIB, 3 * GIB, 1, 0},
	 {8 * GIB, 1 * GIB, {0, 0}},
	 1.0,
	 "not enough disk space: memory files and snapshots may need 3 GiB, 1 GiB are free; short "
	 "of 2 GiB"},
	{{0, 0, 2, .huge_pages = 256}, {2 * GIB, 0, {300, 256}}, 1.0, NULL},
	{{0, 0, 2, .huge_pages = 256},
	 {2 * GIB, 0, {300, 56}},
	 1.0,
	 "not enough huge pages: VMs with huge_pages: 2M may need 256 of 2 MiB, 56 are free; short "
	 "of 200"},
};

Test(admission, a_refusal_is_exit_4_and_says_by_how_much)
{
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		const struct check *c = &checks[i];
		const struct policy_spec policy = {.memory_reserve_bytes = GIB,
						   .memory_overcommit = c->overcommit};
		struct err err = {0};
		int r = admission_check(&c->need, &c->have, &policy, &err);

		if (!c->msg) {
			cr_expect_eq(r, 0, "case %zu: %s", i, err.msg);
			continue;
		}
		cr_expect_lt(r, 0, "case %zu", i);
		cr_expect_str_eq(err.msg, c->msg);
		cr_expect_eq(err_exit_status(&err), 4);
	}
}

Test(admission, a_pool_that_is_too_small_says_how_large_it_must_be)
{
	const struct admission need = {.vms = 1, .huge_pages = 256};
	const struct admission_host have = {.memory_available = GIB, .pool = {300, 56}};
	const struct policy_spec policy = {.memory_overcommit = 4.0};
	struct err err = {0};

	cr_expect_lt(admission_check(&need, &have, &policy, &err), 0);
	cr_expect_str_eq(err.hint, "sysctl vm.nr_hugepages=500");
}

Test(admission, this_host_can_be_measured_before_the_data_directory_exists)
{
	struct admission_host have = {0};
	struct err err = {0};

	cr_assert_eq(admission_measure("/tmp/fcvm-not-there/a/b", &have, &err), 0, "%s", err.msg);
	cr_expect_gt(have.memory_available, 0);
	cr_expect_gt(have.disk_free, 0);
}

Test(admission, memory_of_nobody_is_unknown)
{
	const uint64_t pids[] = {0, UINT32_MAX, UINT64_MAX};

	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		cr_expect_eq(admission_used(pids[i], false), 0);
		cr_expect_eq(admission_used(pids[i], true), 0);
	}
}

/* Ten clones of one snapshot's file have the same pages, and would give none of them back. */
Test(admission, pages_of_files_are_not_a_vms_own)
{
	const size_t size = 64 * MIB;
	auto_tmpdir char *dir = tmpdir_new("admission");
	auto_free char *path = path_join(dir, "memory");
	auto_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	uint64_t at_first = admission_used((uint64_t)getpid(), false);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, (off_t)size), 0);
	volatile char *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	cr_assert_neq(shared, MAP_FAILED);
	for (size_t i = 0; i < size; i += 4096)
		cr_assert_eq(shared[i], 0);
	uint64_t mapped = admission_used((uint64_t)getpid(), false);
	for (size_t i = 0; i < size; i += 4096)
		shared[i] = 1;
	uint64_t written = admission_used((uint64_t)getpid(), false);
	cr_expect_gt(at_first, 0);
	cr_expect_lt(mapped, at_first + size / 4);
	cr_expect_gt(written, mapped + size - size / 4);
	cr_assert_eq(munmap((void *)(uintptr_t)shared, size), 0);
}
