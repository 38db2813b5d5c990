#include "volstate.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "run.h"

static int state_of(const char *text)
{
	int fd = memfd_create("state", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(pwrite(fd, text, strlen(text), 0), (ssize_t)strlen(text));
	return fd;
}

static void put(struct buf *out, const char *target, const struct volstate_source *source,
		uint64_t saved, const char *text)
{
	auto_close int fd = state_of(text);
	struct err err = {0};

	cr_assert_eq(volstate_put(out, target, source, fd, saved, &err), 0, "%s", err.msg);
}

Test(volstate, each_target_gets_its_own_back_and_knows_whose_it_was)
{
	auto_buf struct buf file = BUF_INIT(VOLSTATE_MAX);
	const struct volstate_source a = {1, 2, 3}, b = {1, 3, 3};
	static const struct {
		const char *target;
		struct volstate_source source;
		int found;
		bool same;
		uint64_t saved;
		const char *text;
	} cases[] = {
		{"/a", {1, 2, 3}, 1, true, 7, "state of a"},  {"/b", {1, 3, 3}, 1, true, 0, "b"},
		{"/a", {1, 3, 3}, 1, false, 7, "state of a"}, /* another directory */
		{"/a", {1, 2, 4}, 1, false, 7, "state of a"}, /* its number, given out again */
		{"/c", {1, 2, 3}, 0, false, 0, "untouched"},
	};

	put(&file, "/a", &a, 7, "state of a");
	put(&file, "/b", &b, 0, "b");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_close int fd = state_of("untouched");
		char text[64] = "";
		struct volstate_found found = {0};
		struct err err = {0};

		cr_expect_eq(
			volstate_take(&file, cases[i].target, &cases[i].source, fd, &found, &err),
			cases[i].found, "%s", err.msg);
		cr_expect_eq(found.same, cases[i].same, "case %zu", i);
		cr_expect_eq(found.saved, cases[i].saved, "case %zu", i);
		cr_expect_geq(pread(fd, text, sizeof(text) - 1, 0), 0);
		cr_expect_str_eq(text, cases[i].text);
	}
}

Test(volstate, a_damaged_file_is_refused)
{
	auto_buf struct buf file = BUF_INIT(VOLSTATE_MAX);
	const struct volstate_source a = {1, 2, 3};
	auto_close int fd = state_of("untouched");
	struct volstate_found found = {0};
	struct err err = {0};

	put(&file, "/a", &a, 7, "state of a");
	file.len -= 3;
	cr_expect_eq(volstate_take(&file, "/a", &a, fd, &found, &err), -EBADMSG);
	cr_expect_not_null(strstr(err.msg, VOLSTATE_FILE), "%s", err.msg);
}

Test(volstate, a_directory_is_itself_after_a_rename_and_no_other)
{
	auto_tmpdir char *dir = tmpdir_new("volstate");
	auto_free char *a = path_join(dir, "a"), *b = path_join(dir, "b");
	struct volstate_source before, after, other;
	struct err err = {0};

	cr_assert_eq(mkdir(a, 0755), 0);
	cr_assert_eq(volstate_look(a, &before, &err), 0, "%s", err.msg);
	cr_assert_eq(rename(a, b), 0);
	cr_assert_eq(mkdir(a, 0755), 0);
	cr_assert_eq(volstate_look(b, &after, NULL), 0);
	cr_assert_eq(volstate_look(a, &other, NULL), 0);
	cr_expect_eq(memcmp(&before, &after, sizeof(before)), 0);
	cr_expect_neq(memcmp(&before, &other, sizeof(before)), 0);
	cr_assert_eq(rmdir(a), 0);
	cr_expect_eq(volstate_look(a, &other, &err), -ENOENT);
}
