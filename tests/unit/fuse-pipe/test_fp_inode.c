#include "fp_inode.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "fp_abi.h"
#include "hooks.h"
#include "rig.h"
#include "run.h"
#include "xalloc.h"

struct world {
	char *dir;
	int fd;
	struct fp_inodes *t;
};

static void end(struct world *w)
{
	fp_inodes_free(w->t);
	cleanup_close_p(&w->fd);
	tmpdir_remove(&w->dir);
}
#define auto_world __attribute__((cleanup(end)))

static void begin(struct world *w, size_t hot_max)
{
	w->dir = tmpdir_new("inode");
	w->fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(w->fd, 0);
	cr_assert_eq(fp_inodes_new(w->fd, hot_max, &w->t, NULL), 0);
}

static void make(const struct world *w, const char *name)
{
	int fd = openat(w->fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	(void)close(fd);
}

static uint64_t add(const struct world *w, const char *name, bool *ret_new)
{
	int fd = openat(w->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct fp_inode *in = NULL;
	struct stat st;
	bool is_new;

	cr_assert(fd >= 0 && fstat(fd, &st) == 0);
	cr_assert_eq(fp_inode_add(w->t, fd, &st, FUSE_ROOT_ID, name, &in, &is_new), 0);
	if (ret_new)
		*ret_new = is_new;
	uint64_t id = in->id;
	fp_inode_put(w->t, in);
	return id;
}

/* Descriptor of a node, or why there is none. */
static int fd_of(const struct world *w, uint64_t id)
{
	struct fp_inode *in = fp_inode_get(w->t, id);

	if (!in)
		return -ESRCH;
	int fd = fp_inode_fd(w->t, in);
	fp_inode_put(w->t, in);
	return fd;
}

static void need_handles(void)
{
	if (geteuid() != 0)
		cr_skip_test("needs root: opens files by handle");
}

Test(fp_inode, two_names_of_one_inode_are_one_node)
{
	auto_world struct world w = {0};
	bool is_new;

	begin(&w, 100);
	make(&w, "a");
	cr_assert_eq(linkat(w.fd, "a", w.fd, "b", 0), 0);
	make(&w, "c");
	uint64_t a = add(&w, "a", &is_new);
	cr_expect(is_new);
	cr_expect_eq(add(&w, "b", &is_new), a);
	cr_expect_not(is_new);
	cr_expect_neq(add(&w, "c", NULL), a);
	cr_expect_eq(fp_inodes_count(w.t).known, 3);
}

Test(fp_inode, only_a_hot_node_is_known_by_its_number)
{
	auto_world struct world w = {0};
	struct stat st;

	rig_need_root();
	begin(&w, 100);
	make(&w, "f");
	cr_assert_eq(fstatat(w.fd, "f", &st, 0), 0);
	cr_expect_null(fp_inode_add_hot(w.t, st.st_dev, st.st_ino));
	uint64_t id = add(&w, "f", NULL);
	struct fp_inode *in = fp_inode_add_hot(w.t, st.st_dev, st.st_ino);
	cr_assert(in && in->id == id);
	fp_inode_put(w.t, in);
	cr_expect_not(fp_inode_forget(w.t, id, 1), "it was looked up twice");
	cr_expect_null(fp_inode_add_hot(w.t, st.st_dev + 1, st.st_ino));
	cr_expect(fp_inode_forget(w.t, id, 1));
	cr_expect_null(fp_inode_add_hot(w.t, st.st_dev, st.st_ino));
}

Test(fp_inode, forged_ids_are_nobody)
{
	auto_world struct world w = {0};

	begin(&w, 100);
	make(&w, "a");
	uint64_t a = add(&w, "a", NULL);
	const uint64_t forged[] = {0,     2,          UINT64_MAX,     a + (1ull << 32),
				   a + 1, a & 0xffff, a ^ 1ull << 31, FUSE_ROOT_ID + (1ull << 32)};
	for (size_t i = 0; i < ARRAY_SIZE(forged); i++)
		cr_expect_eq(fd_of(&w, forged[i]), -ESRCH, "%zu", i);
	cr_expect_geq(fd_of(&w, FUSE_ROOT_ID), 0);
}

Test(fp_inode, a_forgotten_node_is_gone_and_its_id_is_not_used_again)
{
	auto_world struct world w = {0};

	begin(&w, 100);
	make(&w, "a");
	uint64_t a = add(&w, "a", NULL);
	cr_expect_eq(add(&w, "a", NULL), a);
	cr_expect_not(fp_inode_forget(w.t, a, 1));
	cr_expect_geq(fd_of(&w, a), 0);
	cr_expect(fp_inode_forget(w.t, a, 1));
	cr_expect_eq(fd_of(&w, a), -ESRCH);
	cr_expect_not(fp_inode_forget(w.t, a, 1), "twice");
	cr_expect_neq(add(&w, "a", NULL), a);
}

Test(fp_inode, forgetting_too_much_or_the_root_does_no_harm)
{
	auto_world struct world w = {0};

	begin(&w, 100);
	make(&w, "a");
	uint64_t a = add(&w, "a", NULL);
	cr_expect(fp_inode_forget(w.t, a, UINT64_MAX));
	(void)fp_inode_forget(w.t, FUSE_ROOT_ID, UINT64_MAX);
	cr_expect_geq(fd_of(&w, FUSE_ROOT_ID), 0);
	cr_expect_eq(fp_inodes_count(w.t).known, 1);
}

/* Over streams the guest may hear of the end of a record after that of a new one: not of one key.
 */
Test(fp_inode, a_node_in_use_outlives_its_forget_but_is_not_found_again)
{
	auto_world struct world w = {0};
	bool is_new = false;

	begin(&w, 100);
	make(&w, "a");
	struct fp_inode *in = fp_inode_get(w.t, add(&w, "a", NULL));
	cr_expect(fp_inode_forget(w.t, in->id, 1));
	cr_expect_geq(fp_inode_fd(w.t, in), 0);
	uint64_t next = add(&w, "a", &is_new);
	cr_expect(is_new && next != in->id);
	fp_inode_put(w.t, in);
	cr_expect_eq(fp_inodes_count(w.t).known, 2);
	cr_expect_eq(add(&w, "a", &is_new), next);
	cr_expect_not(is_new);
}

Test(fp_inode, descriptors_stay_within_the_limit_and_cold_nodes_come_back)
{
	auto_world struct world w = {0};
	uint64_t ids[64];
	char name[16];

	need_handles();
	begin(&w, 8);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		(void)snprintf(name, sizeof(name), "f%zu", i);
		make(&w, name);
		ids[i] = add(&w, name, NULL);
		cr_expect_leq(fp_inodes_count(w.t).hot, 9);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		struct stat st, want;
		int fd = fd_of(&w, ids[i]);

		(void)snprintf(name, sizeof(name), "f%zu", i);
		cr_assert_geq(fd, 0);
		cr_expect(fstat(fd, &st) == 0 && fstatat(w.fd, name, &want, 0) == 0);
		cr_expect_eq(st.st_ino, want.st_ino);
		cr_expect_leq(fp_inodes_count(w.t).hot, 9);
	}
}

Test(fp_inode, a_cold_node_whose_file_is_gone_is_stale)
{
	auto_world struct world w = {0};

	need_handles();
	begin(&w, 1);
	make(&w, "a");
	make(&w, "b");
	uint64_t a = add(&w, "a", NULL);
	(void)add(&w, "b", NULL);
	cr_assert_eq(unlinkat(w.fd, "a", 0), 0);
	sync(); /* the last reference of the kernel's own */
	cr_expect_eq(fd_of(&w, a), -ESTALE);
}

/* An inode number that is used again while nothing held the first file. */
Test(fp_inode, the_handle_tells_an_old_file_from_a_new_one_with_its_number)
{
	auto_world struct world w = {0};
	struct fp_place old = {0};
	struct stat st;

	need_handles();
	begin(&w, 100);
	make(&w, "a");
	int fd = openat(w.fd, "a", O_PATH | O_CLOEXEC);
	cr_assert(fstat(fd, &st) == 0 && fp_handle_of(fd, &old.handle) == 0);
	(void)close(fd);
	old.handle.data[old.handle.bytes - 1] ^= 1; /* another generation */
	const uint64_t id = 7ull << 32 | 5;
	cr_assert_eq(fp_inode_restore(w.t, id, &st, &old), 0);
	bool is_new = false;
	cr_expect_neq(add(&w, "a", &is_new), id);
	cr_expect(is_new);
	cr_expect_eq(fd_of(&w, id), -ESTALE);
}

Test(fp_inode, a_node_of_an_earlier_process_comes_back_under_its_id)
{
	auto_world struct world w = {0};
	struct fp_place h = {0};
	struct stat st;
	const uint64_t id = 7ull << 32 | 5;

	need_handles();
	begin(&w, 100);
	make(&w, "a");
	int fd = openat(w.fd, "a", O_PATH | O_CLOEXEC);
	cr_assert(fstat(fd, &st) == 0 && fp_handle_of(fd, &h.handle) == 0);
	(void)close(fd);
	cr_assert_eq(fp_inode_restore(w.t, id, &st, &h), 0);
	cr_expect_eq(fp_inode_restore(w.t, id, &st, &h), -EEXIST);
	cr_expect_eq(fp_inode_restore(w.t, FUSE_ROOT_ID, &st, &h), -EEXIST);
	cr_expect_eq(fp_inode_restore(w.t, UINT32_MAX, &st, &h), -EINVAL);
	fp_inodes_settle(w.t);
	cr_expect_eq(add(&w, "a", NULL), id, "found, not made again");
	cr_expect_geq(fd_of(&w, id), 0);
	/* What it owed before is not known: one lookup more than this process counted ends it. */
	cr_expect_not(fp_inode_forget(w.t, id, 1));
	cr_expect(fp_inode_forget(w.t, id, 3));
	cr_expect_eq(fd_of(&w, id), -ESRCH);
}

static const uint64_t old_id = 7ull << 32 | 5;

/* A node of an earlier process, looked up in this one: its descriptor is open. */
static void begin_restored(struct world *w)
{
	struct fp_place h = {0};
	struct stat st;

	begin(w, 100);
	make(w, "a");
	auto_close int fd = openat(w->fd, "a", O_PATH | O_CLOEXEC);
	cr_assert(fstat(fd, &st) == 0 && fp_handle_of(fd, &h.handle) == 0);
	cr_assert_eq(fp_inode_restore(w->t, old_id, &st, &h), 0);
	fp_inodes_settle(w->t);
	atomic_store(&hooks_now_ms, 100000);
	cr_assert_eq(add(w, "a", NULL), old_id);
}

/* The kernel forgot it, then was told of it again, over a stream that was back sooner perhaps. */
Test(fp_inode, a_restored_node_outlives_a_forget_that_crossed_a_lookup_and_no_other)
{
	static const struct {
		uint64_t ready_ms, forget_ms;
		bool kept;
	} cases[] = {{90000, 100999, true},
		     {90000, 101000, false},
		     {105000, 105999, true},
		     {105000, 106000, false}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_world struct world w = {0};

		begin_restored(&w);
		atomic_store(&hooks_now_ms, cases[i].ready_ms);
		fp_inodes_ready(w.t);
		atomic_store(&hooks_now_ms, cases[i].forget_ms);
		cr_expect_neq(fp_inode_forget(w.t, old_id, 5), cases[i].kept, "%zu", i);
		cr_expect_eq(fd_of(&w, old_id) >= 0, cases[i].kept, "%zu", i);
		cr_expect_eq(fp_inode_forget(w.t, old_id, 1), cases[i].kept, "%zu: exact", i);
	}
}

/* Looked up, removed and forgotten at once: its blocks must not stay. */
Test(fp_inode, a_restored_node_without_a_name_ends_at_once)
{
	auto_world struct world w = {0};

	begin_restored(&w);
	cr_assert_eq(unlinkat(w.fd, "a", 0), 0);
	cr_expect(fp_inode_forget(w.t, old_id, 5));
	cr_expect_eq(fd_of(&w, old_id), -ESRCH);
}

/* Nor when it was kept before. */
Test(fp_inode, a_node_that_may_have_been_kept_for_nothing_ends_with_its_name)
{
	auto_world struct world w = {0};

	begin_restored(&w);
	cr_assert_not(fp_inode_forget(w.t, old_id, 5));
	cr_assert_eq(add(&w, "a", NULL), old_id);
	cr_assert_eq(unlinkat(w.fd, "a", 0), 0);
	cr_expect(fp_inode_forget(w.t, old_id, 1));
	cr_expect_eq(fd_of(&w, old_id), -ESRCH);
}

Test(fp_inode, a_lookup_by_number_crosses_a_forget_as_well)
{
	auto_world struct world w = {0};
	struct stat st;

	need_handles();
	begin_restored(&w);
	cr_assert_eq(fstatat(w.fd, "a", &st, 0), 0);
	atomic_store(&hooks_now_ms, 200000);
	struct fp_inode *in = fp_inode_add_hot(w.t, st.st_dev, st.st_ino);
	cr_assert_not_null(in);
	fp_inode_put(w.t, in);
	cr_expect_not(fp_inode_forget(w.t, old_id, 5));
	cr_expect(fp_inode_forget(w.t, old_id, 2));
}

/* Records of both may come back: of one file that is gone and of one that has its number now. */
Test(fp_inode, behind_an_old_file_the_new_one_with_its_number_is_found)
{
	auto_world struct world w = {0};
	struct fp_place now = {0};
	struct stat st;
	const uint64_t id = 7ull << 32 | 5;

	need_handles();
	begin(&w, 100);
	make(&w, "a");
	int fd = openat(w.fd, "a", O_PATH | O_CLOEXEC);
	cr_assert(fstat(fd, &st) == 0 && fp_handle_of(fd, &now.handle) == 0);
	(void)close(fd);
	struct fp_place old = now;
	old.handle.data[old.handle.bytes - 1] ^= 1;
	cr_assert_eq(fp_inode_restore(w.t, id, &st, &now), 0);
	cr_assert_eq(fp_inode_restore(w.t, id + 1, &st, &old), 0);
	fp_inodes_settle(w.t);
	cr_expect_eq(add(&w, "a", NULL), id);
	cr_expect_eq(fd_of(&w, id + 1), -ESTALE);
}

Test(fp_inode, ids_between_restored_ones_are_used)
{
	auto_world struct world w = {0};
	struct fp_place h = {0};
	struct stat st;

	begin(&w, 100);
	make(&w, "a");
	make(&w, "b");
	int fd = openat(w.fd, "a", O_PATH | O_CLOEXEC);
	cr_assert(fstat(fd, &st) == 0 && fp_handle_of(fd, &h.handle) == 0);
	(void)close(fd);
	cr_assert_eq(fp_inode_restore(w.t, 9ull << 32 | 1000, &st, &h), 0);
	fp_inodes_settle(w.t);
	cr_expect_lt((uint32_t)add(&w, "b", NULL), 1000);
}

/* --- where handles cannot be opened, names are places --- */

static void become_nobody(void)
{
	if (geteuid() == 0 && (setresgid(4711, 4711, 4711) < 0 || setresuid(4711, 4711, 4711) < 0))
		cr_skip_test("cannot become another user");
}

static void make_dir(const struct world *w, const char *name)
{
	cr_assert_eq(mkdirat(w->fd, name, 0700), 0);
}

/* A file in a directory of the root. */
static uint64_t add_in(const struct world *w, uint64_t dir, const char *dir_name, const char *name)
{
	auto_free char *path = path_join(dir_name, name);
	int fd = openat(w->fd, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct fp_inode *in = NULL;
	struct stat st;
	bool is_new;

	cr_assert(fd >= 0 && fstat(fd, &st) == 0);
	cr_assert_eq(fp_inode_add(w->t, fd, &st, dir, name, &in, &is_new), 0);
	uint64_t id = in->id;
	fp_inode_put(w->t, in);
	return id;
}

static void make_cold(const struct world *w)
{
	make(w, "x1");
	make(w, "x2");
	(void)add(w, "x1", NULL);
	(void)add(w, "x2", NULL);
}

Test(fp_inode, without_handles_a_cold_node_is_found_by_name)
{
	auto_world struct world w = {0};
	struct stat st, want;

	become_nobody();
	begin(&w, 1);
	make_dir(&w, "d");
	make(&w, "d/f");
	uint64_t d = add(&w, "d", NULL), f = add_in(&w, d, "d", "f");
	make_cold(&w);
	cr_expect_leq(fp_inodes_count(w.t).hot, 2);
	int fd = fd_of(&w, f);
	cr_assert_geq(fd, 0);
	cr_expect(fstat(fd, &st) == 0 && fstatat(w.fd, "d/f", &want, 0) == 0);
	cr_expect_eq(st.st_ino, want.st_ino);
}

Test(fp_inode, without_handles_another_file_under_the_name_is_not_taken_for_it)
{
	auto_world struct world w = {0};

	become_nobody();
	begin(&w, 1);
	make(&w, "f");
	uint64_t f = add(&w, "f", NULL);
	make_cold(&w);
	make(&w, "other");
	cr_assert_eq(renameat(w.fd, "other", w.fd, "f"), 0);
	cr_expect_eq(fd_of(&w, f), -ESTALE);
}

Test(fp_inode, without_handles_a_moved_node_is_followed_when_it_is_told_of)
{
	auto_world struct world w = {0};
	struct stat st;

	become_nobody();
	begin(&w, 1);
	make_dir(&w, "d");
	make(&w, "f");
	uint64_t d = add(&w, "d", NULL), f = add(&w, "f", NULL);
	cr_assert_eq(renameat(w.fd, "f", w.fd, "d/g"), 0);
	cr_assert_eq(fstatat(w.fd, "d/g", &st, 0), 0);
	struct fp_inode *in = fp_inode_moved(w.t, &st, d, "g");
	cr_assert(in && in->id == f);
	fp_inode_put(w.t, in);
	make_cold(&w);
	cr_expect_geq(fd_of(&w, f), 0);
}

Test(fp_inode, without_handles_a_place_outlives_the_process)
{
	auto_world struct world w = {0};
	struct fp_place place;
	struct stat st;

	become_nobody();
	begin(&w, 100);
	make(&w, "f");
	struct fp_inode *in = fp_inode_get(w.t, add(&w, "f", NULL));
	cr_assert_eq(fp_inode_place(w.t, in, &place), 0);
	cr_expect(place.by_name && place.parent == FUSE_ROOT_ID);
	cr_expect_str_eq(place.name, "f");
	cr_assert_eq(fstat(fp_inode_fd(w.t, in), &st), 0);
	fp_inode_put(w.t, in);
	fp_inodes_free(w.t);
	cr_assert_eq(fp_inodes_new(w.fd, 100, &w.t, NULL), 0);
	const uint64_t id = 7ull << 32 | 5;
	cr_assert_eq(fp_inode_restore(w.t, id, &st, &place), 0);
	cr_expect_geq(fd_of(&w, id), 0);
}
