/* posix_dump.c - what is there, as text: laying out the tree of a case and reading it back. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"
#include "posix.h"
#include "strv.h"
#include "xalloc.h"

static int make(const char *path, const struct posix_node *node, struct err *err)
{
	static const char content[] = "0123456789\n";
	mode_t type = 0;
	int r = 0;

	switch (node->object) {
	case OBJ_NONE:
	case OBJ_COUNT:
		return 0;
	case OBJ_FILE: {
		auto_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

		r = fd < 0 || write(fd, content, sizeof(content) - 1) < 0 ? -1 : 0;
		break;
	}
	case OBJ_FULL:
	case OBJ_DIR:
		r = mkdir(path, 0700);
		break;
	case OBJ_LINK:
		r = symlink("../target", path);
		break;
	case OBJ_DANGLING:
		r = symlink("../nothing", path);
		break;
	case OBJ_DIRLINK:
		r = symlink("../o", path);
		break;
	case OBJ_LOOP:
		r = symlink(strrchr(path, '/') + 1, path);
		break;
	case OBJ_FIFO:
		type = S_IFIFO;
		break;
	case OBJ_SOCK:
		type = S_IFSOCK;
		break;
	case OBJ_CHR:
		type = S_IFCHR;
		break;
	case OBJ_BLK:
		type = S_IFBLK;
		break;
	}
	if (type)
		r = mknod(path, type | 0600, type == S_IFBLK ? makedev(240, 7) : makedev(1, 3));
	return r < 0 ? err_sys(err, "cannot make '%s'", path) : 0;
}

/* Owner before mode: chown takes the set-id bits away. */
static int dress(const char *path, const struct posix_node *node, struct err *err)
{
	const struct timespec fixed[2] = {{.tv_sec = POSIX_TIME}, {.tv_sec = POSIX_TIME}};
	struct stat st;

	if (node->object == OBJ_NONE)
		return 0;
	if (lchown(path, node->uid, node->gid) < 0 || lstat(path, &st) < 0 ||
	    (!S_ISLNK(st.st_mode) && chmod(path, node->mode) < 0) ||
	    utimensat(AT_FDCWD, path, fixed, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "cannot dress '%s'", path);
	return 0;
}

int posix_lay_out(const struct posix_case *c, struct err *err)
{
	const struct posix_node dir = {OBJ_DIR, 0777, UID_OWNER, UID_OWNER};
	const struct posix_node file = {OBJ_FILE, 0666, UID_OWNER, UID_OWNER};
	const struct posix_node top = {OBJ_DIR, 0755, 0, 0}, none = {0};
	const struct {
		const char *path;
		const struct posix_node *node;
	} tree[] = {
		{"d", &c->dir},
		{"o", &dir},
		{"target", &file},
		{"d/t", &c->t},
		{"o/u", &c->u},
		{"d/t/in", c->t.object == OBJ_FULL ? &file : &none},
		{"o/u/in", c->u.object == OBJ_FULL ? &file : &none},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(tree); i++)
		r = make(tree[i].path, tree[i].node, err);
	/* What is in a directory first: making it changed that one's times. */
	for (size_t i = ARRAY_SIZE(tree); r == 0 && i-- > 0;)
		r = dress(tree[i].path, tree[i].node, err);
	return r < 0 ? r : dress(".", &top, err);
}

static void add_time(struct buf *out, char what, const struct timespec *t,
		     const struct posix_since *since)
{
	bool newer =
		t->tv_sec > since->sec || (t->tv_sec == since->sec && t->tv_nsec >= since->nsec);
	/* Set by hand: far from now in either direction. */
	bool set = t->tv_sec < since->sec - 86400 || t->tv_sec > since->sec + 86400;

	if (set && t->tv_sec == POSIX_TIME && t->tv_nsec == 0)
		buf_addf(out, " %c=", what);
	else if (set)
		buf_addf(out, " %c%jd.%09ld", what, (intmax_t)t->tv_sec, t->tv_nsec);
	else
		buf_addf(out, " %c%c", what, newer ? '+' : '.');
}

static void add_content(int fd, off_t size, struct buf *out)
{
	static unsigned char data[65536];
	uint64_t hash = 0xcbf29ce484222325u;
	/* The head, and the tail of what is longer. */
	const off_t at[2] = {0, size > (off_t)sizeof(data) ? size - 4096 : size};

	for (int part = 0; part < 2; part++) {
		ssize_t n = at[part] < size ? pread(fd, data, sizeof(data), at[part]) : 0;

		if (n < 0) {
			buf_addf(out, " unreadable: %s", strerrorname_np(errno));
			return;
		}
		for (ssize_t i = 0; i < n; i++)
			hash = (hash ^ data[i]) * 0x100000001b3u;
	}
	buf_addf(out, " h%016jx", (uintmax_t)hash);
}

static int by_name(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y);
}

static void add_xattrs(const char *proc, struct buf *out)
{
	char list[8192];
	ssize_t n = llistxattr(proc, list, sizeof(list));
	char *names[64];
	size_t count = 0;

	for (char *p = list; n > 0 && p < list + n && count < ARRAY_SIZE(names); p += strlen(p) + 1)
		names[count++] = p;
	if (count)
		qsort(names, count, sizeof(*names), by_name);
	for (size_t i = 0; i < count; i++) {
		unsigned char value[256];
		ssize_t len = lgetxattr(proc, names[i], value, sizeof(value));

		buf_addf(out, " %s=", names[i]);
		for (ssize_t k = 0; k < len; k++)
			buf_addf(out, "%02x", value[k]);
	}
}

struct dump {
	const struct posix_since *since;
	bool without_atime; /* of d/t */
	struct buf *out;
};

static void dump_one(const struct dump *d, int dir_fd, const char *name, const char *path)
{
	auto_free char *proc = xasprintf("/proc/self/fd/%d/%s", dir_fd, name);
	struct buf *out = d->out;
	char target[4096];
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		buf_addf(out, "%s %s\n", path, strerrorname_np(errno));
		return;
	}
	buf_addf(out, "%s %06o %u:%u n%ju s%jd", path, st.st_mode, st.st_uid, st.st_gid,
		 (uintmax_t)st.st_nlink, (intmax_t)st.st_size);
	/* Reading a link, which this does, changes its access time. */
	if (!S_ISLNK(st.st_mode) && !(d->without_atime && strcmp(path, "d/t") == 0))
		add_time(out, 'a', &st.st_atim, d->since);
	add_time(out, 'm', &st.st_mtim, d->since);
	add_time(out, 'c', &st.st_ctim, d->since);
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		buf_addf(out, " r%u:%u", major(st.st_rdev), minor(st.st_rdev));
	if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlinkat(dir_fd, name, target, sizeof(target) - 1);

		buf_addf(out, " -> %.*s", n > 0 ? (int)n : 0, target);
	}
	add_xattrs(proc, out);
	if (S_ISREG(st.st_mode)) {
		auto_close int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOATIME);

		if (fd < 0)
			buf_addf(out, " unopened: %s", strerrorname_np(errno));
		else
			add_content(fd, st.st_size, out);
	}
	buf_add_char(out, '\n');
}

/* Reading a directory is not to change its access time either. */
static void list_dir(int dir_fd, struct strv *names)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_NOATIME | O_CLOEXEC);
	auto_closedir DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			strv_add(names, e->d_name);
	if (names->n)
		qsort(names->v, names->n, sizeof(*names->v), by_name);
}

static void dump_dir(const struct dump *d, int dir_fd, const char *path)
{
	auto_strv struct strv names = {0};

	list_dir(dir_fd, &names);
	for (size_t i = 0; i < names.n; i++) {
		auto_free char *full = xasprintf("%s%s%s", path, *path ? "/" : "", names.v[i]);
		auto_close int fd = -1;

		dump_one(d, dir_fd, names.v[i], full);
		fd = openat(dir_fd, names.v[i],
			    O_RDONLY | O_DIRECTORY | O_NOATIME | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0)
			dump_dir(d, fd, full);
	}
}

void posix_dump(int dir_fd, const struct posix_since *since, bool without_atime, struct buf *out)
{
	const struct dump d = {since, without_atime, out};

	dump_one(&d, dir_fd, ".", ".");
	dump_dir(&d, dir_fd, "");
}
