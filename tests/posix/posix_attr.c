/* posix_attr.c - modes, owners, sizes, times, and who may change them. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "posix.h"

static void chmod_t(const struct posix_case *c, struct posix_at *at)
{
	auto_close int fd = -1;

	switch (c->b) {
	case 0:
		(void)posix_result(at, "chmod", chmod("d/t", (mode_t)c->a));
		break;
	case 1:
		fd = posix_result_fd(at, "open", open("d/t", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
		if (fd >= 0)
			(void)posix_result(at, "fchmod", fchmod(fd, (mode_t)c->a));
		break;
	default: /* fchmodat2, which libc has no name for */
		(void)posix_result(
			at, "lchmod",
			syscall(452, AT_FDCWD, "d/t", (mode_t)c->a, AT_SYMLINK_NOFOLLOW));
	}
}

void posix_build_chmod(struct posix_table *table)
{
	static const mode_t modes[] = {0, 0644, 04755, 02755, 02745, 01777, 07777};
	static const enum posix_object kinds[] = {OBJ_NONE,     OBJ_FILE, OBJ_DIR,  OBJ_LINK,
						  OBJ_DANGLING, OBJ_FIFO, OBJ_SOCK, OBJ_CHR};

	for (size_t m = 0; m < ARRAY_SIZE(modes); m++)
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
			for (int cred = 0; cred < CRED_COUNT; cred++)
				for (int how = 0; how < 3; how++) {
					struct posix_case c = posix_default("chmod", chmod_t);

					if (how && kinds[k] > OBJ_LINK)
						continue;
					c.t.object = kinds[k];
					c.cred = (enum posix_cred_id)cred;
					c.a = modes[m];
					c.b = how;
					posix_add(table, &c);
				}
}

static void chown_t(const struct posix_case *c, struct posix_at *at)
{
	auto_close int fd = -1;

	if (c->s) {
		fd = posix_result_fd(at, "open", open("d/t", O_RDONLY | O_CLOEXEC));
		if (fd >= 0)
			(void)posix_result(at, "fchown", fchown(fd, (uid_t)c->a, (gid_t)c->b));
	} else {
		(void)posix_result(at, "lchown", lchown("d/t", (uid_t)c->a, (gid_t)c->b));
	}
}

void posix_build_chown(struct posix_table *table)
{
	static const struct {
		uid_t uid;
		gid_t gid;
	} to[] = {
		{UINT32_MAX, UINT32_MAX}, {UID_OWNER, UINT32_MAX},
		{UINT32_MAX, UID_OWNER},  {UINT32_MAX, UID_OTHER},
		{UINT32_MAX, UID_SUPP},   {UID_OTHER, UINT32_MAX},
		{UID_OTHER, UID_OTHER},   {0, 0},
		{UID_OWNER, UID_OWNER},   {UINT32_MAX, 4000000000u},
	};
	static const mode_t modes[] = {0644, 06755, 06644, 02745};
	static const enum posix_object kinds[] = {OBJ_FILE, OBJ_DIR, OBJ_LINK, OBJ_FIFO};

	for (size_t i = 0; i < ARRAY_SIZE(to); i++)
		for (size_t m = 0; m < ARRAY_SIZE(modes); m++)
			for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
				for (int cred = 0; cred < CRED_COUNT; cred++) {
					struct posix_case c = posix_default("chown", chown_t);

					if (kinds[k] >= OBJ_LINK && m)
						continue;
					/* To the server a change of nothing is what comes before a
					 * write, too, and not to be refused. */
					if (cred > CRED_OWNER && i == 0 && m)
						continue;
					c.t.object = kinds[k];
					c.t.mode = modes[m];
					c.cred = (enum posix_cred_id)cred;
					c.a = to[i].uid;
					c.b = to[i].gid;
					c.s = kinds[k] == OBJ_FILE && m % 2 ? "by descriptor"
									    : NULL;
					posix_add(table, &c);
				}
}

static void truncate_t(const struct posix_case *c, struct posix_at *at)
{
	auto_close int fd = -1;

	if (!c->s) {
		(void)posix_result(at, "truncate", truncate("d/t", c->a));
		return;
	}
	fd = posix_result_fd(at, "open", open("d/t", (int)c->b | O_NONBLOCK | O_CLOEXEC));
	if (fd >= 0)
		(void)posix_result(at, "ftruncate", ftruncate(fd, c->a));
}

void posix_build_truncate(struct posix_table *table)
{
	static const int64_t sizes[] = {-1, 0, 5, 11, 12, 4096, 1 << 20, 1LL << 40, INT64_MAX};
	static const enum posix_object kinds[] = {OBJ_NONE,     OBJ_FILE, OBJ_DIR, OBJ_LINK,
						  OBJ_DANGLING, OBJ_FIFO, OBJ_CHR, OBJ_LOOP};

	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++)
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
			for (int cred = 0; cred < CRED_COUNT; cred++)
				for (int how = -1; how <= O_RDWR; how++) {
					struct posix_case c = posix_default("truncate", truncate_t);

					if (how >= 0 && kinds[k] != OBJ_FILE)
						continue;
					if (cred > CRED_OWNER && kinds[k] != OBJ_FILE)
						continue;
					c.t.object = kinds[k];
					c.t.mode = 0664;
					c.cred = (enum posix_cred_id)cred;
					c.a = sizes[s];
					c.b = how;
					c.s = how >= 0 ? "by descriptor" : NULL;
					posix_add(table, &c);
				}
}

#define T(s, n)                               \
	{                                     \
		.tv_sec = (s), .tv_nsec = (n) \
	}
static const struct {
	bool null;
	struct timespec t[2];
} times[] = {
	{.null = true},
	{.t = {T(0, UTIME_NOW), T(0, UTIME_NOW)}},
	{.t = {T(0, UTIME_OMIT), T(0, UTIME_OMIT)}},
	{.t = {T(0, UTIME_NOW), T(0, UTIME_OMIT)}},
	{.t = {T(0, UTIME_OMIT), T(0, UTIME_NOW)}},
	{.t = {T(1, 2), T(3, 999999999)}},
	{.t = {T(12345, 0), T(0, UTIME_OMIT)}},
	{.t = {T(0, UTIME_OMIT), T(12345, 678)}},
	{.t = {T(0, UTIME_NOW), T(12345, 678)}},
	{.t = {T(1, 1000000000), T(1, 1)}},
	{.t = {T(-5, 1), T(-86400, 2)}},
	{.t = {T(4102444800, 7), T(7289654400, 8)}},
};

static void utimens_t(const struct posix_case *c, struct posix_at *at)
{
	const struct timespec *t = times[c->a].null ? NULL : times[c->a].t;
	auto_close int fd = -1;

	if (!c->b) {
		(void)posix_result(at, "utimens",
				   utimensat(AT_FDCWD, "d/t", t, AT_SYMLINK_NOFOLLOW));
		return;
	}
	fd = posix_result_fd(at, "open", open("d/t", O_RDONLY | O_CLOEXEC));
	if (fd >= 0)
		(void)posix_result(at, "futimens", futimens(fd, t));
}

void posix_build_utimens(struct posix_table *table)
{
	static const mode_t modes[] = {0644, 0666, 0444};
	static const enum posix_object kinds[] = {OBJ_FILE, OBJ_DIR, OBJ_LINK};

	for (size_t i = 0; i < ARRAY_SIZE(times); i++)
		for (size_t m = 0; m < ARRAY_SIZE(modes); m++)
			for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
				for (int cred = 0; cred < CRED_COUNT; cred++) {
					struct posix_case c = posix_default("utimens", utimens_t);

					if (kinds[k] == OBJ_LINK && m)
						continue;
					c.t.object = kinds[k];
					c.t.mode = modes[m];
					c.cred = (enum posix_cred_id)cred;
					c.a = (int64_t)i;
					c.b = kinds[k] == OBJ_FILE && (cred + (int)i) % 2;
					posix_add(table, &c);
				}
}

/* What takes set-id bits away. */
static void change_data(const struct posix_case *c, struct posix_at *at)
{
	auto_close int fd = -1;
	auto_close int from = -1;

	if (c->a == 0) {
		(void)posix_result(at, "truncate", truncate("d/t", 3));
		return;
	}
	fd = posix_result_fd(at, "open",
			     open("d/t", O_WRONLY | O_CLOEXEC | (c->a == 1 ? O_TRUNC : 0)));
	if (fd < 0)
		return;
	switch (c->a) {
	case 2:
		(void)posix_result(at, "write", write(fd, "x", 1));
		break;
	case 3:
		(void)posix_result(at, "pwrite", pwrite(fd, "x", 1, 8192));
		break;
	case 4:
		(void)posix_result(at, "ftruncate", ftruncate(fd, 3));
		break;
	case 5:
		(void)posix_result(at, "fallocate", fallocate(fd, 0, 0, 65536));
		break;
	case 6:
		from = posix_result_fd(at, "open", open("target", O_RDONLY | O_CLOEXEC));
		(void)posix_result(at, "copy", copy_file_range(from, NULL, fd, NULL, 5, 0));
		break;
	case 7:
		(void)posix_result(at, "empty write", write(fd, "", 0));
		break;
	default:
		break;
	}
	posix_result_stat(at, "stat", fd);
}

void posix_build_killpriv(struct posix_table *table)
{
	static const mode_t modes[] = {06777, 04777, 02777, 02767, 06666, 04766, 01777};

	for (int op = 0; op < 9; op++)
		for (size_t m = 0; m < ARRAY_SIZE(modes); m++)
			for (int cred = 0; cred < CRED_COUNT; cred++) {
				struct posix_case c = posix_default("killpriv", change_data);

				/* A write does not say which supplementary groups its caller has:
				 * without execution for the group the bit goes where it might stay.
				 */
				if (cred == CRED_SUPP && op >= 2 && op != 4 &&
				    (modes[m] & (S_ISGID | S_IXGRP)) == S_ISGID)
					continue;
				c.t.mode = modes[m];
				c.cred = (enum posix_cred_id)cred;
				c.a = op;
				posix_add(table, &c);
			}
}
