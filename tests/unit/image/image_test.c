#include "image_test.h"

#include <archive.h>
#include <archive_entry.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "file.h"
#include "run.h"
#include "xalloc.h"

struct fixture fixture_new(void)
{
	struct fixture f = {.dir = tmpdir_new("image")};
	struct err err = {0};

	cr_assert_eq(host_init(&f.host, f.dir, &err), 0, "%s", err.msg);
	cr_assert_eq(host_make_dirs(&f.host, &err), 0, "%s", err.msg);
	return f;
}

void fixture_free(struct fixture *f)
{
	host_free(&f->host);
	tmpdir_remove(&f->dir);
}

void put_file(const char *dir, const char *name, const void *data, size_t len)
{
	auto_free char *path = path_join(dir, name);
	auto_free char *parent = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	struct err err = {0};

	cr_assert_eq(file_mkdir_p(parent, 0755, &err), 0, "%s", err.msg);
	cr_assert_eq(file_replace(path, data, len, 0644, &err), 0, "%s", err.msg);
}

void put_text(const char *dir, const char *name, const char *text)
{
	put_file(dir, name, text, strlen(text));
}

static void put_item(struct archive *a, const struct item *item)
{
	static const char zeros[65536];
	struct archive_entry *e = archive_entry_new();
	size_t len = item->len ? item->len : strlen(item->data);

	archive_entry_set_pathname(e, item->name);
	archive_entry_set_mode(e, (item->kind == ITEM_SYMLINK ? S_IFLNK : S_IFREG) | 0644);
	if (item->kind == ITEM_SYMLINK)
		archive_entry_set_symlink(e, item->data);
	else
		archive_entry_set_size(e, (la_int64_t)len);
	cr_assert_eq(archive_write_header(a, e), ARCHIVE_OK, "%s", archive_error_string(a));
	if (item->kind == ITEM_FILE)
		cr_assert_eq(archive_write_data(a, item->data, len), (la_ssize_t)len);
	for (size_t left = item->kind == ITEM_HOLE ? len : 0; left > 0;) {
		size_t n = left < sizeof(zeros) ? left : sizeof(zeros);

		cr_assert_eq(archive_write_data(a, zeros, n), (la_ssize_t)n);
		left -= n;
	}
	archive_entry_free(e);
}

void put_tar(const char *path, const struct item *items)
{
	struct archive *a = archive_write_new();

	cr_assert_eq(archive_write_set_format_ustar(a), ARCHIVE_OK);
	cr_assert_eq(archive_write_open_filename(a, path), ARCHIVE_OK);
	for (const struct item *item = items; item->name; item++)
		put_item(a, item);
	cr_assert_eq(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
}

void oci_texts(struct oci_texts *t, const char *arch, const char *layer_size)
{
	(void)snprintf(t->config, sizeof(t->config), "{\"architecture\":\"%s\",\"os\":\"linux\"}",
		       arch ? arch : "amd64");
	digest_of(t->config, strlen(t->config), t->config_digest);
	(void)snprintf(t->config_name, sizeof(t->config_name), "blobs/sha256/%s", t->config_digest);
	(void)snprintf(t->manifest, sizeof(t->manifest),
		       "{\"schemaVersion\":2,\"config\":{\"digest\":\"sha256:%s\"},\"layers\":["
		       "{\"digest\":\"sha256:%064d\",\"size\":%s}]}",
		       t->config_digest, 7, layer_size ? layer_size : "10");
	digest_of(t->manifest, strlen(t->manifest), t->manifest_digest);
	(void)snprintf(t->manifest_name, sizeof(t->manifest_name), "blobs/sha256/%s",
		       t->manifest_digest);
	(void)snprintf(t->index, sizeof(t->index),
		       "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"sha256:%s\"}]}",
		       t->manifest_digest);
}
