#include "set.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "json.h"
#include "parse.h"
#include "xalloc.h"

/* No set name begins with a dot. */
#define REMOVED ".removed-"

void set_close(struct set *s)
{
	free(s->name);
	free(s->dir);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	*s = (struct set){.lock_fd = -1};
}

/* The file may have been removed with its set while we waited: then we hold nothing. */
static bool is_current(int fd, const char *path)
{
	struct stat ours, theirs;

	return fstat(fd, &ours) == 0 && stat(path, &theirs) == 0 && ours.st_ino == theirs.st_ino &&
	       ours.st_dev == theirs.st_dev;
}

static int busy(const struct set_open *how, const struct buf *holder, struct err *err)
{
	(void)err_set(err, ERR_BUSY, -EWOULDBLOCK, "set '%s' is locked by %s", how->name,
		      holder->len ? buf_str(holder) : "another fcvm");
	return err_hint(err, how->wait ? "give it more time than --timeout allowed"
				       : "wait for it, or leave --no-wait-lock out");
}

static int try_lock(const struct set_open *how, const char *path, int *ret_fd, struct err *err)
{
	auto_buf struct buf holder = BUF_INIT(300);
	int r = file_lock(path, false, 0, &holder, ret_fd, err);

	if (r != -EWOULDBLOCK)
		return r;
	if (!how->wait)
		return busy(how, &holder, err);
	if (how->say) {
		auto_free char *text = xasprintf("waiting for set '%s', locked by %s", how->name,
						 holder.len ? buf_str(&holder) : "another fcvm");
		how->say(how->data, text);
	}
	r = file_lock(path, true, how->deadline_ms, &holder, ret_fd, err);
	return r == -ETIMEDOUT || r == -EWOULDBLOCK ? busy(how, &holder, err) : r;
}

static int lock(const struct set_open *how, struct set *s, struct err *err)
{
	auto_free char *path = path_join(s->dir, "lock");

	for (;;) {
		int fd = -1;
		int r = how->create ? file_mkdir_p(s->dir, 0711, err) : 0;

		if (r >= 0)
			r = try_lock(how, path, &fd, err);
		/* Removed in between: a new set is made. */
		if (r == -ENOENT && how->create)
			continue;
		if (r < 0)
			return r;
		if (is_current(fd, path)) {
			s->lock_fd = fd;
			return 0;
		}
		close(fd);
		if (!how->create)
			return err_set(err, ERR_SPEC, -ENOENT, "there is no set '%s'", how->name);
	}
}

/* What a removal that was killed left. Another may be at it: whoever comes last finds nothing. */
static void tidy(const struct host *host)
{
	auto_free char *sets = host_path(host, "sets");
	auto_closedir DIR *d = opendir(sets);

	for (struct dirent *e; d && (e = readdir(d));) {
		if (strncmp(e->d_name, REMOVED, sizeof(REMOVED) - 1) != 0)
			continue;
		auto_free char *path = path_join(sets, e->d_name);
		(void)file_remove_tree(path, NULL);
	}
}

static int refuse_owner(const char *name, const char *theirs, const char *ours, struct err *err)
{
	(void)err_set(err, ERR_SPEC, -EEXIST, "set '%s' belongs to %s, not to %s", name, theirs,
		      ours);
	return err_hint(err, "give one of the specs another name, or take the set with "
			     "--take-over");
}

/* -ENOENT when the set has no owner yet. */
static int load_owner(const char *dir, char ret_uuid[37], char **ret_path, struct err *err)
{
	auto_free char *path = path_join(dir, "set.json");
	auto_json struct json_object *o = NULL;
	int r = json_load(path, &o, err);

	if (r < 0)
		return r;
	const char *uuid = json_opt_str(o, "uuid", "");
	if (strlen(uuid) != 36)
		return err_set(err, ERR_FAILED, -EBADMSG, "'%s' holds no uuid", path);
	snprintf(ret_uuid, 37, "%s", uuid);
	*ret_path = xstrdup(json_opt_str(o, "path", ""));
	return 0;
}

static int save_owner(const struct host *host, const struct set *s, const char *spec_path,
		      struct err *err)
{
	auto_free char *path = path_join(s->dir, "set.json");
	auto_json struct json_object *o = json_object_new_object();
	char now[IO_TIME_SIZE];

	io_time_rfc3339(host->unix_ms(), now);
	json_add_u64(o, "v", 1);
	json_add_str(o, "uuid", s->uuid);
	json_add_str(o, "name", s->name);
	json_add_str(o, "path", spec_path);
	json_add_str(o, "created_at", now);
	return json_save(path, o, err);
}

static bool is_empty(const char *dir)
{
	auto_closedir DIR *d = opendir(dir);

	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.' && strcmp(e->d_name, "lock") != 0)
			return false;
	return d != NULL;
}

static int own(const struct host *host, const struct set_open *how, struct set *s, struct err *err)
{
	auto_free char *path = NULL;
	int r = load_owner(s->dir, s->uuid, &path, err);

	if (r < 0 && r != -ENOENT)
		return r;
	if (r == -ENOENT) {
		io_uuid(s->uuid);
		s->is_new = how->create && is_empty(s->dir);
		return how->create ? save_owner(host, s, how->spec_path, err) : 0;
	}
	if (!how->spec_path || strcmp(path, how->spec_path) == 0)
		return 0;
	if (how->take_over)
		return save_owner(host, s, how->spec_path, err);
	return refuse_owner(s->name, *path ? path : "no spec", how->spec_path, err);
}

int set_open(const struct host *host, const struct set_open *how, struct set *ret, struct err *err)
{
	auto_set struct set s = {.lock_fd = -1};
	int r;

	if (!parse_is_name(how->name))
		return err_set(err, ERR_SPEC, -EINVAL, "'%s' is no set name", how->name);
	if (how->spec_path && strcmp(how->name, SET_IMPERATIVE) == 0)
		return err_set(err, ERR_SPEC, -EINVAL,
			       "set '%s' is for VMs made by hand; give the spec another name",
			       SET_IMPERATIVE);
	s.name = xstrdup(how->name);
	s.dir = host_set_dir(host, how->name);
	if (!how->create && !file_exists(s.dir))
		return err_set(err, ERR_SPEC, -ENOENT, "there is no set '%s'", how->name);
	r = how->create ? host_make_dirs(host, err) : 0;
	tidy(host);
	if (r < 0 || (r = lock(how, &s, err)) < 0 || (r = own(host, how, &s, err)) < 0)
		return r;
	*ret = s;
	s = (struct set){.lock_fd = -1};
	return 0;
}

int set_check_owner(const struct host *host, const char *name, const char *spec_path,
		    struct err *err)
{
	auto_free char *dir = host_set_dir(host, name);
	auto_free char *path = NULL;
	char uuid[37];
	int r = load_owner(dir, uuid, &path, err);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	return strcmp(path, spec_path) == 0 ? 0 : refuse_owner(name, path, spec_path, err);
}

/* Out of the way first, in one step: whoever waits for the lock makes a new set beside it. */
int set_remove(struct set *s, struct err *err)
{
	const char *slash = strrchr(s->dir, '/');
	char uuid[37];

	io_uuid(uuid);
	auto_free char *away = xasprintf("%.*s/" REMOVED "%s", (int)(slash - s->dir), s->dir, uuid);
	if (rename(s->dir, away) < 0)
		return err_sys(err, "cannot remove '%s'", s->dir);
	if (s->lock_fd >= 0)
		close(TAKE_FD(s->lock_fd));
	return file_remove_tree(away, err);
}
