#include "storage.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "run.h"

Test(storage, a_data_disk_is_sparse_ext4_with_a_journal)
{
	auto_tmpdir char *tmp = tmpdir_new("storage");
	auto_free char *disk = path_join(tmp, "data.img");
	auto_run struct run_result dump = RUN_INIT;
	const char *const argv[] = {"dumpe2fs", "-h", disk, NULL};
	struct stat st;
	struct err err;

	cr_assert_eq(storage_make_data_disk(disk, 1u << 30, &err), 0, "%s", err.msg);
	cr_assert_eq(stat(disk, &st), 0);
	cr_expect_eq(st.st_size, 1 << 30);
	cr_expect_lt(st.st_blocks * 512, 4 << 20);
	run_argv(&dump, argv, NULL, NULL, 20000);
	cr_expect_eq(dump.status, 0);
	cr_expect(strstr(buf_str(&dump.out), "Filesystem volume name:   data\n"));
	cr_expect(strstr(buf_str(&dump.out), "has_journal"));
	cr_expect_not(strstr(buf_str(&dump.out), "resize_inode"));
}

Test(storage, a_data_disk_passes_fsck)
{
	auto_tmpdir char *tmp = tmpdir_new("storage");
	auto_free char *disk = path_join(tmp, "data.img");
	auto_run struct run_result fsck = RUN_INIT;
	const char *const argv[] = {"e2fsck", "-fn", disk, NULL};
	struct err err;

	cr_assert_eq(storage_make_data_disk(disk, 16u << 20, &err), 0, "%s", err.msg);
	run_argv(&fsck, argv, NULL, NULL, 20000);
	cr_expect_eq(fsck.status, 0, "%s", buf_str(&fsck.out));
}

Test(storage, a_data_disk_too_small_or_in_the_way_is_refused)
{
	auto_tmpdir char *tmp = tmpdir_new("storage");
	auto_free char *disk = path_join(tmp, "data.img");
	struct err err;

	cr_expect_eq(storage_make_data_disk(disk, 4096, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "expected a data disk of at least 16777216 bytes, got 4096");
	cr_expect_not(file_exists(disk));
	cr_assert_eq(file_replace(disk, "x", 1, 0600, &err), 0);
	cr_expect_eq(storage_make_data_disk(disk, 16u << 20, &err), -EEXIST);
}

Test(storage, tree_blocks_count_what_is_allocated_and_follow_no_links)
{
	auto_tmpdir char *tmp = tmpdir_new("storage");
	auto_free char *sub = path_join(tmp, "a/b");
	auto_free char *file = path_join(tmp, "a/b/file");
	auto_free char *link = path_join(tmp, "a/link");
	static char data[1 << 20];
	struct err err;
	uint64_t before, after;

	cr_assert_eq(file_mkdir_p(sub, 0700, &err), 0);
	before = storage_tree_blocks(tmp);
	memset(data, 'x', sizeof(data));
	cr_assert_eq(file_replace(file, data, sizeof(data), 0600, &err), 0);
	cr_assert_eq(symlink("/usr", link), 0);
	after = storage_tree_blocks(tmp);
	cr_expect_geq(after - before, sizeof(data));
	cr_expect_lt(after - before, sizeof(data) + (64 << 10));
	cr_expect_eq(storage_tree_blocks("/no/such/tree"), 0);
}

Test(storage, free_bytes_are_told_or_the_directory_is_named)
{
	struct err err;
	uint64_t bytes = 0;

	cr_expect_eq(storage_free_bytes("/tmp", &bytes, &err), 0);
	cr_expect_gt(bytes, 0);
	cr_expect_eq(storage_free_bytes("/no/dir", &bytes, &err), -ENOENT);
	cr_expect_str_eq(err.msg,
			 "cannot tell the free space of '/no/dir': No such file or directory");
}

Test(storage, a_directory_that_is_not_there_cannot_reflink)
{
	cr_expect_not(storage_can_reflink("/no/dir"));
}
