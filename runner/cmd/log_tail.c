#include "log_tail.h"

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "xalloc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* The supervisor cuts lines far below this. */
#define LINE_MAX_BYTES (1u << 20)
#define WATCHED (IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE)

struct log_tail {
	char *dir;  /* <instance>/logs */
	char *path; /* NULL until its name is known */
	char *container;
	int inotify;
	bool watches_dir;
	bool old_pending;
	int fd; /* -1: not open */
	struct buf line;
};

void log_tail_free_p(struct log_tail **tp)
{
	struct log_tail *t = *tp;

	if (!t)
		return;
	free(t->dir);
	free(t->path);
	free(t->container);
	cleanup_close_p(&t->inotify);
	cleanup_close_p(&t->fd);
	buf_free(&t->line);
	free(t);
	*tp = NULL;
}

int log_tail_open(const char *instance_dir, const char *container, bool from_old,
		  struct log_tail **ret, struct err *err)
{
	auto_log_tail struct log_tail *t = xcalloc(1, sizeof(*t));

	*t = (struct log_tail){
		.dir = path_join(instance_dir, "logs"),
		.container = container ? xstrdup(container) : NULL,
		.inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK),
		.old_pending = from_old,
		.fd = -1,
		.line = BUF_INIT(LINE_MAX_BYTES),
	};
	if (t->inotify < 0)
		return err_sys(err, "cannot watch '%s'", t->dir);
	/* status.json is renamed into the instance directory at every change. */
	if (inotify_add_watch(t->inotify, instance_dir, IN_CREATE | IN_MOVED_TO) < 0)
		return err_sys(err, "cannot watch '%s'", instance_dir);
	*ret = TAKE_PTR(t);
	return 0;
}

int log_tail_fd(const struct log_tail *t)
{
	return t->inotify;
}

/* The word that ends at the next blank; false when there is none. */
static bool word(const char **at, const char *end, const char **ret, size_t *ret_len)
{
	const char *blank = memchr(*at, ' ', (size_t)(end - *at));

	if (!blank)
		return false;
	*ret = *at;
	*ret_len = (size_t)(blank - *at);
	*at = blank + 1;
	return true;
}

bool log_tail_parse(const char *line, size_t len, bool *ret_stderr, const char **ret_text,
		    size_t *ret_len, bool *ret_full)
{
	const char *at = line, *end = line + len, *time, *stream, *mark;
	size_t time_len, stream_len, mark_len;

	if (!word(&at, end, &time, &time_len) || !word(&at, end, &stream, &stream_len) ||
	    !word(&at, end, &mark, &mark_len) || mark_len != 1 || stream_len != 6)
		return false;
	*ret_stderr = memcmp(stream, "stderr", 6) == 0;
	*ret_text = at;
	*ret_len = (size_t)(end - at);
	*ret_full = *mark == 'F';
	return true;
}

static int print_line(const char *line, size_t len, int out_fd, int err_fd, struct err *err)
{
	bool to_stderr, full;
	const char *text;
	size_t text_len;

	if (!log_tail_parse(line, len, &to_stderr, &text, &text_len, &full))
		return 0;
	int fd = to_stderr ? err_fd : out_fd;
	int r = io_write_full(fd, text, text_len, 0, err);
	return r < 0 || !full ? r : io_write_full(fd, "\n", 1, 0, err);
}

static int print_lines(struct log_tail *t, int out_fd, int err_fd, struct err *err)
{
	size_t at = 0;
	int r = 0;

	while (r >= 0 && at < t->line.len) {
		const char *from = t->line.data + at;
		const char *end = memchr(from, '\n', t->line.len - at);

		if (!end)
			break;
		r = print_line(from, (size_t)(end - from), out_fd, err_fd, err);
		at += (size_t)(end - from) + 1;
	}
	buf_consume(&t->line, at);
	if (!buf_ok(&t->line))
		buf_reset(&t->line);
	return r;
}

static int drain(struct log_tail *t, int fd, int out_fd, int err_fd, struct err *err)
{
	char chunk[65536];

	for (;;) {
		ssize_t n = read(fd, chunk, sizeof(chunk));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "cannot read '%s'", t->path);
		if (n == 0)
			return 0;
		buf_add(&t->line, chunk, (size_t)n);
		int r = print_lines(t, out_fd, err_fd, err);
		if (r < 0)
			return r;
	}
}

static void find_path(struct log_tail *t)
{
	auto_closedir DIR *d = opendir(t->dir);

	if (!d)
		return;
	if (!t->watches_dir)
		t->watches_dir = inotify_add_watch(t->inotify, t->dir, WATCHED) >= 0;
	if (t->container) {
		t->path = xasprintf("%s/%s.log", t->dir, t->container);
		return;
	}
	for (struct dirent *e; (e = readdir(d));) {
		size_t len = strlen(e->d_name);

		if (len > 4 && strcmp(e->d_name + len - 4, ".log") == 0) {
			t->path = path_join(t->dir, e->d_name);
			return;
		}
	}
}

static int open_file(const char *path)
{
	return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

static bool is_rotated(const struct log_tail *t)
{
	struct stat ours, now;

	return fstat(t->fd, &ours) == 0 && stat(t->path, &now) == 0 && ours.st_ino != now.st_ino;
}

static int print_old(struct log_tail *t, int out_fd, int err_fd, struct err *err)
{
	auto_free char *old = xasprintf("%s.1", t->path);
	auto_close int fd = open_file(old);

	t->old_pending = false;
	return fd < 0 ? 0 : drain(t, fd, out_fd, err_fd, err);
}

static void forget_events(const struct log_tail *t)
{
	char events[4096] __attribute__((aligned(8)));

	while (read(t->inotify, events, sizeof(events)) > 0)
		;
}

int log_tail_pump(struct log_tail *t, int out_fd, int err_fd, struct err *err)
{
	int r = 0;

	forget_events(t);
	if (!t->path)
		find_path(t);
	if (!t->path)
		return 0;
	if (t->old_pending)
		r = print_old(t, out_fd, err_fd, err);
	while (r >= 0) {
		if (t->fd < 0)
			t->fd = open_file(t->path);
		if (t->fd < 0)
			return 0;
		r = drain(t, t->fd, out_fd, err_fd, err);
		if (r < 0 || !is_rotated(t))
			break;
		/* What came between the last read and the rename. */
		r = drain(t, t->fd, out_fd, err_fd, err);
		close(TAKE_FD(t->fd));
	}
	return r;
}
