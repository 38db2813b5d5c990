/* posix_open.c - who may open what, how, and what opening does. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "posix.h"

static void open_t(const struct posix_case *c, struct posix_at *at)
{
	auto_close int fd =
		posix_result_fd(at, "open", open("d/t", (int)c->a | O_CLOEXEC, (mode_t)c->b));
	char byte;

	if (fd < 0)
		return;
	posix_result_stat(at, "stat", fd);
	buf_addf(at->out, " flags=%o", fcntl(fd, F_GETFL));
	if (c->t.object == OBJ_FILE) {
		posix_result_data(at, "read", &byte, read(fd, &byte, 1));
		(void)posix_result(at, "write", write(fd, "w", 1));
	}
}

static const int flags[] = {
	O_RDONLY,
	O_WRONLY,
	O_RDWR,
	O_RDONLY | O_TRUNC,
	O_WRONLY | O_TRUNC,
	O_WRONLY | O_APPEND,
	O_RDWR | O_CREAT,
	O_WRONLY | O_CREAT | O_EXCL,
	O_WRONLY | O_CREAT | O_TRUNC,
	O_RDONLY | O_DIRECTORY,
	O_RDWR | O_DIRECTORY,
	O_RDONLY | O_NOFOLLOW,
	O_RDONLY | O_NOATIME,
	O_PATH,
	O_PATH | O_NOFOLLOW,
	O_RDONLY | O_SYNC,
};

void posix_build_open_kinds(struct posix_table *table)
{
	for (size_t f = 0; f < ARRAY_SIZE(flags); f++)
		for (int object = OBJ_NONE; object < OBJ_COUNT; object++)
			for (int cred = 0; cred < CRED_COUNT; cred++) {
				struct posix_case c = posix_default("open", open_t);

				c.t.object = (enum posix_object)object;
				c.t.mode = object == OBJ_DIR ? 0750 : 0640;
				c.cred = (enum posix_cred_id)cred;
				c.a = flags[f] | O_NONBLOCK;
				c.b = 0640;
				c.reads_end = flags[f] & O_TRUNC;
				posix_add(table, &c);
			}
}

void posix_build_open_modes(struct posix_table *table)
{
	static const mode_t modes[] = {0000, 0400, 0200, 0100, 0600, 0040, 0020, 0060,
				       0004, 0002, 0006, 0644, 0466, 0064, 0646, 0777};
	static const int how[] = {O_RDONLY, O_WRONLY, O_RDWR, O_WRONLY | O_TRUNC};

	for (size_t m = 0; m < ARRAY_SIZE(modes); m++)
		for (size_t f = 0; f < ARRAY_SIZE(how); f++)
			for (int cred = 0; cred < CRED_COUNT; cred++) {
				struct posix_case c = posix_default("open mode", open_t);

				c.t.mode = modes[m];
				c.cred = (enum posix_cred_id)cred;
				c.a = how[f];
				posix_add(table, &c);
			}
}

static void access_t(const struct posix_case *c, struct posix_at *at)
{
	(void)posix_result(at, "access", faccessat(AT_FDCWD, "d/t", (int)c->a, AT_EACCESS));
}

void posix_build_access(struct posix_table *table)
{
	static const mode_t modes[] = {0000, 0700, 0070, 0007, 0421, 0124, 0664, 0755};
	static const int how[] = {F_OK, R_OK, W_OK, X_OK, R_OK | W_OK | X_OK};
	static const enum posix_object kinds[] = {OBJ_FILE, OBJ_DIR, OBJ_FIFO};

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (size_t m = 0; m < ARRAY_SIZE(modes); m++)
			for (size_t f = 0; f < ARRAY_SIZE(how); f++)
				for (int cred = 0; cred < CRED_COUNT; cred++) {
					struct posix_case c = posix_default("access", access_t);

					c.t.object = kinds[k];
					c.t.mode = modes[m];
					c.cred = (enum posix_cred_id)cred;
					c.a = how[f];
					posix_add(table, &c);
				}
}

/* Everything that walks through d, or reads or changes it, by d's mode. */
static void search_d(const struct posix_case *c, struct posix_at *at)
{
	struct stat st;
	char target[64];

	switch (c->a) {
	case 0:
		(void)posix_result(at, "stat", stat("d/t", &st));
		break;
	case 1:
		cleanup_close_p(&(int){posix_result_fd(at, "open", open("d/t", O_RDONLY))});
		break;
	case 2:
		cleanup_close_p(&(int){
			posix_result_fd(at, "create", open("d/new", O_CREAT | O_RDWR, 0600))});
		break;
	case 3:
		(void)posix_result(at, "unlink", unlink("d/t"));
		break;
	case 4:
		cleanup_close_p(&(int){posix_result_fd(at, "list", open("d", O_DIRECTORY))});
		break;
	case 5:
		(void)posix_result(at, "chdir", chdir("d"));
		break;
	case 6:
		(void)posix_result(at, "rename", rename("d/t", "d/moved"));
		break;
	case 7:
		(void)posix_result(at, "chmod", chmod("d/t", 0600));
		break;
	case 8:
		(void)posix_result(at, "link", link("d/t", "o/linked"));
		break;
	default:
		(void)posix_result(at, "readlink", readlink("d/t", target, sizeof(target)));
	}
}

void posix_build_search(struct posix_table *table)
{
	static const mode_t modes[] = {0000, 0100, 0200, 0300, 0400, 0500, 0700, 0070,
				       0010, 0030, 0007, 0001, 0003, 0733, 0711, 0077};

	for (int op = 0; op < 10; op++)
		for (size_t m = 0; m < ARRAY_SIZE(modes); m++)
			for (int cred = 0; cred < CRED_COUNT; cred++) {
				struct posix_case c = posix_default("search", search_d);

				c.dir.mode = modes[m];
				c.t.mode = 0666;
				c.cred = (enum posix_cred_id)cred;
				c.a = op;
				posix_add(table, &c);
			}
}
