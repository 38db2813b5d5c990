#include "oci.h"

#include "cleanup.h"
#include "file.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BLOCK (128u << 10)

/* A FIFO or a terminal would make open() or read() wait for somebody. */
static int check_kind(const char *path, mode_t want, const char *wanted, struct err *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_set(err, ERR_SPEC, -errno, "%s", strerror(errno));
	if ((st.st_mode & S_IFMT) != want)
		return err_set(err, ERR_SPEC, -EINVAL, "it is not a %s", wanted);
	return 0;
}

static int no_such(const char *name, struct err *err)
{
	return err_set(err, ERR_SPEC, -ENOENT, "it has no '%s'", name);
}

int oci_read_dir(const char *path, const char *name, struct buf *out, struct err *err)
{
	auto_free char *file = path_join(path, name);
	int r = check_kind(path, S_IFDIR, "directory", err);

	if (r < 0)
		return r;
	if (!file_exists(file))
		return no_such(name, err);
	return file_read(file, OCI_JSON_MAX, out, err);
}

/* --- archives --- */

static void archive_done(struct archive **a)
{
	if (*a)
		(void)archive_read_free(*a);
}
#define auto_archive __attribute__((cleanup(archive_done)))

static int archive_failed(struct archive *a, struct err *err)
{
	const char *why = archive_error_string(a);

	return err_set(err, ERR_SPEC, -EBADMSG, "it cannot be read as a tar archive%s%s",
		       why ? ": " : "", why ? why : "");
}

static int open_archive(const char *path, struct archive **ret, struct err *err)
{
	auto_archive struct archive *a = archive_read_new();
	int r = check_kind(path, S_IFREG, "regular file", err);

	if (r < 0)
		return r;
	if (!a)
		return err_set(err, ERR_FAILED, -ENOMEM, "cannot start an archive reader");
	(void)archive_read_support_filter_gzip(a);
	(void)archive_read_support_filter_zstd(a);
	(void)archive_read_support_format_tar(a);
	if (archive_read_open_filename(a, path, READ_BLOCK) != ARCHIVE_OK)
		return archive_failed(a, err);
	*ret = TAKE_PTR(a);
	return 0;
}

/* The name without "./"; refused when it leads out of the archive. */
static int clean_name(struct archive_entry *entry, const char **ret, struct err *err)
{
	const char *name = archive_entry_pathname(entry);

	if (!name || strlen(name) > OCI_NAME_MAX)
		return err_set(err, ERR_SPEC, -EBADMSG,
			       "an entry has no name or one longer than %u bytes", OCI_NAME_MAX);
	while (strncmp(name, "./", 2) == 0)
		name += 2;
	if (*name == '/')
		return err_set(err, ERR_SPEC, -EBADMSG, "entry '%s' has an absolute name", name);
	for (const char *p = name; *p; p += strcspn(p, "/"), p += strspn(p, "/"))
		if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == '\0'))
			return err_set(err, ERR_SPEC, -EBADMSG,
				       "entry '%s' leads out of the archive", name);
	*ret = name;
	return 0;
}

static int read_entry(struct archive *a, struct archive_entry *entry, const char *name,
		      struct buf *out, struct err *err)
{
	int64_t size = archive_entry_size(entry);
	char *room;

	if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry))
		return err_set(err, ERR_SPEC, -EBADMSG, "'%s' is not a regular file", name);
	if (size < 0 || size > OCI_JSON_MAX)
		return err_set(err, ERR_SPEC, -EFBIG, "'%s' is larger than %u bytes", name,
			       OCI_JSON_MAX);
	room = buf_grow(out, (size_t)size);
	if (!room)
		return err_set(err, ERR_SPEC, -EFBIG, "'%s' is larger than %u bytes", name,
			       OCI_JSON_MAX);
	if (archive_read_data(a, room, (size_t)size) != size)
		return err_set(err, ERR_SPEC, -EBADMSG, "'%s' is cut off", name);
	return 0;
}

/* Walks all headers even when the entry was found: were there a second one, skopeo would unpack
 * that over the first and copy another image than the one we looked at. */
static int find_entry(struct archive *a, const char *want, struct buf *out, struct err *err)
{
	bool found = false;
	struct archive_entry *entry;
	int r = 0;

	for (unsigned int n = 0; r == 0; n++) {
		const char *name = "";
		int got = archive_read_next_header(a, &entry);

		if (got == ARCHIVE_EOF)
			break;
		if (got != ARCHIVE_OK && got != ARCHIVE_WARN)
			return archive_failed(a, err);
		if (n >= OCI_ENTRIES_MAX)
			return err_set(err, ERR_SPEC, -EFBIG, "it has more than %u entries",
				       OCI_ENTRIES_MAX);
		r = clean_name(entry, &name, err);
		if (r < 0 || strcmp(name, want) != 0)
			continue;
		if (found)
			return err_set(err, ERR_SPEC, -EBADMSG, "'%s' is in it twice", want);
		found = true;
		r = read_entry(a, entry, want, out, err);
	}
	if (r < 0)
		return r;
	return found ? 0 : no_such(want, err);
}

int oci_read_archive(const char *path, const char *name, struct buf *out, struct err *err)
{
	auto_archive struct archive *a = NULL;
	int r = open_archive(path, &a, err);

	if (r < 0)
		return r;
	buf_reset(out);
	return find_entry(a, name, out, err);
}
