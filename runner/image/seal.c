#include "seal.h"

#include "cleanup.h"
#include "strv.h"
#include "xalloc.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static void close_fts(FTS **fts)
{
	if (*fts)
		(void)fts_close(*fts);
}
#define auto_fts __attribute__((cleanup(close_fts)))

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static FTS *open_tree(const char *dir)
{
	auto_free char *root = xstrdup(dir);
	char *const roots[] = {root, NULL};

	return fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, by_name);
}

static const char *name_below(const char *dir, const FTSENT *e)
{
	const char *name = e->fts_path + strlen(dir);

	return *name == '/' ? name + 1 : name;
}

static int sync_as(const char *path, mode_t mode, struct err *err)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || fchmod(fd, mode) < 0 || fsync(fd) < 0)
		return err_sys(err, "cannot finish '%s'", path);
	return 0;
}

static int seal_file(const FTSENT *e, const char *name, mode_t mode, struct json_object *files,
		     struct err *err)
{
	struct json_object *file = NULL;
	char hex[DIGEST_HEX_SIZE];
	int r = sync_as(e->fts_path, mode, err);

	if (r == 0)
		r = digest_file(e->fts_path, hex, err);
	if (r < 0)
		return r;
	file = json_object_new_object();
	json_add_u64(file, "size", (uint64_t)e->fts_statp->st_size);
	json_add_str(file, "sha256", hex);
	json_add(files, name, file);
	return 0;
}

int seal_tree(const char *dir, mode_t file_mode, struct json_object *files, struct err *err)
{
	auto_fts FTS *fts = open_tree(dir);
	const FTSENT *e;
	int r = 0;

	if (!fts)
		return err_sys(err, "cannot walk '%s'", dir);
	errno = 0;
	while (r == 0 && (e = fts_read(fts))) {
		if (e->fts_info == FTS_F)
			r = seal_file(e, name_below(dir, e), file_mode, files, err);
		else if (e->fts_info == FTS_DP)
			r = sync_as(e->fts_path, 0755, err);
		else if (e->fts_info != FTS_D)
			r = err_set(err, ERR_FAILED, -EINVAL,
				    "'%s' is neither a file nor a directory", e->fts_path);
		errno = 0;
	}
	if (r == 0 && errno != 0)
		r = err_sys(err, "cannot walk '%s'", dir);
	return r;
}

static int digest_content(struct digest *d, const FTSENT *e, struct err *err)
{
	char text[PATH_MAX];
	ssize_t n;
	int r;

	if (S_ISLNK(e->fts_statp->st_mode)) {
		n = readlink(e->fts_path, text, sizeof(text) - 1);
		if (n < 0)
			return err_sys(err, "cannot read link '%s'", e->fts_path);
		text[n] = '\0';
		digest_add_field(d, "link", text);
	} else if (S_ISREG(e->fts_statp->st_mode)) {
		r = digest_file(e->fts_path, text, err);
		if (r < 0)
			return r;
		digest_add_field(d, "content", text);
	} else if (!S_ISDIR(e->fts_statp->st_mode)) {
		digest_add_u64(d, "device", e->fts_statp->st_rdev);
	}
	return 0;
}

/* Of the link itself when it is one; sorted, since the kernel tells them in any order. */
static int list_attributes(const char *path, struct strv *ret, struct err *err)
{
	auto_free char *names = xmalloc(XATTR_LIST_MAX);
	ssize_t len = llistxattr(path, names, XATTR_LIST_MAX);

	if (len < 0 && errno != ENOTSUP)
		return err_sys(err, "cannot list the attributes of '%s'", path);
	for (ssize_t at = 0; at < len; at += (ssize_t)strlen(names + at) + 1)
		strv_add(ret, names + at);
	strv_sort(ret);
	return 0;
}

/* File capabilities, for one: what is packed has them. */
static int digest_attributes(struct digest *d, const char *path, struct err *err)
{
	auto_free char *value = xmalloc(XATTR_SIZE_MAX);
	auto_strv struct strv names = {0};
	char hex[DIGEST_HEX_SIZE];
	int r = list_attributes(path, &names, err);

	if (r < 0)
		return r;
	digest_add_u64(d, "attributes", names.n);
	for (size_t i = 0; i < names.n; i++) {
		ssize_t len = lgetxattr(path, names.v[i], value, XATTR_SIZE_MAX);

		if (len < 0)
			return err_sys(err, "cannot read %s of '%s'", names.v[i], path);
		digest_of(value, (size_t)len, hex);
		digest_add_field(d, names.v[i], hex);
	}
	return 0;
}

int seal_digest_tree(const char *dir, char ret[DIGEST_HEX_SIZE], struct err *err)
{
	auto_digest struct digest *d = digest_new();
	auto_fts FTS *fts = open_tree(dir);
	const FTSENT *e;
	int r;

	if (!fts)
		return err_sys(err, "cannot walk '%s'", dir);
	errno = 0;
	while ((e = fts_read(fts))) {
		if (e->fts_info == FTS_DP)
			continue;
		if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || e->fts_info == FTS_NS)
			return err_sys_code(err, -e->fts_errno, "cannot read '%s'", e->fts_path);
		digest_add_field(d, "name", name_below(dir, e));
		digest_add_u64(d, "mode", e->fts_statp->st_mode);
		digest_add_u64(d, "uid", e->fts_statp->st_uid);
		digest_add_u64(d, "gid", e->fts_statp->st_gid);
		r = digest_content(d, e, err);
		if (r == 0)
			r = digest_attributes(d, e->fts_path, err);
		if (r < 0)
			return r;
		errno = 0;
	}
	if (errno != 0)
		return err_sys(err, "cannot walk '%s'", dir);
	digest_hex(d, ret);
	return 0;
}

int seal_tree_has_xattr(const char *dir, const char *name, bool *ret, struct err *err)
{
	auto_fts FTS *fts = open_tree(dir);
	bool found = false;
	const FTSENT *e;

	if (!fts)
		return err_sys(err, "cannot walk '%s'", dir);
	errno = 0;
	while (!found && (e = fts_read(fts))) {
		if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || e->fts_info == FTS_NS)
			return err_sys_code(err, -e->fts_errno, "cannot read '%s'", e->fts_path);
		found = e->fts_info == FTS_D && lgetxattr(e->fts_path, name, NULL, 0) >= 0;
		errno = 0;
	}
	if (errno != 0)
		return err_sys(err, "cannot walk '%s'", dir);
	*ret = found;
	return 0;
}
