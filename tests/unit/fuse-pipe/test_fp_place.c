#include "fp_place.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "rig.h"
#include "run.h"

Test(fp_place, a_handle_finds_what_it_was_made_of)
{
	auto_tmpdir char *dir = tmpdir_new("place");
	auto_close int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct fp_handle a, b;
	struct stat st, want;

	rig_need_root();
	cr_assert(fp_handles_work(root));
	cr_assert_eq(mkdirat(root, "d", 0700), 0);
	auto_close int d = openat(root, "d", O_PATH | O_CLOEXEC);
	cr_assert(fp_handle_of(d, &a) == 0 && fp_handle_of(root, &b) == 0);
	cr_expect(fp_handle_same(&a, &a) && !fp_handle_same(&a, &b));
	auto_close int again = fp_handle_open(root, &a);
	cr_assert(again >= 0 && fstat(again, &st) == 0 && fstat(d, &want) == 0);
	cr_expect_eq(st.st_ino, want.st_ino);
	a.type = 77;
	cr_expect_lt(fp_handle_open(root, &a), 0);
}

Test(fp_place, who_may_not_open_handles_is_told_so)
{
	auto_close int root = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (geteuid() == 0 && setresuid(4711, 4711, 4711) < 0)
		cr_skip_test("cannot become another user");
	cr_expect_not(fp_handles_work(root));
	auto_close int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_expect_not(fp_handles_work(proc));
}

Test(fp_place, data_is_opened_for_writing_where_that_is_allowed)
{
	auto_tmpdir char *dir = tmpdir_new("place");
	auto_close int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_close int proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	auto_close int made = openat(root, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	auto_close int f = fp_name_open(root, "f");
	auto_close int d = fp_name_open(root, ".");

	cr_assert_geq(made, 0);
	auto_close int both = fp_data_open(proc, f);
	cr_expect_eq(fcntl(both, F_GETFL) & O_ACCMODE, O_RDWR);
	auto_close int reads = fp_data_open(proc, d);
	cr_expect_eq(fcntl(reads, F_GETFL) & O_ACCMODE, O_RDONLY);
	cr_expect_eq(fp_data_open(proc, 1 << 20), -ENOENT);
}

Test(fp_place, a_name_is_opened_beneath_its_directory)
{
	auto_tmpdir char *dir = tmpdir_new("place");
	auto_close int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	cr_assert_eq(symlinkat("/etc", root, "l"), 0);
	auto_close int l = fp_name_open(root, "l");
	cr_expect(l >= 0 && fstat(l, &st) == 0 && S_ISLNK(st.st_mode));
	cr_expect_eq(fp_name_open(root, "l/passwd"), -EXDEV);
	cr_expect_eq(fp_name_open(root, ".."), -EXDEV);
	cr_expect_eq(fp_name_open(root, "none"), -ENOENT);
}
