#include "fp_saved.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "rig.h"

/* A guest with a file open, and its records of that. */
struct held {
	struct rig r;
	struct buf records;
	uint16_t n;
	uint64_t node, fh;
	int saved; /* what the snapshot has */
};

static void held_end(struct held *h)
{
	rig_stop(&h->r);
	buf_free(&h->records);
	cleanup_close_p(&h->saved);
}
#define auto_held __attribute__((cleanup(held_end)))

static void hold(struct held *h)
{
	*h = (struct held){.r = {.keeps_records = true},
			   .records = BUF_INIT(FP_TRAILER_MAX),
			   .saved = memfd_create("saved", MFD_CLOEXEC)};
	rig_need_root();
	rig_start(&h->r, NULL);
	h->node = rig_create(&h->r, 1, "f", 0640, &h->fh);
	h->n = rig_collect(&h->r, &h->records);
}

/* As around a snapshot. */
static void snapshot(struct held *h)
{
	struct err err = {0};

	cr_assert_eq(fp_server_drain(h->r.server, deadline_in(60000)), 0);
	cr_assert_eq(fp_server_save(h->r.server, h->saved, &err), 0, "%s", err.msg);
}

static void restore(struct held *h)
{
	h->r.opt.saved_fd = fcntl(h->saved, F_DUPFD_CLOEXEC, 3);
	rig_come_back(&h->r, &h->records, h->n);
	h->r.opt.saved_fd = 0;
}

static off_t saved_size(const struct held *h)
{
	struct stat st = {0};

	cr_assert_eq(fstat(h->saved, &st), 0);
	return st.st_size;
}

static int put(struct held *h, uint64_t offset, const char *text)
{
	struct {
		struct fuse_write_in in;
		char data[64];
	} w = {.in = {.fh = h->fh, .offset = offset, .size = (uint32_t)strlen(text)}};

	memcpy(w.data, text, strlen(text));
	return rig_call(&h->r, FUSE_WRITE, h->node, &w, sizeof(w.in) + strlen(text), NULL, NULL);
}

static int get(struct held *h, uint64_t offset, uint32_t size)
{
	struct fuse_read_in in = {.fh = h->fh, .offset = offset, .size = size};

	return RIG_CALL(&h->r, FUSE_READ, h->node, &in, NULL);
}

static bool got(const struct held *h, const char *text)
{
	return h->r.out_len == strlen(text) && memcmp(h->r.out, text, h->r.out_len) == 0;
}

static int lock(struct held *h, uint64_t owner, uint32_t type, uint64_t start, uint64_t end,
		bool flock)
{
	const struct fuse_lk_in in = {.fh = h->fh,
				      .owner = owner,
				      .lk_flags = flock ? FUSE_LK_FLOCK : 0,
				      .lk = {.start = start, .end = end, .type = type, .pid = 7}};

	return RIG_CALL(&h->r, FUSE_SETLK, h->node, &in, NULL);
}

/* Of somebody on the host: 0, or the errno. */
static int lock_outside(struct held *h, short type, off_t start, off_t len)
{
	int fd = open(rig_path(&h->r, "f"), O_RDWR | O_CLOEXEC);
	struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
	int code = fcntl(fd, F_OFD_SETLK, &fl) < 0 ? errno : 0;

	(void)close(fd);
	return code;
}

Test(fp_saved, with_nothing_to_save_nothing_is_written)
{
	auto_held struct held h;

	hold(&h);
	snapshot(&h);
	cr_expect_eq(saved_size(&h), 0);
}

static void unlink_held(struct held *h)
{
	cr_assert_eq(rig_call(&h->r, FUSE_UNLINK, 1, NULL, 0, "f", NULL), 0);
}

Test(fp_saved, an_open_file_without_a_name_is_there_with_all_it_had)
{
	const struct timespec times[2] = {{1000, 5}, {2000, 6}};
	auto_held struct held h;
	struct fuse_getattr_in attr = {0};

	hold(&h);
	cr_assert_eq(put(&h, 0, "head"), 0);
	cr_assert_eq(put(&h, 1 << 20, "tail"), 0);
	cr_assert_eq(chown(rig_path(&h.r, "f"), 1001, 1002), 0);
	cr_assert_eq(utimensat(AT_FDCWD, rig_path(&h.r, "f"), times, 0), 0);
	unlink_held(&h);
	snapshot(&h);
	cr_expect_gt(saved_size(&h), 0);
	restore(&h);
	cr_assert_eq(RIG_CALL(&h.r, FUSE_GETATTR, h.node, &attr, NULL), 0);
	const struct fuse_attr *a = &((const struct fuse_attr_out *)(const void *)h.r.out)->attr;
	cr_expect_eq(a->size, (1 << 20) + 4);
	cr_expect_eq(a->mode, S_IFREG | 0640);
	cr_expect(a->uid == 1001 && a->gid == 1002 && a->nlink == 0);
	cr_expect(a->mtime == 2000 && a->mtimensec == 6);
	cr_expect_lt(a->blocks, 64, "a hole stays one");
	cr_expect_eq(get(&h, 1 << 20, 100), 0);
	cr_expect(got(&h, "tail"));
	cr_expect_eq(get(&h, 0, 4), 0);
	cr_expect(got(&h, "head"));
	cr_expect_eq(put(&h, 4, "more"), 0, "through the old handle");
	cr_expect_eq(get(&h, 0, 8), 0);
	cr_expect(got(&h, "headmore"));
}

/* What one clone writes into it no other one reads. */
Test(fp_saved, every_clone_has_a_content_of_its_own)
{
	auto_held struct held h;

	hold(&h);
	cr_assert_eq(put(&h, 0, "at the snapshot"), 0);
	unlink_held(&h);
	snapshot(&h);
	restore(&h);
	cr_expect_eq(put(&h, 0, "XX"), 0);
	restore(&h);
	cr_expect_eq(get(&h, 0, 100), 0);
	cr_expect(got(&h, "at the snapshot"));
}

Test(fp_saved, after_a_crash_and_where_nothing_may_be_made_it_is_stale)
{
	auto_held struct held h;

	hold(&h);
	unlink_held(&h);
	snapshot(&h);
	restore(&h);
	rig_come_back(&h.r, &h.records, h.n);
	cr_expect_eq(get(&h, 0, 4), -ESTALE, "the clone's server died");
	h.r.opt.volume.read_only = true;
	restore(&h);
	cr_expect_eq(get(&h, 0, 4), -ESTALE);
}

Test(fp_saved, locks_are_taken_again_part_by_part)
{
	auto_held struct held h;

	hold(&h);
	cr_assert_eq(lock(&h, 1, F_WRLCK, 0, 9, false), 0);
	cr_assert_eq(lock(&h, 1, F_RDLCK, 20, 29, false), 0);
	cr_assert_eq(lock(&h, 1, F_UNLCK, 5, 9, false), 0);
	cr_assert_eq(lock(&h, 2, F_RDLCK, 100, INT64_MAX, false), 0);
	snapshot(&h);
	restore(&h);
	cr_expect_eq(lock_outside(&h, F_RDLCK, 0, 5), EAGAIN);
	cr_expect_eq(lock_outside(&h, F_WRLCK, 5, 15), 0, "was unlocked");
	cr_expect_eq(lock_outside(&h, F_RDLCK, 20, 10), 0, "is shared");
	cr_expect_eq(lock_outside(&h, F_WRLCK, 29, 1), EAGAIN);
	cr_expect_eq(lock_outside(&h, F_WRLCK, 1 << 20, 1), EAGAIN, "to the end of files");
	cr_expect_eq(lock(&h, 1, F_UNLCK, 0, 4, false), 0, "by its owner");
	cr_expect_eq(lock_outside(&h, F_WRLCK, 0, 5), 0);
	cr_expect_eq(put(&h, 0, "fine"), 0);
}

Test(fp_saved, a_flock_is_taken_again)
{
	auto_held struct held h;

	hold(&h);
	cr_assert_eq(lock(&h, 5, F_WRLCK, 0, INT64_MAX, true), 0);
	snapshot(&h);
	restore(&h);
	auto_close int fd = open(rig_path(&h.r, "f"), O_RDWR | O_CLOEXEC);
	cr_expect_eq(flock(fd, LOCK_SH | LOCK_NB), -1);
	cr_expect_eq(errno, EWOULDBLOCK);
	cr_expect_eq(lock(&h, 5, F_UNLCK, 0, INT64_MAX, true), 0);
	cr_expect_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
}

Test(fp_saved, who_lost_its_lock_gets_EIO_until_it_closes)
{
	auto_held struct held h;
	struct fuse_fsync_in sync = {0};
	struct fuse_release_in release = {0};

	hold(&h);
	cr_assert_eq(lock(&h, 1, F_RDLCK, 50, 59, false), 0);
	cr_assert_eq(lock(&h, 1, F_WRLCK, 0, 9, false), 0);
	snapshot(&h);
	/* Somebody takes a part of it between snapshot and restore. */
	auto_close int fd = open(rig_path(&h.r, "f"), O_RDWR | O_CLOEXEC);
	struct flock fl = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 3, .l_len = 1};
	rig_end_server(&h.r);
	cr_assert_eq(fcntl(fd, F_OFD_SETLK, &fl), 0);
	restore(&h);
	cr_expect_eq(get(&h, 0, 4), -EIO);
	cr_expect_eq(put(&h, 0, "x"), -EIO);
	sync.fh = h.fh;
	cr_expect_eq(RIG_CALL(&h.r, FUSE_FSYNC, h.node, &sync, NULL), -EIO);
	cr_expect_eq(lock_outside(&h, F_WRLCK, 50, 10), 0, "the rest of its lock is gone, too");
	release.fh = h.fh;
	cr_expect_eq(RIG_CALL(&h.r, FUSE_RELEASE, h.node, &release, NULL), 0);
	h.fh = rig_open(&h.r, h.node, O_RDWR);
	cr_expect_eq(put(&h, 0, "x"), 0, "another open file is fine");
}

Test(fp_saved, another_mount_gets_nothing_of_it)
{
	auto_held struct held h;

	hold(&h);
	cr_assert_eq(lock(&h, 1, F_WRLCK, 0, INT64_MAX, false), 0);
	snapshot(&h);
	h.r.session[0] ^= 1;
	restore(&h);
	cr_expect_eq(lock_outside(&h, F_WRLCK, 0, 0), 0);
}

Test(fp_saved, what_is_damaged_is_refused)
{
	static const struct {
		off_t at;
		uint8_t value[4];
	} damages[] = {
		{0, {0}},                       /* not ours */
		{8, {0xff, 0xff, 0xff, 0x7f}},  /* files */
		{8, {0, 0, 0, 0x04}},           /* files, whose length is 0 in 32 bits */
		{12, {0xff, 0xff, 0xff, 0x7f}}, /* locks */
		{16 + 44, {9, 0, 0, 0}},        /* type of a lock */
		{16 + 28, {0, 0, 0, 0x80}},     /* before the beginning */
	};
	auto_held struct held h;

	hold(&h);
	cr_assert_eq(lock(&h, 1, F_WRLCK, 8, 9, false), 0);
	snapshot(&h);
	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		uint8_t was[4];

		cr_assert_eq(pread(h.saved, was, 4, damages[i].at), 4);
		cr_assert_eq(pwrite(h.saved, damages[i].value, 4, damages[i].at), 4);
		restore(&h);
		cr_expect_eq(lock_outside(&h, F_WRLCK, 0, 0), 0, "%zu", i);
		cr_expect_eq(put(&h, 0, "x"), 0, "%zu: it serves", i);
		cr_assert_eq(pwrite(h.saved, was, 4, damages[i].at), 4);
	}
	restore(&h);
	cr_expect_eq(lock_outside(&h, F_WRLCK, 0, 0), EAGAIN, "undamaged");
}
