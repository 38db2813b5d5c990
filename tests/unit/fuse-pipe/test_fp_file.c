#include "fp_file.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <unistd.h>

#include "cleanup.h"
#include "fp_abi.h"
#include "run.h"

struct world {
	char *dir;
	int fd;
	struct fp_inodes *inodes;
	struct fp_files *t;
};

static void begin(struct world *w, size_t max)
{
	w->dir = tmpdir_new("file");
	w->fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(fp_inodes_new(w->fd, 100, &w->inodes, NULL), 0);
	cr_assert_eq(fp_files_new(w->inodes, max, &w->t, NULL), 0);
}

static void end(struct world *w)
{
	fp_files_free(w->t);
	fp_inodes_free(w->inodes);
	cleanup_close_p(&w->fd);
	tmpdir_remove(&w->dir);
}
#define auto_world __attribute__((cleanup(end)))

static int add(struct world *w, uint64_t *ret_id)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct fp_inode *in = fp_inode_get(w->inodes, FUSE_ROOT_ID);
	int r = fp_file_add(w->t, in, fd, O_RDONLY, ret_id);

	if (r < 0) {
		fp_inode_put(w->inodes, in);
		(void)close(fd);
	}
	return r;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

Test(fp_file, a_handle_is_an_index_and_a_generation)
{
	auto_world struct world w = {0};
	uint64_t a, b;

	begin(&w, 10);
	cr_assert_eq(add(&w, &a), 0);
	cr_expect_null(fp_file_get(w.t, a & UINT32_MAX, FUSE_ROOT_ID));
	cr_expect_null(fp_file_get(w.t, a + 1, FUSE_ROOT_ID));
	cr_expect_null(fp_file_get(w.t, a, 2), "another node");
	cr_expect(fp_file_close(w.t, a));
	cr_expect_not(fp_file_close(w.t, a));
	cr_assert_eq(add(&w, &b), 0);
	cr_expect(b != a && (uint32_t)b == (uint32_t)a, "the place again, not the handle");
	cr_expect_null(fp_file_get(w.t, a, FUSE_ROOT_ID));
}

Test(fp_file, a_descriptor_is_closed_with_the_last_user)
{
	auto_world struct world w = {0};
	uint64_t id;

	begin(&w, 10);
	cr_assert_eq(add(&w, &id), 0);
	struct fp_file *f = fp_file_get(w.t, id, FUSE_ROOT_ID);
	int fd = f->fd;
	cr_expect(fp_file_close(w.t, id));
	cr_expect(is_open(fd));
	cr_expect_null(fp_file_get(w.t, id, FUSE_ROOT_ID));
	fp_file_put(w.t, f);
	cr_expect_not(is_open(fd));
}

Test(fp_file, there_is_a_limit)
{
	auto_world struct world w = {0};
	uint64_t id;

	begin(&w, 2);
	cr_expect(add(&w, &id) == 0 && add(&w, &id) == 0);
	cr_expect_eq(add(&w, &id), -ENFILE);
	cr_expect_eq(fp_files_count(w.t), 2);
	cr_expect(fp_file_close(w.t, id));
	cr_expect_eq(add(&w, &id), 0);
}

Test(fp_file, handles_of_an_earlier_process_come_back)
{
	auto_world struct world w = {0};
	const uint64_t id = 3ull << 32 | 100;
	uint64_t next;

	begin(&w, 10);
	struct fp_inode *in = fp_inode_get(w.inodes, FUSE_ROOT_ID);
	cr_assert_eq(fp_file_restore(w.t, id, in, O_RDWR), 0);
	cr_expect_eq(fp_file_restore(w.t, id, in, O_RDWR), -EEXIST);
	cr_expect_eq(fp_file_restore(w.t, 0, in, O_RDWR), -EINVAL);
	cr_expect_eq(fp_file_restore(w.t, UINT32_MAX, in, O_RDWR), -EINVAL);
	fp_files_settle(w.t);
	struct fp_file *f = fp_file_get(w.t, id, FUSE_ROOT_ID);
	cr_assert_not_null(f);
	cr_expect(f->fd == -1 && f->flags == O_RDWR);
	fp_file_put(w.t, f);
	cr_assert_eq(add(&w, &next), 0);
	cr_expect_lt((uint32_t)next, 100);
}
