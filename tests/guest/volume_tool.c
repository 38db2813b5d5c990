/* volume_tool.c - what runs in the guest in tests of volumes: static, so that it can lie on a
 * volume and run in a container that holds nothing else.
 *
 * hold DIR: keeps DIR/held open and locked, DIR/gone open and without a name, and DIR/sub as
 * working directory; ten times a second it writes a number through all and says in DIR/report how
 * that went. load DIR: makes, writes, syncs, renames, reads and removes files until DIR/stop is
 * there; DIR/done then has the number of rounds, or the first thing that went wrong. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int put(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int bad = fd < 0 || write(fd, text, strlen(text)) < 0 || fsync(fd) < 0;
	int code = bad ? errno : 0;

	if (fd >= 0)
		(void)close(fd);
	return code;
}

static int write_held(int fd, const char *text)
{
	return pwrite(fd, text, strlen(text), 0) < 0 || fsync(fd) < 0 ? errno : 0;
}

/* What was written last, or before the snapshot, comes back the same. */
static int read_held(int fd, const char *text)
{
	char got[64] = "";

	if (pread(fd, got, sizeof(got) - 1, 0) < 0)
		return errno;
	return strcmp(got, text) == 0 ? 0 : EBADMSG;
}

/* Nobody but us can write it: it has what we wrote last, then the next text. */
static int next_gone(int fd, char last[64], const char *text)
{
	int code = *last ? read_held(fd, last) : 0;

	if (code == 0 && pwrite(fd, text, strlen(text), 0) < 0)
		code = errno;
	(void)snprintf(last, 64, "%s", text);
	return code;
}

static int open_gone(void)
{
	int fd = open("gone", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	return fd < 0 || unlink("gone") < 0 ? -1 : fd;
}

static int lock(int fd)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return fcntl(fd, F_SETLK, &fl);
}

static int hold(const char *dir)
{
	int root = -1, held = -1, gone = -1;
	char last[64] = "";

	if (chdir(dir) < 0 || (root = open(".", O_DIRECTORY | O_CLOEXEC)) < 0 ||
	    (held = open("held", O_RDWR | O_CREAT | O_CLOEXEC, 0644)) < 0 || lock(held) < 0 ||
	    (gone = open_gone()) < 0)
		return 1;
	if ((mkdir("sub", 0755) < 0 && errno != EEXIST) || chdir("sub") < 0)
		return 1;
	for (unsigned int n = 1;; n++) {
		char text[64], report[256];
		int w, r, c, g;

		(void)snprintf(text, sizeof(text), "%08u", n);
		w = write_held(held, text);
		r = w ? 0 : read_held(held, text);
		c = put(AT_FDCWD, "here", text);
		g = next_gone(gone, last, text);
		(void)snprintf(report, sizeof(report), "%u write %s, read %s, here %s, gone %s\n",
			       n, w ? strerror(w) : "ok", r ? strerror(r) : "ok",
			       c ? strerror(c) : "ok", g ? strerror(g) : "ok");
		(void)put(root, "report.new", report);
		(void)renameat(root, "report.new", root, "report");
		(void)poll(NULL, 0, 100);
	}
}

#define SIZE 8192

static const char *round_trip(unsigned int n)
{
	char a[32], b[32];
	static char out[SIZE], in[SIZE];
	int fd;

	(void)snprintf(a, sizeof(a), "load-%u", n);
	(void)snprintf(b, sizeof(b), "load-%u.b", n);
	memset(out, 'a' + (int)(n % 26), sizeof(out));
	fd = open(a, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return "create";
	if (write(fd, out, sizeof(out)) != (ssize_t)sizeof(out))
		return "write";
	if (fsync(fd) < 0)
		return "fsync";
	if (rename(a, b) < 0)
		return "rename";
	if (pread(fd, in, sizeof(in), 0) != (ssize_t)sizeof(in) || memcmp(in, out, sizeof(in)) != 0)
		return "read";
	if (close(fd) < 0)
		return "close";
	return unlink(b) < 0 ? "unlink" : NULL;
}

static int load(const char *dir)
{
	const char *wrong = NULL;
	unsigned int n = 0;
	char text[128];
	struct stat st;

	if (chdir(dir) < 0)
		return 1;
	while (!wrong && stat("stop", &st) < 0)
		wrong = round_trip(n++);
	if (wrong)
		(void)snprintf(text, sizeof(text), "%s: %s in round %u\n", wrong, strerror(errno),
			       n);
	else
		(void)snprintf(text, sizeof(text), "ok %u\n", n);
	(void)put(AT_FDCWD, "done.new", text);
	return rename("done.new", "done") < 0 || wrong;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "hold") == 0)
		return hold(argv[2]);
	if (argc == 3 && strcmp(argv[1], "load") == 0)
		return load(argv[2]);
	(void)fprintf(stderr, "usage: volume_tool hold|load DIR\n");
	return 2;
}
