#include "host.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "proc_priv.h"
#include "xalloc.h"

#define SYSTEM_DATA_DIR "/var/lib/fcvm"

static const char *getenv_now(const char *name)
{
	return getenv(name);
}

static int choose_data_dir(const struct host *host, const char *wish, char **ret, struct err *err)
{
	const char *home;

	if (!wish)
		wish = host->getenv("FCVM_DATA_DIR");
	if (wish && *wish == '/') {
		*ret = xstrdup(wish);
		return 0;
	}
	if (wish && *wish) {
		auto_free char *cwd = getcwd(NULL, 0);

		if (!cwd)
			return err_sys(err, "cannot tell the current directory");
		*ret = path_join(cwd, wish);
		return 0;
	}
	if (host->is_root) {
		*ret = xstrdup(SYSTEM_DATA_DIR);
		return 0;
	}
	home = host->getenv("XDG_DATA_HOME");
	if (home && *home == '/') {
		*ret = path_join(home, "fcvm");
		return 0;
	}
	home = host->getenv("HOME");
	if (!home || *home != '/') {
		err_set(err, ERR_HOST, -ENOENT, "no data directory: HOME is not set");
		return err_hint(err, "set HOME, or name one with --data-dir");
	}
	*ret = path_join(home, ".local/share/fcvm");
	return 0;
}

int host_init(struct host *host, const char *data_dir, struct err *err)
{
	struct host h = {
		.uid = geteuid(),
		.gid = getegid(),
		.is_root = geteuid() == 0,
		.getenv = getenv_now,
		.unix_ms = io_unix_ms,
	};
	auto_free char *dir = NULL;
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	int r;

	if (n < 0)
		return err_sys(err, "cannot find our own executable");
	exe[n] = '\0';
	r = proc_boot_id(h.boot_id, err);
	if (r < 0)
		return r;
	r = choose_data_dir(&h, data_dir, &dir, err);
	if (r < 0)
		return r;

	h.data_dir = TAKE_PTR(dir);
	h.ids_dir = path_join(h.is_root ? SYSTEM_DATA_DIR : h.data_dir, "ledger");
	h.shared_cache = h.is_root ? NULL : xstrdup(SYSTEM_DATA_DIR "/cache");
	h.exe = xstrdup(exe);
	*host = h;
	return 0;
}

void host_free(struct host *host)
{
	free(host->data_dir);
	free(host->ids_dir);
	free(host->exe);
	free(host->shared_cache);
	host->data_dir = NULL;
	host->ids_dir = NULL;
	host->shared_cache = NULL;
	host->exe = NULL;
}

char *host_path(const struct host *host, const char *rel)
{
	return path_join(host->data_dir, rel);
}

char *host_set_dir(const struct host *host, const char *set)
{
	return xasprintf("%s/sets/%s", host->data_dir, set);
}

char *host_cache_dir(const struct host *host, const char *kind)
{
	return xasprintf("%s/cache/%s", host->data_dir, kind);
}

/* The umask must not narrow what VMMs with uids of their own have to pass through. */
static int make_dir(const char *path, mode_t mode, struct err *err)
{
	struct stat st;

	if (mkdir(path, mode) == 0)
		return chmod(path, mode) == 0 ? 0 : err_sys(err, "cannot chmod '%s'", path);
	if (errno != EEXIST)
		return err_sys(err, "cannot make directory '%s'", path);
	if (stat(path, &st) < 0)
		return err_sys(err, "cannot stat '%s'", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, ERR_HOST, -ENOTDIR, "'%s' is not a directory", path);
	return 0;
}

/* A data directory itself, and all that it lies in. */
static int make_root(const char *path, struct err *err)
{
	auto_free char *parent = xstrdup(path);
	char *slash = strrchr(parent, '/');
	int r = 0;

	if (slash && slash != parent) {
		*slash = '\0';
		r = file_mkdir_p(parent, 0755, err);
	}
	return r < 0 ? r : make_dir(path, 0711, err);
}

int host_make_dirs(const struct host *host, struct err *err)
{
	static const struct {
		const char *rel;
		mode_t mode;
	} dirs[] = {{"sets", 0711}, {"cache", 0755}, {"ledger", 0700}};
	int r = make_root(host->data_dir, err);

	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(dirs); i++) {
		auto_free char *path = host_path(host, dirs[i].rel);

		r = make_dir(path, dirs[i].mode, err);
	}
	return r;
}

int host_make_ids_dir(const struct host *host, struct err *err)
{
	auto_free char *root = xstrdup(host->ids_dir);
	int r;

	*strrchr(root, '/') = '\0';
	r = make_root(root, err);
	return r < 0 ? r : make_dir(host->ids_dir, 0700, err);
}
