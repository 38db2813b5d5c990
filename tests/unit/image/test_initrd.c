#include "initrd.h"

#include <archive.h>
#include <archive_entry.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "cleanup.h"
#include "embedded.h"
#include "file.h"
#include "image_test.h"
#include "xalloc.h"

struct expected {
	const char *name;
	mode_t mode;
	const void *data;
	size_t len;
};

/* Reads the whole archive back and compares it entry by entry. */
static void expect_cpio(const void *data, size_t len, const struct expected *want, size_t n)
{
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	size_t i = 0;

	cr_assert_eq(archive_read_support_format_cpio(a), ARCHIVE_OK);
	cr_assert_eq(archive_read_open_memory(a, data, len), ARCHIVE_OK);
	for (; archive_read_next_header(a, &e) == ARCHIVE_OK; i++) {
		char got[65536];

		cr_assert_lt(i, n, "unexpected '%s'", archive_entry_pathname(e));
		cr_expect_str_eq(archive_entry_pathname(e), want[i].name);
		cr_expect_eq(archive_entry_mode(e), want[i].mode, "%s", want[i].name);
		cr_expect_eq(archive_entry_uid(e), 0);
		cr_expect_eq(archive_entry_mtime(e), 0);
		cr_expect_eq((size_t)archive_entry_size(e), want[i].len, "%s", want[i].name);
		if (!want[i].data || want[i].len > sizeof(got))
			continue;
		cr_assert_eq(archive_read_data(a, got, sizeof(got)), (la_ssize_t)want[i].len);
		cr_expect_eq(memcmp(got, want[i].data, want[i].len), 0, "%s", want[i].name);
	}
	cr_expect_eq(i, n);
	cr_expect_null(archive_error_string(a));
	archive_read_free(a);
}

Test(initrd, cpio_bytes_are_read_back_as_they_were_added)
{
	auto_buf struct buf out = BUF_INIT(1u << 20);
	static const struct expected want[] = {
		{"dev", S_IFDIR | 0755, NULL, 0},   {"dev/console", S_IFCHR | 0600, NULL, 0},
		{"a", S_IFREG | 0644, "1", 1},      {"ab", S_IFREG | 0755, "12345", 5},
		{"abc", S_IFREG | 0644, "1234", 4}, {"empty", S_IFREG | 0644, "", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		const struct cpio_entry e = {.name = want[i].name,
					     .mode = want[i].mode,
					     .rdev = makedev(5, 1),
					     .data = want[i].data,
					     .len = want[i].len};

		cpio_add(&out, &e);
		cr_expect_eq(out.len % 4, 0);
	}
	cpio_end(&out);
	expect_cpio(out.data, out.len, want, ARRAY_SIZE(want));
}

Test(initrd, the_initrd_holds_agent_console_and_modules_and_is_cached)
{
	auto_fixture struct fixture f = fixture_new();
	auto_json struct json_object *meta = json_object_new_object();
	auto_free char *kernel_dir = path_join(f.dir, "kernel");
	const struct cache_entry kernel = {.dir = kernel_dir, .meta = meta};
	auto_cache_entry struct cache_entry first = {0}, again = {0};
	auto_buf struct buf text = BUF_INIT(64u << 20);
	size_t agent_len;
	const void *agent = embedded_agent_data(&agent_len);
	static const char list[] = "/m/b.ko\n/m/a.ko\n";
	struct err err = {0};

	json_add_str(meta, "key", "k");
	put_text(kernel_dir, "m/a.ko", "module a");
	put_text(kernel_dir, "m/b.ko", "module b");
	put_text(kernel_dir, "modules.list", list);
	cr_expect_eq(initrd_lookup(&f.host, &kernel, &again, &err), 0);
	cr_assert_eq(initrd_ensure(&f.host, &kernel, NULL, &first, &err), 0, "%s", err.msg);
	auto_free char *path = cache_entry_path(&first, INITRD_NAME);

	cr_assert_eq(file_read(path, text.max, &text, &err), 0, "%s", err.msg);
	const struct expected want[] = {
		{"dev", S_IFDIR | 0755, NULL, 0},
		{"proc", S_IFDIR | 0755, NULL, 0},
		{"sys", S_IFDIR | 0755, NULL, 0},
		{"m", S_IFDIR | 0755, NULL, 0},
		{"dev/console", S_IFCHR | 0600, NULL, 0},
		{"init", S_IFREG | 0755, agent, agent_len},
		{"modules.list", S_IFREG | 0644, list, sizeof(list) - 1},
		{"m/b.ko", S_IFREG | 0644, "module b", 8},
		{"m/a.ko", S_IFREG | 0644, "module a", 8},
	};

	expect_cpio(text.data, text.len, want, ARRAY_SIZE(want));
	cr_assert_eq(initrd_lookup(&f.host, &kernel, &again, &err), 1);
	cr_expect_str_eq(again.dir, first.dir);
}

Test(initrd, a_module_that_is_listed_but_missing_fails_the_build)
{
	auto_fixture struct fixture f = fixture_new();
	auto_json struct json_object *meta = json_object_new_object();
	auto_free char *kernel_dir = path_join(f.dir, "kernel");
	const struct cache_entry kernel = {.dir = kernel_dir, .meta = meta};
	struct cache_entry e = {0};
	struct err err = {0};

	put_text(kernel_dir, "modules.list", "/m/gone.ko\n");
	cr_expect_eq(initrd_ensure(&f.host, &kernel, NULL, &e, &err), -ENOENT);
	auto_free char *want =
		xasprintf("cannot open '%s/m/gone.ko': No such file or directory", kernel_dir);

	cr_expect_str_eq(err.msg, want);
}

Test(embedded, agent_and_shim_are_extracted_executable_under_their_digest)
{
	auto_fixture struct fixture f = fixture_new();
	int (*const extract[])(const struct host *, char **, struct err *) = {embedded_agent,
									      embedded_shim};
	struct err err = {0};

	for (size_t i = 0; i < ARRAY_SIZE(extract); i++) {
		auto_free char *path = NULL, *again = NULL;
		char hex[DIGEST_HEX_SIZE];
		struct stat st;

		cr_assert_eq(extract[i](&f.host, &path, &err), 0, "%s", err.msg);
		cr_assert_eq(extract[i](&f.host, &again, &err), 0, "%s", err.msg);
		cr_expect_str_eq(path, again);
		cr_assert_eq(digest_file(path, hex, &err), 0);
		cr_expect_neq(strstr(path, hex), NULL, "%s", path);
		cr_assert_eq(stat(path, &st), 0);
		cr_expect_eq(st.st_mode & 07777, 0755);
	}
}
