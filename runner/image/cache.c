#include "cache.h"

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "say.h"
#include "seal.h"
#include "shared.h"
#include "xalloc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE_FORMAT 1
#define TMP_PREFIX ".tmp-"

void cache_entry_free(struct cache_entry *e)
{
	free(e->dir);
	json_put_p(&e->meta);
	e->dir = NULL;
}

char *cache_entry_path(const struct cache_entry *e, const char *name)
{
	return path_join(e->dir, name);
}

const char *cache_entry_made_of(const struct cache_entry *e, const char *key)
{
	return json_opt_str(json_opt_obj(e->meta, "made_of"), key, "");
}

const char *cache_entry_sha256(const struct cache_entry *e, const char *name)
{
	struct json_object *file = json_opt_obj(json_opt_obj(e->meta, "files"), name);

	return file ? json_opt_str(file, "sha256", "") : "";
}

static bool file_fits(const char *path, uint64_t size, bool shared)
{
	struct stat st;

	if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
		return false;
	return !shared || shared_is_roots(&st);
}

static bool files_fit(const char *dir, struct json_object *files, bool shared)
{
	json_object_object_foreach(files, name, file)
	{
		auto_free char *path = path_join(dir, name);

		if (!json_object_is_type(file, json_type_object) ||
		    !file_fits(path, json_opt_u64(file, "size", UINT64_MAX), shared))
			return false;
	}
	return true;
}

static bool meta_fits(const char *dir, const char *key, struct json_object *meta, bool shared)
{
	struct json_object *files = json_opt_obj(meta, "files");

	return json_opt_u64(meta, "format", 0) == CACHE_FORMAT &&
	       strcmp(json_opt_str(meta, "key", ""), key) == 0 && json_opt_obj(meta, "made_of") &&
	       files && json_object_object_length(files) > 0 && files_fit(dir, files, shared);
}

static int lookup_in(const char *dir, const char *key, bool shared, struct cache_entry *ret,
		     struct err *err)
{
	auto_free char *path = path_join(dir, "meta.json");
	auto_json struct json_object *meta = NULL;
	struct stat st;
	int r = json_load(path, &meta, err);

	if (r == -EACCES)
		return r;
	if (r < 0 || !meta_fits(dir, key, meta, shared))
		return 0;
	if (shared && (lstat(path, &st) < 0 || !shared_is_roots(&st)))
		return 0;
	ret->dir = xstrdup(dir);
	ret->meta = TAKE_PTR(meta);
	return 1;
}

int cache_lookup(const struct host *host, const char *kind, const char *key,
		 struct cache_entry *ret, struct err *err)
{
	auto_free char *kind_dir = host_cache_dir(host, kind);
	auto_free char *own = path_join(kind_dir, key);
	int r = lookup_in(own, key, false, ret, err);

	if (r != 0)
		return r;
	auto_free char *shared = shared_path(host, kind, key);

	/* What the system keeps to itself is as good as absent. */
	return shared && lookup_in(shared, key, true, ret, NULL) == 1;
}

static int lock_key(const char *kind_dir, const char *key, const struct cache_build *build,
		    int *ret_fd, struct err *err)
{
	auto_free char *locks = path_join(kind_dir, ".locks");
	auto_free char *path = path_join(locks, key);
	auto_buf struct buf holder = BUF_INIT(256);
	int r = file_mkdir_p(locks, 0700, err);

	if (r < 0)
		return r;
	r = file_lock(path, false, 0, &holder, ret_fd, err);
	if (r != -EWOULDBLOCK)
		return r;
	/* it may have the lock and not yet have said so */
	asset_say(build->progress, "waiting for %s%s, which is making %s",
		  holder.len > 0 ? "process " : "another process", buf_str(&holder), build->what);
	return file_lock(path, true, 0, NULL, ret_fd, err);
}

/* Whose builder is it? Ours by the lock we hold; another key's only if its lock is free, which
 * means that its builder died. Removal is best effort: the tools of a builder killed a moment ago
 * may still be on their way out, and the next builder tries again. */
static void remove_leftover(const char *kind_dir, const char *name, const char *our_key)
{
	auto_free char *key = xstrdup(name + strlen(TMP_PREFIX));
	auto_free char *dir = path_join(kind_dir, name);
	auto_close int lock = -1;
	char *dot = strrchr(key, '.');

	if (dot)
		*dot = '\0';
	if (strcmp(key, our_key) != 0) {
		auto_free char *locks = path_join(kind_dir, ".locks");
		auto_free char *path = path_join(locks, key);

		if (file_lock(path, false, 0, NULL, &lock, NULL) < 0)
			return;
	}
	(void)file_remove_tree(dir, NULL);
}

static int remove_leftovers(const char *kind_dir, const char *our_key, struct err *err)
{
	auto_closedir DIR *dir = opendir(kind_dir);
	const struct dirent *e;

	if (!dir)
		return err_sys(err, "cannot list '%s'", kind_dir);
	while ((e = readdir(dir)))
		if (strncmp(e->d_name, TMP_PREFIX, strlen(TMP_PREFIX)) == 0)
			remove_leftover(kind_dir, e->d_name, our_key);
	return 0;
}

static int write_meta(const char *dir, struct json_object *meta, struct err *err)
{
	auto_free char *path = path_join(dir, "meta.json");
	int r = json_save(path, meta, err);

	if (r < 0)
		return r;
	return chmod(path, 0644) < 0 ? err_sys(err, "cannot make '%s' readable", path) : 0;
}

/* An entry that is there but does not count (lookup said so) makes room first. */
static int publish(const char *tmp, const char *kind_dir, const char *key, struct err *err)
{
	auto_free char *final = path_join(kind_dir, key);
	int r = file_remove_tree(final, err);

	if (r < 0)
		return r;
	if (rename(tmp, final) < 0)
		return err_sys(err, "cannot rename '%s' to '%s'", tmp, final);
	return file_fsync_dir(kind_dir, err);
}

static int build_in(const char *tmp, const char *key, const struct cache_build *build,
		    struct err *err)
{
	auto_json struct json_object *meta = json_object_new_object();
	struct json_object *made_of = json_object_new_object();
	struct json_object *files = json_object_new_object();
	int r;

	json_add_u64(meta, "format", CACHE_FORMAT);
	json_add_str(meta, "key", key);
	json_add(meta, "made_of", made_of);
	json_add(meta, "files", files);
	r = build->make(build->data, tmp, made_of, err);
	if (r < 0)
		return r;
	r = seal_tree(tmp, build->executable ? 0755 : 0644, files, err);
	if (r < 0)
		return r;
	return write_meta(tmp, meta, err);
}

static int build_entry(const char *kind_dir, const char *key, const struct cache_build *build,
		       struct err *err)
{
	auto_free char *tmp = xasprintf("%s/" TMP_PREFIX "%s.XXXXXX", kind_dir, key);
	int r = remove_leftovers(kind_dir, key, err);

	if (r < 0)
		return r;
	if (!mkdtemp(tmp))
		return err_sys(err, "cannot make a directory in '%s'", kind_dir);
	r = build_in(tmp, key, build, err);
	if (r == 0)
		r = publish(tmp, kind_dir, key, err);
	if (r < 0)
		(void)file_remove_tree(tmp, NULL);
	return r;
}

int cache_ensure(const struct host *host, const char *kind, const char *key,
		 const struct cache_build *build, struct cache_entry *ret, struct err *err)
{
	auto_free char *kind_dir = host_cache_dir(host, kind);
	auto_close int lock = -1;
	int r = cache_lookup(host, kind, key, ret, err);

	if (r != 0)
		return r < 0 ? r : 0;
	r = file_mkdir_p(kind_dir, 0755, err);
	if (r < 0)
		return r;
	r = lock_key(kind_dir, key, build, &lock, err);
	if (r < 0)
		return r;
	r = cache_lookup(host, kind, key, ret, err);
	if (r != 0)
		return r < 0 ? r : 0;
	r = build_entry(kind_dir, key, build, err);
	if (r < 0)
		return r;
	r = cache_lookup(host, kind, key, ret, err);
	if (r == 0)
		return err_set(err, ERR_FAILED, -EIO,
			       "%s was made but cannot be read back from '%s'", build->what,
			       kind_dir);
	return r < 0 ? r : 0;
}
