#include "vmgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "digest.h"
#include "file.h"
#include "io.h"
#include "xalloc.h"

#define PARENT "fcvm"
#define MOUNTINFO_MAX (4u << 20)
#define FILE_MAX 4096u
#define EMPTY_DEADLINE_MS 10000
#define NAME_LEN 16
#define MAKE_TRIES 100

static const char *const controllers[] = {"memory", "pids", "hugetlb"};

/* Field 5 of a line whose type, behind the dash, is cgroup2. */
static char *mount_point(const char *line, size_t len)
{
	auto_free char *copy = xstrndup(line, len);
	char *at = copy;

	if (!strstr(copy, " - cgroup2 "))
		return NULL;
	for (int i = 0; i < 4; i++) {
		at = strchr(at, ' ');
		if (!at)
			return NULL;
		at++;
	}
	return *at == '/' ? xstrndup(at, strcspn(at, " ")) : NULL;
}

char *vmgroup_mount_in(const char *mountinfo)
{
	char *found = NULL;

	for (const char *at = mountinfo; *at && !found;) {
		size_t len = strcspn(at, "\n");

		found = mount_point(at, len);
		at += len + (at[len] == '\n');
	}
	return found;
}

char *vmgroup_mount(void)
{
	auto_buf struct buf text = BUF_INIT(MOUNTINFO_MAX);

	if (file_read(VMGROUP_MOUNTINFO, MOUNTINFO_MAX - 1, &text, NULL) < 0)
		return NULL;
	auto_free char *mount = vmgroup_mount_in(buf_str(&text));

	return mount && access(mount, W_OK) == 0 ? TAKE_PTR(mount) : NULL;
}

static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = text; (at = strstr(at, word)); at += len)
		if ((at == text || at[-1] == ' ') && strchr(" \n", at[len]))
			return true;
	return false;
}

static int read_file(const char *dir, const char *name, struct buf *ret)
{
	auto_free char *path = path_join(dir, name);

	return file_read(path, FILE_MAX, ret, NULL);
}

static int write_file(const char *dir, const char *name, const char *text)
{
	auto_free char *path = path_join(dir, name);
	auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* The true root may hold processes and hand controllers on all the same; a container's root, which
 * has a type, may not: there only what is handed on already counts. */
static void read_controllers(const char *mount, struct buf *ret)
{
	auto_free char *type = path_join(mount, "cgroup.type");

	(void)read_file(mount, file_exists(type) ? "cgroup.subtree_control" : "cgroup.controllers",
			ret);
}

void vmgroup_missing(const char *mount, char *ret, size_t size)
{
	auto_buf struct buf have = BUF_INIT(FILE_MAX + 1);
	size_t len = 0;

	if (mount)
		read_controllers(mount, &have);
	ret[0] = '\0';
	/* The third is for huge pages only, which have a pool to hold them back. */
	for (size_t i = 0; i < 2; i++)
		if (!has_word(buf_str(&have), controllers[i]) && len < size)
			len += (size_t)snprintf(ret + len, size - len, "%s%s", len ? ", " : "",
						controllers[i]);
}

char *vmgroup_path(const char *mount, const char *dir)
{
	auto_free char *real = realpath(dir, NULL);
	const char *what = real ? real : dir;
	char hex[DIGEST_HEX_SIZE];

	digest_of(what, strlen(what), hex);
	return xasprintf("%s/" PARENT "/%.*s", mount, NAME_LEN, hex);
}

static int make_dir(const char *path, struct err *err)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return err_sys(err, "cannot make cgroup '%s'", path);
	return 0;
}

/* Those that are there: others stay without a limit, which plan has said. */
static void enable(const char *dir)
{
	for (size_t i = 0; i < ARRAY_SIZE(controllers); i++) {
		auto_free char *text = xasprintf("+%s", controllers[i]);

		(void)write_file(dir, "cgroup.subtree_control", text);
	}
}

static char *above(const char *path)
{
	return xstrndup(path, (size_t)(strrchr(path, '/') - path));
}

/* The last VM to end takes the parent away, perhaps just now: it is made again. */
static int make_both(const char *path, struct err *err)
{
	auto_free char *parent = above(path);
	auto_free char *mount = above(parent);
	int r = -ENOENT;

	enable(mount);
	for (int try = 0; try < MAKE_TRIES && r == -ENOENT; try++) {
		r = make_dir(parent, err);
		if (r >= 0)
			r = make_dir(path, err);
	}
	/* From here on the parent is not empty: it is the one that stays. */
	if (r >= 0)
		enable(parent);
	return r;
}

static void remove_parent(const char *path)
{
	auto_free char *parent = above(path);

	(void)rmdir(parent);
}

static int limit(const char *path, const char *name, uint64_t value, struct err *err)
{
	auto_free char *text = xasprintf("%llu", (unsigned long long)value);
	int r = value ? write_file(path, name, text) : 0;

	if (r == 0 || r == -ENOENT)
		return 0;
	return err_sys_code(err, r, "cannot set %s of cgroup '%s'", name, path);
}

int vmgroup_make(const char *path, const struct vmgroup_limits *limits, int *ret_procs,
		 struct err *err)
{
	auto_free char *procs_path = path_join(path, "cgroup.procs");
	auto_close int procs = -1;
	int r = vmgroup_remove(path, err);

	if (r >= 0)
		r = make_both(path, err);
	if (r >= 0)
		r = limit(path, "memory.max", limits->memory_bytes, err);
	if (r >= 0)
		r = limit(path, "pids.max", limits->pids, err);
	if (r >= 0)
		r = limit(path, "hugetlb.2MB.max", limits->huge_bytes, err);
	if (r < 0)
		return r;
	procs = open(procs_path, O_WRONLY | O_CLOEXEC);
	if (procs < 0)
		return err_sys(err, "cannot open '%s'", procs_path);
	*ret_procs = TAKE_FD(procs);
	return 0;
}

/* cgroup.events is urgent when it changes; what it says counts. */
static int await_empty(const char *path, struct err *err)
{
	auto_free char *events = path_join(path, "cgroup.events");
	auto_close int fd = open(events, O_RDONLY | O_CLOEXEC);
	uint64_t deadline_ms = deadline_in(EMPTY_DEADLINE_MS);
	char text[256] = "";

	while (fd >= 0) {
		ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

		text[n > 0 ? n : 0] = '\0';
		if (n < 0 || strstr(text, "populated 0"))
			return 0;
		if (io_wait(fd, POLLPRI, deadline_ms) == 0)
			return err_set(err, ERR_CLEANUP, -EBUSY,
				       "processes in cgroup '%s' do not end", path);
	}
	return 0;
}

int vmgroup_remove(const char *path, struct err *err)
{
	int r;

	if (rmdir(path) < 0 && errno == EBUSY) {
		(void)write_file(path, "cgroup.kill", "1");
		r = await_empty(path, err);
		if (r < 0)
			return r;
	}
	if (rmdir(path) < 0 && errno != ENOENT)
		return err_sys(err, "cannot remove cgroup '%s'", path);
	remove_parent(path);
	return 0;
}
