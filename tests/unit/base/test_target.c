#include "target.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cleanup.h"

Test(target, ordinary_paths_may_be_mounted_over)
{
	static const char *const good[] = {
		"/src",     "/var/lib/scratch", "/a/...",    "/a/..b",
		"/etc/app", "/devices",         "/run/user", "/x y",
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct err err = {0};

		cr_expect_eq(target_check(good[i], &err), 0, "%s: %s", good[i], err.msg);
	}
}

Test(target, one_spelling_and_no_way_out)
{
	static const char *const bad[] = {
		"",    "src",   "/",    "//src", "/src/", "/a//b", "/a/./b", "/a/../b",
		"/..", "/a/..", "/a/.", "/a:b",  "/a,b",  "/a\nb", "/a\x7f",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = {0};

		cr_expect_eq(target_check(bad[i], &err), -EINVAL, "%s", bad[i]);
		cr_expect_eq(err.class, ERR_SPEC);
		cr_expect(strstr(err.msg, "expected an absolute path"), "%s", err.msg);
	}
}

Test(target, what_lies_in_another_overlaps_it)
{
	cr_expect(target_overlaps("/a", "/a"));
	cr_expect(target_overlaps("/a/b", "/a"));
	cr_expect(target_overlaps("/a", "/a/b/c"));
	cr_expect(!target_overlaps("/a", "/ab"));
	cr_expect(!target_overlaps("/a/b", "/a/c"));
}

Test(target, a_path_has_a_limit)
{
	char path[TARGET_MAX + 2];

	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[TARGET_MAX] = '\0';
	cr_expect_eq(target_check(path, NULL), 0);
	path[TARGET_MAX] = 'a';
	path[TARGET_MAX + 1] = '\0';
	cr_expect_eq(target_check(path, NULL), -EINVAL);
}

Test(target, what_is_the_guests_own_stays_so)
{
	static const char *const bad[] = {
		"/proc",    "/proc/x",  "/sys/fs",   "/dev",
		"/dev/shm", "/run",     "/run/fcvm", "/run/fcvm/x",
		"/images",  "/var/lib", "/var",      "/var/lib/containers/storage",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = {0};

		cr_expect_eq(target_check(bad[i], &err), -EINVAL, "%s", bad[i]);
		cr_expect(strstr(err.msg, "which is the guest's own"), "%s", err.msg);
	}
}
