#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "rig.h"
#include "xalloc.h"

static int write_at(struct rig *r, uint64_t node, struct fuse_write_in in, const char *data)
{
	auto_free uint8_t *m = xcalloc(1, sizeof(in) + in.size);

	memcpy(m, &in, sizeof(in));
	memcpy(m + sizeof(in), data, in.size);
	return rig_call(r, FUSE_WRITE, node, m, sizeof(in) + in.size, NULL, NULL);
}

static mode_t mode_of(struct rig *r, const char *name)
{
	struct stat st;

	cr_assert_eq(stat(rig_path(r, name), &st), 0);
	return st.st_mode & 07777;
}

Test(fp_ops_io, what_is_written_is_read)
{
	auto_rig struct rig r = {0};
	uint64_t fh;

	rig_start(&r, NULL);
	uint64_t f = rig_create(&r, 1, "f", 0600, &fh);
	cr_assert_eq(
		write_at(&r, f, (struct fuse_write_in){.fh = fh, .offset = 3, .size = 4}, "text"),
		0);
	struct fuse_read_in in = {.fh = fh, .size = 100};
	cr_assert_eq(RIG_CALL(&r, FUSE_READ, f, &in, NULL), 0);
	cr_expect(r.out_len == 7 && memcmp(r.out, "\0\0\0text", 7) == 0);
	struct fuse_fsync_in sync = {.fh = fh};
	cr_expect_eq(RIG_CALL(&r, FUSE_FSYNC, f, &sync, NULL), 0);
	sync.fsync_flags = FUSE_FSYNC_FDATASYNC;
	cr_expect_eq(RIG_CALL(&r, FUSE_FSYNC, f, &sync, NULL), 0);
}

Test(fp_ops_io, a_mebibyte_goes_through_a_worker_and_comes_back)
{
	auto_rig struct rig r = {0};
	auto_free char *data = xmalloc(FP_MAX_WRITE + 1);
	uint64_t fh;

	rig_start(&r, NULL);
	for (size_t i = 0; i < FP_MAX_WRITE; i++)
		data[i] = (char)('a' + i % 23);
	data[FP_MAX_WRITE] = '\0';
	uint64_t f = rig_create(&r, 1, "f", 0600, &fh);
	cr_assert_eq(write_at(&r, f, (struct fuse_write_in){.fh = fh, .size = FP_MAX_WRITE}, data),
		     0);
	struct fuse_read_in in = {.fh = fh, .size = FP_MAX_WRITE};
	cr_assert_eq(RIG_CALL(&r, FUSE_READ, f, &in, NULL), 0);
	cr_expect_eq(r.out_len, FP_MAX_WRITE);
	cr_expect_eq(memcmp(r.out, data, FP_MAX_WRITE), 0);
}

Test(fp_ops_io, hostile_offsets_and_sizes_are_refused)
{
	auto_rig struct rig r = {0};
	uint64_t fh;

	rig_start(&r, NULL);
	uint64_t f = rig_create(&r, 1, "f", 0600, &fh);
	static const struct {
		uint64_t offset;
		uint32_t size;
	} reads[] = {{0, UINT32_MAX},
		     {0, FP_MAX_WRITE + 1},
		     {UINT64_MAX, 1},
		     {1ull << 63, 4096},
		     {UINT64_MAX - 10, 20}};
	for (size_t i = 0; i < ARRAY_SIZE(reads); i++) {
		struct fuse_read_in in = {
			.fh = fh, .offset = reads[i].offset, .size = reads[i].size};

		cr_expect_eq(RIG_CALL(&r, FUSE_READ, f, &in, NULL), -EINVAL, "%zu", i);
	}
	cr_expect_eq(write_at(&r, f,
			      (struct fuse_write_in){.fh = fh, .offset = UINT64_MAX, .size = 1},
			      "x"),
		     -EINVAL);
	/* 4 bytes that say they are 60000: nobody else's bytes are written. */
	struct fuse_write_in lie = {.fh = fh, .size = 60000};
	cr_expect_eq(rig_call(&r, FUSE_WRITE, f, &lie, sizeof(lie), "abc", NULL), -EINVAL);
	struct fuse_lseek_in seek = {.fh = fh, .offset = UINT64_MAX, .whence = SEEK_DATA};
	cr_expect_lt(RIG_CALL(&r, FUSE_LSEEK, f, &seek, NULL), 0);
	seek.whence = SEEK_SET;
	cr_expect_eq(RIG_CALL(&r, FUSE_LSEEK, f, &seek, NULL), -EINVAL);
	struct fuse_fallocate_in alloc = {.fh = fh, .offset = UINT64_MAX, .length = 1};
	cr_expect_eq(RIG_CALL(&r, FUSE_FALLOCATE, f, &alloc, NULL), -EINVAL);
}

Test(fp_ops_io, a_write_strips_set_id_bits_when_asked_to_and_else_not)
{
	auto_rig struct rig r = {0};

	rig_need_root();
	rig_start(&r, NULL);
	rig_write_file(&r, "f", "");
	cr_assert_eq(chmod(rig_path(&r, "f"), 06777), 0);
	uint64_t f = rig_lookup(&r, 1, "f"), fh = rig_open(&r, f, O_WRONLY);
	cr_assert_eq(write_at(&r, f, (struct fuse_write_in){.fh = fh, .size = 1}, "a"), 0);
	cr_expect_eq(mode_of(&r, "f"), 06777);
	r.uid = 1234;
	(void)rig_lookup_error(&r, 1, "f");
	cr_assert_eq(write_at(&r, f,
			      (struct fuse_write_in){
				      .fh = fh, .size = 1, .write_flags = FUSE_WRITE_KILL_SUIDGID},
			      "b"),
		     0);
	cr_expect_eq(mode_of(&r, "f"), 0777);
	cr_assert_eq(chmod(rig_path(&r, "f"), 06777), 0);
	cr_assert_eq(write_at(&r, f, (struct fuse_write_in){.fh = fh, .size = 1}, "c"), 0);
	cr_expect_eq(mode_of(&r, "f"), 06777, "the right came back");
}

Test(fp_ops_io, opening_to_truncate_strips_set_id_bits_when_asked_to)
{
	auto_rig struct rig r = {0};
	struct fuse_open_in in = {.flags = O_WRONLY | O_TRUNC};

	rig_need_root();
	rig_start(&r, NULL);
	rig_write_file(&r, "f", "text");
	cr_assert_eq(chmod(rig_path(&r, "f"), 06777), 0);
	uint64_t f = rig_lookup(&r, 1, "f");
	cr_assert_eq(RIG_CALL(&r, FUSE_OPEN, f, &in, NULL), 0);
	cr_expect_eq(mode_of(&r, "f"), 06777);
	in.open_flags = FUSE_OPEN_KILL_SUIDGID;
	cr_assert_eq(RIG_CALL(&r, FUSE_OPEN, f, &in, NULL), 0);
	cr_expect_eq(mode_of(&r, "f"), 0777);
}

Test(fp_ops_io, holes_are_made_found_and_copied_over)
{
	auto_rig struct rig r = {0};
	uint64_t a_fh, b_fh;

	rig_start(&r, NULL);
	uint64_t a = rig_create(&r, 1, "a", 0600, &a_fh), b = rig_create(&r, 1, "b", 0600, &b_fh);
	struct fuse_fallocate_in alloc = {.fh = a_fh, .length = 1 << 20};
	int got = RIG_CALL(&r, FUSE_FALLOCATE, a, &alloc, NULL);
	if (got == -EOPNOTSUPP)
		cr_skip_test("needs fallocate in /tmp");
	cr_assert_eq(got, 0);
	cr_assert_eq(write_at(&r, a, (struct fuse_write_in){.fh = a_fh, .size = 4}, "text"), 0);
	struct fuse_copy_file_range_in copy = {
		.fh_in = a_fh, .nodeid_out = b, .fh_out = b_fh, .off_out = 10, .len = 4};
	cr_assert_eq(RIG_CALL(&r, FUSE_COPY_FILE_RANGE, a, &copy, NULL), 0);
	struct fuse_read_in in = {.fh = b_fh, .offset = 10, .size = 100};
	cr_assert_eq(RIG_CALL(&r, FUSE_READ, b, &in, NULL), 0);
	cr_expect(r.out_len == 4 && memcmp(r.out, "text", 4) == 0);
	copy.flags = 1;
	cr_expect_eq(RIG_CALL(&r, FUSE_COPY_FILE_RANGE, a, &copy, NULL), -EINVAL);
	copy.flags = 0;
	copy.nodeid_out = a;
	cr_expect_eq(RIG_CALL(&r, FUSE_COPY_FILE_RANGE, a, &copy, NULL), -EBADF);
	cr_assert_eq(truncate(rig_path(&r, "b"), 1 << 20), 0);
	struct fuse_lseek_in seek = {.fh = b_fh, .whence = SEEK_HOLE};
	struct fuse_lseek_out out;
	cr_assert_eq(RIG_CALL(&r, FUSE_LSEEK, b, &seek, NULL), 0);
	memcpy(&out, r.out, sizeof(out));
	cr_expect_leq(out.offset, 1u << 20);
	struct fuse_syncfs_in sync = {0};
	cr_expect_eq(RIG_CALL(&r, FUSE_SYNCFS, 1, &sync, NULL), 0);
}

static struct fuse_lk_in lock_of(uint64_t fh, uint64_t owner, uint32_t type, uint32_t flags)
{
	return (struct fuse_lk_in){.fh = fh,
				   .owner = owner,
				   .lk = {.end = INT64_MAX, .type = type, .pid = (uint32_t)owner},
				   .lk_flags = flags};
}

Test(fp_ops_io, locks_keep_other_owners_out_and_the_host_sees_them)
{
	auto_rig struct rig r = {0};
	uint64_t fh;

	rig_start(&r, NULL);
	uint64_t f = rig_create(&r, 1, "f", 0600, &fh);
	struct fuse_lk_in mine = lock_of(fh, 1, F_WRLCK, 0), other = lock_of(fh, 2, F_RDLCK, 0);
	cr_expect_eq(RIG_CALL(&r, FUSE_SETLK, f, &mine, NULL), 0);
	cr_expect_eq(RIG_CALL(&r, FUSE_SETLK, f, &other, NULL), -EAGAIN);
	struct fuse_lk_out out;
	cr_assert_eq(RIG_CALL(&r, FUSE_GETLK, f, &other, NULL), 0);
	memcpy(&out, r.out, sizeof(out));
	cr_expect(out.lk.type == F_WRLCK && out.lk.pid == 1 && out.lk.end == INT64_MAX);
	auto_close int host = open(rig_path(&r, "f"), O_RDWR | O_CLOEXEC);
	struct flock fl = {.l_type = F_WRLCK};
	cr_expect(fcntl(host, F_OFD_SETLK, &fl) < 0 && errno == EAGAIN);
	struct fuse_flush_in flush = {.fh = fh, .lock_owner = 1};
	cr_expect_eq(RIG_CALL(&r, FUSE_FLUSH, f, &flush, NULL), 0);
	cr_expect_eq(RIG_CALL(&r, FUSE_SETLK, f, &other, NULL), 0, "close let go of it");
	mine.lk.start = 5;
	mine.lk.end = 4;
	cr_expect_eq(RIG_CALL(&r, FUSE_SETLK, f, &mine, NULL), -EINVAL);
	mine = lock_of(fh, 1, 77, 0);
	cr_expect_eq(RIG_CALL(&r, FUSE_SETLK, f, &mine, NULL), -EINVAL);
	mine = lock_of(fh + 1, 1, F_RDLCK, 0);
	cr_expect_eq(RIG_CALL(&r, FUSE_SETLK, f, &mine, NULL), -EBADF);
}

Test(fp_ops_io, a_lock_that_waits_holds_up_nobody_and_is_given_when_free)
{
	auto_rig struct rig r = {0};
	uint64_t fh;

	rig_start(&r, NULL);
	uint64_t f = rig_create(&r, 1, "f", 0600, &fh);
	struct fuse_lk_in mine = lock_of(fh, 1, F_WRLCK, FUSE_LK_FLOCK);
	struct fuse_lk_in other = lock_of(fh, 2, F_WRLCK, FUSE_LK_FLOCK);
	cr_assert_eq(RIG_CALL(&r, FUSE_SETLKW, f, &mine, NULL), 0);
	uint64_t waiting[20];
	for (size_t i = 0; i < ARRAY_SIZE(waiting); i++) {
		other.owner = 2 + i;
		waiting[i] = rig_send(&r, FUSE_SETLKW, f, &other, sizeof(other), NULL, NULL);
	}
	cr_expect_eq(rig_lookup(&r, 1, "f"), f, "the others go on");
	mine.lk.type = F_UNLCK;
	uint64_t unlock = rig_send(&r, FUSE_SETLK, f, &mine, sizeof(mine), NULL, NULL);
	for (int i = 0; i < 2; i++) {
		rig_receive(&r);
		cr_expect(r.got_unique == unlock || r.got_unique == waiting[0], "who came first");
		cr_expect_eq(r.error, 0);
	}
}

Test(fp_ops_io, a_wait_is_interrupted)
{
	auto_rig struct rig r = {0};
	uint64_t fh;

	rig_start(&r, NULL);
	uint64_t f = rig_create(&r, 1, "f", 0600, &fh);
	struct fuse_lk_in mine = lock_of(fh, 1, F_WRLCK, 0), other = lock_of(fh, 2, F_WRLCK, 0);
	cr_assert_eq(RIG_CALL(&r, FUSE_SETLK, f, &mine, NULL), 0);
	uint64_t unique = rig_send(&r, FUSE_SETLKW, f, &other, sizeof(other), NULL, NULL);
	struct fuse_interrupt_in in = {.unique = unique};
	(void)rig_send(&r, FUSE_INTERRUPT, 0, &in, sizeof(in), NULL, NULL);
	rig_receive(&r);
	cr_expect(r.got_unique == unique && r.error == -EINTR);
	/* It may come first on another stream. */
	in.unique = r.unique + 4;
	(void)rig_send(&r, FUSE_INTERRUPT, 0, &in, sizeof(in), NULL, NULL);
	cr_expect_eq(RIG_CALL(&r, FUSE_SETLKW, f, &other, NULL), -EINTR);
}

Test(fp_ops_io, a_lock_of_the_host_is_waited_for)
{
	auto_rig struct rig r = {0};
	uint64_t fh;

	rig_start(&r, NULL);
	uint64_t f = rig_create(&r, 1, "f", 0600, &fh);
	int host = open(rig_path(&r, "f"), O_RDWR | O_CLOEXEC);
	cr_assert_eq(flock(host, LOCK_EX), 0);
	struct fuse_lk_in mine = lock_of(fh, 1, F_WRLCK, FUSE_LK_FLOCK);
	cr_expect_eq(RIG_CALL(&r, FUSE_SETLK, f, &mine, NULL), -EAGAIN);
	uint64_t unique = rig_send(&r, FUSE_SETLKW, f, &mine, sizeof(mine), NULL, NULL);
	cr_expect_eq(rig_lookup(&r, 1, "f"), f);
	(void)close(host);
	rig_receive(&r);
	cr_expect(r.got_unique == unique && r.error == 0);
}

Test(fp_ops_io, flock_ends_with_the_file)
{
	auto_rig struct rig r = {0};
	uint64_t fh;

	rig_start(&r, NULL);
	uint64_t f = rig_create(&r, 1, "f", 0600, &fh);
	struct fuse_lk_in mine = lock_of(fh, 1, F_WRLCK, FUSE_LK_FLOCK);
	cr_assert_eq(RIG_CALL(&r, FUSE_SETLK, f, &mine, NULL), 0);
	struct fuse_release_in in = {
		.fh = fh, .release_flags = FUSE_RELEASE_FLOCK_UNLOCK, .lock_owner = 1};
	cr_assert_eq(RIG_CALL(&r, FUSE_RELEASE, f, &in, NULL), 0);
	auto_close int host = open(rig_path(&r, "f"), O_RDWR | O_CLOEXEC);
	cr_expect_eq(flock(host, LOCK_EX | LOCK_NB), 0);
}
