#include "assets.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "image_test.h"
#include "json.h"
#include "pins.h"
#include "rootfs_build.h"
#include "seal.h"
#include "xalloc.h"

/* Large enough for every magic; ext4's lies at 1080. */
static void put_image(const struct fixture *f, const char *name, size_t at, const char *magic)
{
	char image[2048] = {0};

	for (size_t i = 0; magic[i]; i++)
		image[at + i] = magic[i];
	put_file(f->dir, name, image, sizeof(image));
}

Test(rootfs, an_image_given_by_path_is_taken_into_the_cache_by_its_content)
{
	static const struct {
		const char *fstype, *magic;
		size_t at;
	} cases[] = {
		{"squashfs", "hsqs", 0},
		{"erofs", "\xe2\xe1\xf5\xe0", 1024},
		{"ext4", "\x53\xef", 1080},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_fixture struct fixture f = fixture_new();
		auto_free char *path = path_join(f.dir, "my.img");
		struct rootfs_have first = {0}, again = {0};
		struct rootfs_want want = {.path = path};
		struct err err = {0};
		char hex[DIGEST_HEX_SIZE];

		put_image(&f, "my.img", cases[i].at, cases[i].magic);
		cr_expect_eq(rootfs_lookup(&f.host, &want, &first, &err), 0);
		cr_assert_eq(rootfs_ensure(&f.host, &want, NULL, &first, &err), 0, "%s", err.msg);
		cr_expect_str_eq(first.fstype, cases[i].fstype);
		cr_assert_eq(digest_file(path, hex, &err), 0);
		cr_expect_str_eq(first.digest, hex);
		cr_expect_str_neq(first.image, path);
		cr_assert_eq(rootfs_lookup(&f.host, &want, &again, &err), 1);
		cr_expect_str_eq(again.image, first.image);
		rootfs_have_free(&again);

		put_text(f.dir, "my.img", "changed");
		cr_expect_eq(rootfs_lookup(&f.host, &want, &again, &err), 0);
		rootfs_have_free(&first);
	}
}

Test(rootfs, what_cannot_be_a_root_file_system_is_refused)
{
	auto_fixture struct fixture f = fixture_new();
	auto_free char *text = path_join(f.dir, "text"), *gone = path_join(f.dir, "gone");
	auto_free char *good = path_join(f.dir, "good"), *fifo = path_join(f.dir, "fifo");
	auto_strv struct strv packages = {0};
	char hex[DIGEST_HEX_SIZE];

	put_text(f.dir, "text", "no image");
	put_image(&f, "good", 0, "hsqs");
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	cr_assert_eq(digest_file(good, hex, NULL), 0);
	strv_add(&packages, "nano,--mode=fakeroot");
	auto_free char *not_image = xasprintf("cannot use rootfs '%s': it is no squashfs, erofs or "
					      "ext4 image",
					      text);
	auto_free char *not_there =
		xasprintf("cannot read rootfs '%s': No such file or directory", gone);
	auto_free char *not_file =
		xasprintf("rootfs '%s' is not a regular file or directory", fifo);
	auto_free char *not_same =
		xasprintf("rootfs '%s' has SHA-256 %s, the spec wants 1234", good, hex);
	auto_free char *no_digest =
		xasprintf("rootfs '%s' is a directory and cannot have a sha256", f.dir);
	const struct {
		struct rootfs_want want;
		const char *sentence;
	} cases[] = {
		{{.path = text}, not_image},
		{{.path = gone}, not_there},
		{{.path = fifo}, not_file},
		{{.path = good, .sha256 = "1234"}, not_same},
		{{.path = f.dir, .sha256 = "1234"}, no_digest},
		{{.suite = "--help"}, "'--help' is not a Debian suite"},
		{{.suite = "bookworm", .packages = &packages},
		 "'nano,--mode=fakeroot' is not a Debian package name"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rootfs_have have = {0};
		struct err err = {0};

		cr_expect_lt(rootfs_ensure(&f.host, &cases[i].want, NULL, &have, &err), 0);
		cr_expect_str_eq(err.msg, cases[i].sentence);
		cr_expect_eq(err.class, ERR_SPEC);
		cr_expect_null(have.image);
	}
}

Test(rootfs, one_that_was_never_built_is_not_found_without_starting_anything)
{
	auto_fixture struct fixture f = fixture_new();
	struct rootfs_want want = {.suite = "bookworm"};
	struct rootfs_have have = {0};
	struct err err = {0};

	cr_expect_eq(rootfs_lookup(&f.host, &want, &have, &err), 0);
}

Test(rootfs, the_installed_versions_are_read_from_dpkg)
{
	auto_json struct json_object *versions = json_object_new_object();

	rootfs_parse_status("Package: a\nStatus: ok\nVersion: 1\n\nPackage: b\n Package: no\n"
			    "Version: 2:3~x\nDescription: Version: 9\n\nPackage: c\n",
			    versions);
	auto_free char *text = json_line(versions);

	cr_expect_str_eq(text, "{\"a\":\"1\",\"b\":\"2:3~x\"}");
}

Test(kernel, one_that_was_never_resolved_is_not_found_without_starting_anything)
{
	auto_fixture struct fixture f = fixture_new();
	struct kernel_want want = {.package = "linux-image-cloud-amd64"};
	struct kernel_have have = {0};
	struct err err = {0};

	cr_expect_eq(kernel_lookup(&f.host, &want, &have, &err), 0);
}

Test(kernel, wishes_that_make_no_sense_are_refused)
{
	auto_fixture struct fixture f = fixture_new();
	auto_free char *path = path_join(f.dir, "k");
	auto_free char *not_kernel = xasprintf(
		"cannot use kernel '%s': it is neither a bzImage nor an ELF kernel", path);
	auto_free char *not_file = xasprintf("kernel '%s' is not a regular file", f.dir);
	const struct {
		struct kernel_want want;
		const char *sentence;
	} cases[] = {
		{{.package = "-o Dir=/"}, "'-o Dir=/' is not a Debian package name"},
		{{.path = path}, not_kernel},
		{{.path = f.dir}, not_file},
	};

	put_text(f.dir, "k", "no kernel");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct kernel_have have = {0};
		struct err err = {0};

		cr_expect_lt(kernel_ensure(&f.host, &cases[i].want, NULL, &have, &err), 0);
		cr_expect_str_eq(err.msg, cases[i].sentence);
		cr_expect_null(have.vmlinux);
	}
}

Test(pins, a_pin_stays_until_another_is_set)
{
	auto_fixture struct fixture f = fixture_new();
	auto_json struct json_object *pin = NULL, *other = NULL;
	struct err err = {0};

	cr_expect_eq(pins_get(&f.host, "kernel", "a", &pin, &err), 0);
	cr_assert_eq(pins_set(&f.host, "kernel", "a", json_object_new_string("x"), &err), 0);
	cr_expect_eq(pins_get(&f.host, "kernel", "a", &pin, &err), 0, "only objects are pins");
	struct json_object *value = json_object_new_object();

	json_add_str(value, "version", "1");
	cr_assert_eq(pins_set(&f.host, "kernel", "a", value, &err), 0, "%s", err.msg);
	cr_assert_eq(pins_set(&f.host, "kernel", "b", json_object_new_object(), &err), 0);
	cr_assert_eq(pins_get(&f.host, "kernel", "a", &pin, &err), 1);
	cr_expect_str_eq(json_opt_str(pin, "version", ""), "1");
	cr_expect_eq(pins_get(&f.host, "kernel", "b", &other, &err), 1);
}

Test(pins, a_damaged_file_is_an_error_and_not_an_empty_list)
{
	static const char *const damage[] = {"", "[]", "{\"a\":"};

	for (size_t i = 0; i < ARRAY_SIZE(damage); i++) {
		auto_fixture struct fixture f = fixture_new();
		struct json_object *pin = NULL;
		struct err err = {0};

		put_text(f.dir, "cache/kernel/pins.json", damage[i]);
		cr_expect_lt(pins_get(&f.host, "kernel", "a", &pin, &err), 0);
		cr_expect_neq(strstr(err.msg, "pins.json"), NULL, "%s", err.msg);
		cr_expect_lt(pins_set(&f.host, "kernel", "a", json_object_new_object(), &err), 0);
	}
}

Test(seal, the_digest_of_a_tree_sees_every_kind_of_change)
{
	auto_fixture struct fixture f = fixture_new();
	auto_free char *tree = path_join(f.dir, "tree"), *file = path_join(tree, "d/file");
	auto_free char *link = path_join(tree, "link");
	char before[DIGEST_HEX_SIZE], after[DIGEST_HEX_SIZE];
	struct err err = {0};

	put_text(tree, "d/file", "1");
	cr_assert_eq(symlink("a", link), 0);
	for (int i = 0; i < 5; i++) {
		cr_assert_eq(seal_digest_tree(tree, before, &err), 0, "%s", err.msg);
		cr_assert_eq(seal_digest_tree(tree, after, &err), 0, "%s", err.msg);
		cr_expect_str_eq(before, after);
		if (i == 0)
			put_text(tree, "d/file", "2");
		else if (i == 1)
			cr_assert_eq(chmod(file, 0600), 0);
		else if (i == 2)
			cr_assert(unlink(link) == 0 && symlink("b", link) == 0);
		else if (i == 3)
			put_text(tree, "d/new", "");
		else if (i == 4)
			cr_assert_eq(unlink(file), 0);
		cr_assert_eq(seal_digest_tree(tree, after, &err), 0, "%s", err.msg);
		cr_expect_str_neq(before, after, "change %d", i);
	}
}

Test(seal, links_cannot_be_published)
{
	auto_fixture struct fixture f = fixture_new();
	auto_json struct json_object *files = json_object_new_object();
	auto_free char *tree = path_join(f.dir, "tree"), *link = path_join(tree, "link");
	auto_free char *want = xasprintf("'%s' is neither a file nor a directory", link);
	struct err err = {0};

	put_text(tree, "file", "1");
	cr_assert_eq(symlink("/etc/passwd", link), 0);
	cr_expect_eq(seal_tree(tree, 0644, files, &err), -EINVAL);
	cr_expect_str_eq(err.msg, want);
}

/* How a layer unpacked in a user namespace hides what lies below. */
Test(seal, an_attribute_anywhere_in_a_tree_is_found)
{
	auto_fixture struct fixture f = fixture_new();
	auto_free char *tree = path_join(f.dir, "tree"), *deep = path_join(tree, "a/b");
	struct err err = {0};
	bool has = true;

	put_text(tree, "a/b/file", "1");
	cr_assert_eq(seal_tree_has_xattr(tree, "user.overlay.opaque", &has, &err), 0);
	cr_expect_not(has);
	if (setxattr(deep, "user.overlay.opaque", "y", 1, 0) < 0)
		cr_skip_test("/tmp keeps no user attributes");
	cr_assert_eq(seal_tree_has_xattr(tree, "user.overlay.opaque", &has, &err), 0);
	cr_expect(has);
	cr_expect_lt(seal_tree_has_xattr(deep, "user.other", &has, &err), 1);
	cr_expect_not(has);
}
