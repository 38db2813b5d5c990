#include "seal.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "image_test.h"
#include "xalloc.h"

static void digest(const char *tree, char ret[DIGEST_HEX_SIZE])
{
	struct err err = {0};

	cr_assert_eq(seal_digest_tree(tree, ret, &err), 0, "%s", err.msg);
}

/* Each case adds to those before it. */
Test(seal_attributes, the_digest_of_a_tree_sees_them_on_files_and_directories)
{
	static const struct {
		const char *name, *attribute, *value;
	} cases[] = {
		{"d/file", "user.b", "1"}, {"d/file", "user.b", "2"}, {"d/file", "user.b", ""},
		{"d/file", "user.a", "1"}, {"d", "user.a", "1"},
	};
	auto_fixture struct fixture f = fixture_new();
	auto_free char *tree = path_join(f.dir, "tree");
	char before[DIGEST_HEX_SIZE], after[DIGEST_HEX_SIZE];

	put_text(tree, "d/file", "1");
	digest(tree, before);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *path = path_join(tree, cases[i].name);

		if (setxattr(path, cases[i].attribute, cases[i].value, strlen(cases[i].value), 0) <
		    0)
			cr_skip_test("/tmp keeps no user attributes");
		digest(tree, after);
		cr_expect_str_neq(before, after, "case %zu", i);
		memcpy(before, after, sizeof(before));
	}
}

Test(seal_attributes, the_order_in_which_they_were_set_is_no_difference)
{
	static const char *const names[][2] = {{"user.a", "user.b"}, {"user.b", "user.a"}};
	char digests[2][DIGEST_HEX_SIZE];

	for (size_t i = 0; i < 2; i++) {
		auto_fixture struct fixture f = fixture_new();
		auto_free char *tree = path_join(f.dir, "tree");
		auto_free char *file = path_join(tree, "file");

		put_text(tree, "file", "1");
		for (size_t n = 0; n < 2; n++)
			if (setxattr(file, names[i][n], "1", 1, 0) < 0)
				cr_skip_test("/tmp keeps no user attributes");
		digest(tree, digests[i]);
	}
	cr_expect_str_eq(digests[0], digests[1]);
}
