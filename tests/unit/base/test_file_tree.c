/* file_remove_tree() by an ordinary user; test_file.c has the rest. */
#include "file.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "user.h"
#include "xalloc.h"

static void put(const char *path, const char *text)
{
	cr_assert_eq(file_replace(path, text, strlen(text), 0600, NULL), 0);
}

/* A container image has directories that not even their owner may write. */
Test(file_remove_tree, a_user_removes_directories_that_were_closed_to_them)
{
	static const mode_t modes[] = {0500, 0300, 0000, 0700};
	auto_user struct user u = {0};
	struct err err = {0};

	user_make(&u, "base-tree");
	user_become(&u);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		auto_free char *tree = path_join(u.home, "tree");
		auto_free char *sub = path_join(tree, "shut");
		auto_free char *file = path_join(sub, "file");

		cr_assert_eq(file_mkdir_p(sub, 0700, NULL), 0);
		put(file, "x");
		cr_assert_eq(chmod(sub, modes[i]), 0);
		cr_expect_eq(file_remove_tree(tree, &err), 0, "%o: %s", modes[i], err.msg);
		cr_expect_not(file_exists(tree));
	}
}

static int remove_anothers(void *data)
{
	struct err err = {0};
	int r = file_remove_tree(data, &err);

	(void)dprintf(STDOUT_FILENO, "%s", err.msg);
	return r == -EACCES ? 0 : -1;
}

Test(file_remove_tree, anothers_closed_directory_stays_and_is_named)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(4096);

	user_make(&u, "base-tree");
	auto_free char *tree = path_join(u.home, "tree");
	auto_free char *sub = path_join(tree, "shut");
	auto_free char *file = path_join(sub, "file");
	auto_free char *want = xasprintf("cannot remove '%s': 'shut': Permission denied", tree);

	cr_assert_eq(file_mkdir_p(sub, 0700, NULL), 0);
	cr_assert_eq(chown(tree, u.uid, u.uid), 0);
	put(file, "x");
	user_call(&u, remove_anothers, tree, &out);
	cr_expect_str_eq(buf_str(&out), want);
}
