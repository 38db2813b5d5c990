#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "run.h"
#include "storage.h"

/* 8 MiB with data at both ends and in the middle of a block. */
#define SIZE (8 << 20)
static void make_sparse(const char *path)
{
	auto_close int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, SIZE), 0);
	cr_assert_eq(pwrite(fd, "front", 5, 0), 5);
	cr_assert_eq(pwrite(fd, "middle", 6, SIZE / 2 + 100), 6);
	cr_assert_eq(pwrite(fd, "back", 4, SIZE - 4), 4);
}

static void expect_equal(const char *a, const char *b)
{
	auto_buf struct buf x = BUF_INIT(SIZE + 1);
	auto_buf struct buf y = BUF_INIT(SIZE + 1);
	struct err err;

	cr_assert_eq(file_read(a, SIZE, &x, &err), 0, "%s", err.msg);
	cr_assert_eq(file_read(b, SIZE, &y, &err), 0, "%s", err.msg);
	cr_assert_eq(x.len, y.len);
	cr_expect_eq(x.len ? memcmp(x.data, y.data, x.len) : 0, 0);
}

Test(clone_file, contents_are_equal_and_holes_stay_holes)
{
	auto_tmpdir char *tmp = tmpdir_new("storage");
	auto_free char *from = path_join(tmp, "from");
	auto_free char *to = path_join(tmp, "to");
	struct clone_file_spec spec = {from, to, 0440, geteuid(), getegid()};
	struct stat st;
	struct err err;
	bool reflinked = true;

	make_sparse(from);
	cr_assert_eq(storage_clone_file(&spec, &reflinked, &err), 0, "%s", err.msg);
	expect_equal(from, to);
	cr_assert_eq(stat(to, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0440);
	cr_expect_lt(st.st_blocks * 512, 256 << 10);
	cr_expect_eq(reflinked, storage_can_reflink(tmp));
}

Test(clone_file, it_works_across_file_systems)
{
	auto_tmpdir char *tmp = tmpdir_new("storage");
	auto_free char *from = path_join(tmp, "from");
	char to[64];
	struct err err;

	if (access("/dev/shm", W_OK) < 0)
		cr_skip_test("/dev/shm cannot be written");
	(void)snprintf(to, sizeof(to), "/dev/shm/fcvm-clone-file-%d", getpid());
	struct clone_file_spec spec = {from, to, 0600, geteuid(), getegid()};
	make_sparse(from);
	cr_assert_eq(storage_clone_file(&spec, NULL, &err), 0, "%s", err.msg);
	expect_equal(from, to);
	cr_expect_eq(unlink(to), 0);
}

Test(clone_file, an_all_hole_and_an_empty_file_are_files_too)
{
	static const off_t sizes[] = {0, SIZE};
	auto_tmpdir char *tmp = tmpdir_new("storage");

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		auto_free char *from = path_join(tmp, i ? "hole" : "empty");
		auto_free char *to = path_join(tmp, i ? "hole2" : "empty2");
		struct clone_file_spec spec = {from, to, 0600, geteuid(), getegid()};
		struct err err;

		cr_assert_eq(file_replace(from, "", 0, 0600, &err), 0);
		cr_assert_eq(truncate(from, sizes[i]), 0);
		cr_assert_eq(storage_clone_file(&spec, NULL, &err), 0, "%s", err.msg);
		expect_equal(from, to);
	}
}

Test(clone_file, what_is_there_is_never_overwritten)
{
	auto_tmpdir char *tmp = tmpdir_new("storage");
	auto_free char *from = path_join(tmp, "from");
	auto_free char *to = path_join(tmp, "to");
	struct clone_file_spec spec = {from, to, 0600, geteuid(), getegid()};
	struct err err;

	make_sparse(from);
	cr_assert_eq(file_replace(to, "mine", 4, 0600, &err), 0);
	cr_expect_eq(storage_clone_file(&spec, NULL, &err), -EEXIST);
	cr_expect(strstr(err.msg, "cannot make '"));
	cr_expect_eq(truncate(to, 4), 0, "it is still there");
}

Test(clone_file, links_fifos_and_directories_are_not_followed_and_leave_nothing)
{
	auto_tmpdir char *tmp = tmpdir_new("storage");
	auto_free char *real = path_join(tmp, "real");
	auto_free char *link = path_join(tmp, "link");
	auto_free char *fifo = path_join(tmp, "fifo");
	auto_free char *to = path_join(tmp, "to");
	const char *const sources[] = {link, fifo, tmp};

	make_sparse(real);
	cr_assert_eq(symlink("real", link), 0);
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		struct clone_file_spec spec = {sources[i], to, 0600, geteuid(), getegid()};
		struct err err;

		cr_expect_lt(storage_clone_file(&spec, NULL, &err), 0, "%s", sources[i]);
		cr_expect_not(file_exists(to));
	}
}

Test(clone_file, what_was_opened_is_copied_whatever_has_its_name_now)
{
	auto_tmpdir char *tmp = tmpdir_new("storage");
	auto_free char *from = path_join(tmp, "from"), *kept = path_join(tmp, "kept");
	auto_free char *to = path_join(tmp, "to");
	struct clone_file_spec spec = {from, to, 0600, geteuid(), getegid()};
	struct err err;

	make_sparse(from);
	auto_close int fd = open(from, O_RDONLY | O_CLOEXEC);

	cr_assert_eq(rename(from, kept), 0);
	cr_assert_eq(file_replace(from, "another", 7, 0600, &err), 0);
	cr_assert_eq(storage_clone_fd(fd, &spec, NULL, &err), 0, "%s", err.msg);
	expect_equal(kept, to);
}

Test(clone_file, root_gives_the_copy_away)
{
	auto_tmpdir char *tmp = tmpdir_new("storage");
	auto_free char *from = path_join(tmp, "from");
	auto_free char *to = path_join(tmp, "to");
	struct clone_file_spec spec = {from, to, 0600, 1879048200, 1879048201};
	struct stat st;
	struct err err;

	if (geteuid() != 0)
		cr_skip_test("changing owners needs root");
	make_sparse(from);
	cr_assert_eq(storage_clone_file(&spec, NULL, &err), 0, "%s", err.msg);
	cr_assert_eq(stat(to, &st), 0);
	cr_expect_eq(st.st_uid, 1879048200);
	cr_expect_eq(st.st_gid, 1879048201);
}
