/* posix_names.c - making, removing, linking and moving names. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"
#include "posix.h"
#include "xalloc.h"

enum {
	MAKE_OPEN,
	MAKE_DIR,
	MAKE_REG,
	MAKE_FIFO,
	MAKE_SOCK,
	MAKE_CHR,
	MAKE_BLK,
	MAKE_SYMLINK,
	MAKE_LINK,
	MAKE_TMPFILE,
	MAKE_COUNT
};

static void make_tmpfile(mode_t mode, struct posix_at *at)
{
	auto_close int fd =
		posix_result_fd(at, "tmpfile", open("d", O_TMPFILE | O_RDWR | O_CLOEXEC, mode));
	char proc[32];

	if (fd < 0)
		return;
	posix_result_stat(at, "stat", fd);
	(void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	(void)posix_result(at, "write", write(fd, "tmp", 3));
	(void)posix_result(at, "link",
			   linkat(AT_FDCWD, proc, AT_FDCWD, "d/new", AT_SYMLINK_FOLLOW));
	posix_result_stat(at, "stat", fd);
}

static void make_name(const struct posix_case *c, struct posix_at *at)
{
	static const mode_t types[MAKE_COUNT] = {[MAKE_REG] = S_IFREG,
						 [MAKE_FIFO] = S_IFIFO,
						 [MAKE_SOCK] = S_IFSOCK,
						 [MAKE_CHR] = S_IFCHR,
						 [MAKE_BLK] = S_IFBLK};
	mode_t mode = (mode_t)c->b;

	switch (c->a) {
	case MAKE_OPEN:
		cleanup_close_p(&(int){posix_result_fd(
			at, "open", open("d/new", O_CREAT | O_RDWR | O_CLOEXEC, mode))});
		break;
	case MAKE_DIR:
		(void)posix_result(at, "mkdir", mkdir("d/new", mode));
		break;
	case MAKE_SYMLINK:
		(void)posix_result(at, "symlink", symlink("some/where", "d/new"));
		break;
	case MAKE_LINK:
		(void)posix_result(at, "link", link("target", "d/new"));
		break;
	case MAKE_TMPFILE:
		make_tmpfile(mode, at);
		break;
	default:
		(void)posix_result(at, "mknod", mknod("d/new", types[c->a] | mode, makedev(1, 3)));
	}
}

void posix_build_make(struct posix_table *table)
{
	static const mode_t dirs[] = {0755, 0777, 01777, 02777, 02775, 0555, 0733};
	static const struct {
		mode_t mode, umask;
	} how[] = {{0644, 022}, {06777, 0}, {01666, 077}};

	for (int what = 0; what < MAKE_COUNT; what++)
		for (size_t d = 0; d < ARRAY_SIZE(dirs); d++)
			for (int cred = 0; cred < CRED_COUNT; cred++)
				for (size_t h = 0; h < ARRAY_SIZE(how); h++) {
					struct posix_case c = posix_default("make", make_name);

					c.dir.mode = dirs[d];
					c.cred = (enum posix_cred_id)cred;
					c.umask = how[h].umask;
					c.a = what;
					c.b = how[h].mode;
					posix_add(table, &c);
				}
}

static void make_over(const struct posix_case *c, struct posix_at *at)
{
	struct stat st;

	switch (c->a) {
	case 0:
		(void)posix_result(at, "mkdir", mkdir("d/t", 0777));
		break;
	case 1:
		(void)posix_result(at, "mknod", mknod("d/t", S_IFREG | 0644, 0));
		break;
	case 2:
		(void)posix_result(at, "symlink", symlink("x", "d/t"));
		break;
	case 3:
		(void)posix_result(at, "link", link("target", "d/t"));
		break;
	case 4:
		(void)posix_result(at, "link from", link("d/t", "o/new"));
		break;
	case 5:
		(void)posix_result(at, "link followed",
				   linkat(AT_FDCWD, "d/t", AT_FDCWD, "o/new", AT_SYMLINK_FOLLOW));
		break;
	case 6:
		(void)posix_result(at, "in it", mkdir("d/t/sub", 0777));
		break;
	case 7:
		(void)posix_result(at, "stat", stat("d/t/", &st));
		break;
	case 8:
		(void)posix_result(at, "unlink", unlink("d/t"));
		break;
	case 9:
		(void)posix_result(at, "rmdir", rmdir("d/t"));
		break;
	case 10:
		(void)posix_result(at, "unlink/", unlink("d/t/"));
		break;
	default:
		(void)posix_result(at, "rmdir/", rmdir("d/t/"));
	}
}

void posix_build_over(struct posix_table *table)
{
	for (int op = 0; op < 12; op++)
		for (int object = OBJ_NONE; object < OBJ_COUNT; object++)
			for (int cred = 0; cred < CRED_COUNT; cred += CRED_OWNER) {
				struct posix_case c = posix_default("over", make_over);

				if (cred != CRED_ROOT && cred != CRED_OWNER && cred != CRED_OTHER)
					continue;
				c.t.object = (enum posix_object)object;
				c.cred = (enum posix_cred_id)cred;
				c.a = op;
				posix_add(table, &c);
			}
}

void posix_build_remove(struct posix_table *table)
{
	static const mode_t dirs[] = {0755, 0777, 01777, 0555};
	static const uid_t owners[] = {0, UID_OWNER, UID_OTHER};
	static const enum posix_object kinds[] = {OBJ_FILE, OBJ_DIR, OBJ_LINK};

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (size_t d = 0; d < ARRAY_SIZE(dirs); d++)
			for (size_t o = 0; o < ARRAY_SIZE(owners); o++)
				for (int cred = 0; cred < CRED_COUNT; cred++) {
					struct posix_case c = posix_default("remove", make_over);

					c.t.object = kinds[k];
					c.t.mode = 0755;
					c.t.uid = owners[o];
					c.dir.mode = dirs[d];
					c.cred = (enum posix_cred_id)cred;
					c.a = kinds[k] == OBJ_DIR ? 9 : 8;
					posix_add(table, &c);
				}
}

static void rename_t(const struct posix_case *c, struct posix_at *at)
{
	(void)posix_result(
		at, "rename",
		renameat2(AT_FDCWD, c->s ? c->s : "d/t", AT_FDCWD, "o/u", (unsigned int)c->a));
}

void posix_build_rename(struct posix_table *table)
{
	static const unsigned int how[] = {0,
					   RENAME_NOREPLACE,
					   RENAME_EXCHANGE,
					   RENAME_WHITEOUT,
					   RENAME_NOREPLACE | RENAME_EXCHANGE,
					   64};

	for (int t = OBJ_NONE; t < OBJ_COUNT; t++)
		for (int u = OBJ_NONE; u < OBJ_COUNT; u++)
			for (size_t h = 0; h < ARRAY_SIZE(how); h++) {
				struct posix_case c = posix_default("rename", rename_t);

				if (t > OBJ_DANGLING && u > OBJ_DANGLING && t != u)
					continue;
				if (how[h] > RENAME_EXCHANGE && u != OBJ_NONE && u != OBJ_FILE)
					continue;
				c.t.object = (enum posix_object)t;
				c.t.mode = c.u.mode = 0755;
				c.u.object = (enum posix_object)u;
				c.cred = CRED_ROOT;
				c.a = how[h];
				posix_add(table, &c);
			}
}

/* Sticky and read-only directories, and a directory that has to be given a new "..". */
void posix_build_rename_rights(struct posix_table *table)
{
	static const mode_t dirs[] = {0755, 0777, 01777, 0555};
	static const uid_t owners[] = {UID_OWNER, UID_OTHER};
	static const enum posix_object kinds[] = {OBJ_FILE, OBJ_DIR};
	static const unsigned int how[] = {0, RENAME_EXCHANGE};

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (size_t d = 0; d < ARRAY_SIZE(dirs); d++)
			for (size_t o = 0; o < ARRAY_SIZE(owners); o++)
				for (size_t h = 0; h < ARRAY_SIZE(how); h++)
					for (int cred = 0; cred < CRED_COUNT; cred++) {
						struct posix_case c =
							posix_default("rename right", rename_t);

						c.t = (struct posix_node){kinds[k], 0755, owners[o],
									  owners[o]};
						c.u = (struct posix_node){kinds[k], 0700, UID_OWNER,
									  UID_OWNER};
						c.dir.mode = dirs[d];
						c.cred = (enum posix_cred_id)cred;
						c.a = how[h];
						posix_add(table, &c);
					}
}

/* Names as such: what each call makes of an odd path. */
static void odd_path(const struct posix_case *c, struct posix_at *at)
{
	auto_free char *path = NULL;
	struct stat st;
	char target[64];

	if (c->b) {
		path = xasprintf("d/%0*d", (int)c->b, 0);
	} else {
		path = xstrdup(c->s);
	}
	switch (c->a) {
	case 0:
		(void)posix_result(at, "stat", lstat(path, &st));
		break;
	case 1:
		cleanup_close_p(&(int){posix_result_fd(at, "open", open(path, O_RDONLY))});
		break;
	case 2:
		cleanup_close_p(
			&(int){posix_result_fd(at, "create", open(path, O_RDWR | O_CREAT, 0644))});
		break;
	case 3:
		(void)posix_result(at, "mkdir", mkdir(path, 0755));
		break;
	case 4:
		(void)posix_result(at, "rmdir", rmdir(path));
		break;
	case 5:
		(void)posix_result(at, "unlink", unlink(path));
		break;
	case 6:
		(void)posix_result(at, "rename", rename("target", path));
		break;
	case 7:
		(void)posix_result(at, "rename from", rename(path, "o/there"));
		break;
	case 8:
		(void)posix_result(at, "symlink", symlink("there", path));
		break;
	case 9:
		(void)posix_result(at, "link", link("target", path));
		break;
	case 10:
		(void)posix_result(at, "readlink", readlink(path, target, sizeof(target)));
		break;
	default:
		(void)posix_result(at, "truncate", truncate(path, 3));
	}
}

void posix_build_paths(struct posix_table *table)
{
	static const char *const paths[] = {
		"",         ".",      "..",         "d/.",      "d/..",      "d/t/",
		"d/t/.",    "d/t/..", "d/none",     "d/none/x", "d/none/..", "d//t",
		"d/\xff\1", "d/ ",    "d/...",      "d/a\nb",   "d/t/../x",  "o/../d/t",
		"d/-f",     "d/*",    "d/\xc3\xa9", "d/none/",
	};
	static const int lengths[] = {1, 254, 255, 256, 1000, 4100};
	static const enum posix_object kinds[] = {OBJ_FILE, OBJ_DIR, OBJ_DIRLINK, OBJ_LOOP};

	for (int op = 0; op < 12; op++) {
		for (size_t p = 0; p < ARRAY_SIZE(paths); p++)
			for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
				struct posix_case c = posix_default("path", odd_path);

				c.t.object = kinds[k];
				c.t.mode = 0755;
				c.a = op;
				c.s = paths[p];
				c.cred = CRED_ROOT;
				posix_add(table, &c);
			}
		for (size_t l = 0; l < ARRAY_SIZE(lengths); l++) {
			struct posix_case c = posix_default("long name", odd_path);

			c.a = op;
			c.b = lengths[l];
			posix_add(table, &c);
		}
	}
}
