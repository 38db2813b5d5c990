/* main.c - the page server process: opens what it needs as it was started, then drops everything.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "log.h"
#include "memserver.h"
#include "opt.h"
#include "server.h"
#include "wire.h"

#define LIVE_DIR "live"
#define METRICS "metrics.json"
#define FILES_MAX 65536 /* up to five descriptors a VM */

/* What only the starting user may open. */
struct opened {
	int memory, listen, live_dir;
	uint64_t size;
};

static void opened_close(struct opened *o)
{
	cleanup_close_p(&o->memory);
	cleanup_close_p(&o->listen);
	cleanup_close_p(&o->live_dir);
}

static int open_memory(const char *path, struct opened *o, struct err *err)
{
	struct stat st;

	o->memory = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (o->memory < 0)
		return err_sys(err, "cannot open snapshot memory '%s'", path);
	if (fstat(o->memory, &st) < 0)
		return err_sys(err, "cannot stat snapshot memory '%s'", path);
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size % REGIONS_PAGE != 0)
		return err_set(err, ERR_FAILED, -EINVAL,
			       "snapshot memory '%s': expected a regular file of whole pages",
			       path);
	o->size = (uint64_t)st.st_size;
	return 0;
}

/* metrics.json is replaced by rename, which needs a directory we may write after the drop; dir
 * itself stays the starting user's, so that nobody can put another server.sock there. */
static int open_live_dir(const struct memserver_spec *spec, struct opened *o, struct err *err)
{
	auto_close int dir = open(spec->dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);

	if (dir < 0)
		return err_sys(err, "cannot open directory '%s'", spec->dir);
	if (mkdirat(dir, LIVE_DIR, 0700) < 0 && errno != EEXIST)
		return err_sys(err, "cannot make '%s/" LIVE_DIR "'", spec->dir);
	o->live_dir = openat(dir, LIVE_DIR, O_DIRECTORY | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (o->live_dir < 0 || fchown(o->live_dir, spec->uid, spec->gid) < 0)
		return err_sys(err, "cannot prepare '%s/" LIVE_DIR "'", spec->dir);
	if (symlinkat(LIVE_DIR "/" METRICS, dir, METRICS) < 0 && errno != EEXIST)
		return err_sys(err, "cannot make '%s/" METRICS "'", spec->dir);
	return 0;
}

static int open_socket(const struct memserver_spec *spec, struct opened *o, struct err *err)
{
	auto_free char *path = path_join(spec->dir, WIRE_SOCKET);
	mode_t old = umask(0177);
	int r = io_unix_listen(path, 128, &o->listen, err);

	(void)umask(old);
	if (r == 0)
		r = io_set_nonblock(o->listen, true);
	return r;
}

static int open_all(const struct memserver_spec *spec, struct opened *o, struct err *err)
{
	int r = open_memory(spec->memory, o, err);

	if (r == 0)
		r = open_live_dir(spec, o, err);
	if (r == 0)
		r = open_socket(spec, o, err);
	return r;
}

static int drop_ids(uid_t uid, gid_t gid)
{
	if (geteuid() != 0)
		return geteuid() == uid && getegid() == gid ? 0 : -EPERM;
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return -errno;
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	/* Had any of it not taken hold, root would come back here. */
	return uid != 0 && setresuid(0, 0, 0) == 0 ? -EPERM : 0;
}

static int drop_caps(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[2] = {{0}, {0}};

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
	    syscall(SYS_capset, &head, none) < 0)
		return -errno;
	return 0;
}

/* A change of user clears the death signal: it is set again, and the parent looked at again. */
static int renew_death_signal(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	return getppid() == parent ? 0 : -ESRCH;
}

static int drop_privileges(const struct memserver_spec *spec, struct err *err)
{
	const struct rlimit files = {FILES_MAX, FILES_MAX};
	const struct rlimit no_core = {0, 0};
	pid_t parent = getppid();
	int r = 0;

	/* Not for root alone: who may not raise it keeps the limit there is. */
	(void)setrlimit(RLIMIT_NOFILE, &files);
	if (setrlimit(RLIMIT_CORE, &no_core) < 0)
		return err_sys(err, "cannot forbid core dumps");
	r = drop_ids(spec->uid, spec->gid);
	if (r == 0)
		r = drop_caps();
	if (r == 0 &&
	    (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0))
		r = -errno;
	if (r == 0 && spec->foreground)
		r = renew_death_signal(parent);
	return r < 0 ? err_sys_code(err, r, "cannot become user %u without privileges", spec->uid)
		     : 0;
}

static int prepare(const struct memserver_spec *spec, struct opened *opened, struct server *s,
		   struct err *err)
{
	struct serve_spec serve = {0};
	int r;

	s->owner = geteuid();
	s->memory = spec->memory;
	r = proc_id_of(getpid(), &s->self, err);
	if (r == 0)
		r = open_all(spec, opened, err);
	if (r == 0)
		r = drop_privileges(spec, err);
	if (r < 0)
		return r;
	serve.memory_fd = opened->memory;
	serve.size = s->size = opened->size;
	r = serve_start(&serve, &s->serve, err);
	if (r < 0)
		return r;
	s->live_dir = TAKE_FD(opened->live_dir);
	return server_start(s, TAKE_FD(opened->listen), err);
}

static int tell(int ready_fd, const char *text)
{
	return write(ready_fd, text, strlen(text)) < 0 ? -errno : 0;
}

static int nobody_waits(int code, struct err *err)
{
	return err_set(err, ERR_FAILED, code, "nobody waits for this page server");
}

/* Whoever started us may have been killed before we came to run, and what comes after it could not
 * find us yet: its directory must not be touched. A pipe without a reader is in error, whatever is
 * asked of it. */
static int check_awaited(int ready_fd, struct err *err)
{
	struct pollfd p = {.fd = ready_fd};

	return poll(&p, 1, 0) == 0 ? 0 : nobody_waits(-EPIPE, err);
}

int memserver_main(const struct memserver_spec *spec, int ready_fd, struct err *err)
{
	__attribute__((cleanup(opened_close))) struct opened opened = {-1, -1, -1, 0};
	__attribute__((cleanup(server_free))) struct server s = {.live_dir = -1};
	auto_close int ready = ready_fd;
	struct err why = {0};
	int r = check_awaited(ready, &why);

	if (r == 0)
		r = prepare(spec, &opened, &s, &why);
	if (r == 0) {
		log_debug("serving '%s', %ju bytes, %ju zero pages", spec->memory,
			  (uintmax_t)s.size, (uintmax_t)serve_zero_pages(s.serve));
		/* No record names us when nobody hears it. */
		int told = tell(ready, "R");
		(void)close(TAKE_FD(ready));
		r = told < 0 ? nobody_waits(told, &why) : loop_run(s.loop, &why);
	} else {
		(void)tell(ready, "E");
		(void)tell(ready, why.msg);
	}
	if (r < 0 && err)
		*err = why;
	return r < 0 ? err_exit_status(&why) : 0;
}

static int parse_args(int argc, char **argv, struct memserver_spec *ret, uint64_t *ret_ready,
		      struct err *err)
{
	uint64_t uid = UINT64_MAX, gid = UINT64_MAX, ready = 0;
	struct memserver_spec spec = {0};
	auto_strv struct strv rest = {0};
	const struct opt opts[] = {
		{0, "dir", OPT_STR, &spec.dir, "DIR", "socket and metrics", NULL, 0, 0},
		{0, "memory", OPT_STR, &spec.memory, "FILE", "snapshot memory", NULL, 0, 0},
		{0, "tag", OPT_STR, &spec.tag, "TAG", "shown in argv", NULL, 0, 0},
		{0, "uid", OPT_U64, &uid, "N", "user to become", NULL, 0, UINT32_MAX - 1},
		{0, "gid", OPT_U64, &gid, "N", "group to become", NULL, 0, UINT32_MAX - 1},
		{0, "ready-fd", OPT_U64, &ready, "N", "told when it listens", NULL, 3, 65535},
		{0, "foreground", OPT_FLAG, &spec.foreground, NULL, "die with us", NULL, 0, 0},
	};
	const struct opt_parse how = {.opts = opts, .n = ARRAY_SIZE(opts)};
	int r = opt_parse(&how, argc, argv, &rest, NULL, err);

	if (r < 0)
		return r;
	if (!spec.dir || !spec.memory || uid == UINT64_MAX || gid == UINT64_MAX || ready == 0)
		return err_set(err, ERR_SPEC, -EINVAL,
			       "internal memserver: expected --dir, --memory, --uid, --gid and "
			       "--ready-fd");
	spec.uid = (uid_t)uid;
	spec.gid = (gid_t)gid;
	*ret = spec;
	*ret_ready = ready;
	return 0;
}

int memserver_internal(int argc, char **argv, int *ret_exit, struct err *err)
{
	struct memserver_spec spec = {0};
	uint64_t ready = 0;
	struct err why = {0};
	int r = parse_args(argc, argv, &spec, &ready, err);

	if (r < 0)
		return r;
	/* stderr is server.log, where the talk belongs. */
	log_setup(LOG_DEBUG, false);
	*ret_exit = memserver_main(&spec, (int)ready, &why);
	if (*ret_exit != 0 && err)
		*err = why;
	return *ret_exit != 0 ? why.code : 0;
}
