#include "commands.h"

#include "cleanup.h"
#include "eventlog.h"
#include "file.h"
#include "inventory.h"
#include "io.h"
#include "xalloc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* Events of one set; the file is turned over by renaming it. */
struct events_tail {
	char *path;
	int fd; /* -1: not open */
};

static void tail_free(struct events_tail *t)
{
	free(t->path);
	cleanup_close_p(&t->fd);
}
#define auto_tail __attribute__((cleanup(tail_free)))

static int drain(int fd, struct err *err)
{
	char chunk[65536];
	ssize_t n;
	int r = 0;

	while (r >= 0 && (n = read(fd, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "cannot read events");
		r = io_write_full(STDOUT_FILENO, chunk, (size_t)n, 0, err);
	}
	return r < 0 ? err_wrap(err, "stdout") : 0;
}

static int open_events(const char *path)
{
	return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

static bool is_ours(const struct events_tail *t, const struct stat *file)
{
	struct stat ours;

	return t->fd >= 0 && fstat(t->fd, &ours) == 0 && ours.st_ino == file->st_ino;
}

/* false: the set is gone, or its file is another one now. */
static bool is_current(const struct events_tail *t)
{
	struct stat now;

	return stat(t->path, &now) == 0 && is_ours(t, &now);
}

static int pump(struct events_tail *t, struct err *err)
{
	for (;;) {
		bool current = is_current(t);
		int r = t->fd >= 0 ? drain(t->fd, err) : 0;

		if (r < 0 || current)
			return r;
		cleanup_close_p(&t->fd);
		t->fd = open_events(t->path);
		if (t->fd < 0)
			return errno == ENOENT ? 0 : err_sys(err, "cannot read '%s'", t->path);
	}
}

/* What was turned over since ours was opened is ours, and comes next. */
static int print_old(const struct events_tail *t, struct err *err)
{
	auto_free char *old = xasprintf("%s" EVENTLOG_OLD, t->path);
	auto_close int fd = open_events(old);
	struct stat st;

	return fd < 0 || (fstat(fd, &st) == 0 && is_ours(t, &st)) ? 0 : drain(fd, err);
}

/* Until the set is destroyed: its directory is renamed away then. */
static int follow(const char *dir, struct events_tail *t, struct err *err)
{
	auto_close int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char events[4096] __attribute__((aligned(8)));
	int r = 0;

	if (watch < 0 ||
	    inotify_add_watch(watch, dir, IN_MODIFY | IN_CREATE | IN_MOVE_SELF | IN_ONLYDIR) < 0)
		return err_sys(err, "cannot watch '%s'", dir);
	while ((r = pump(t, err)) >= 0 && file_exists(dir)) {
		(void)io_wait(watch, POLLIN, 0);
		while (read(watch, events, sizeof(events)) > 0)
			;
	}
	return r;
}

static int show(const struct host *host, const char *set, bool goes_on, struct err *err)
{
	auto_free char *dir = host_set_dir(host, set);
	auto_tail struct events_tail t = {.path = path_join(dir, EVENTLOG_NAME), .fd = -1};
	int r;

	/* Before the old one is printed, which may take a reader's time: it would be missed. */
	t.fd = open_events(t.path);
	r = print_old(&t, err);
	if (r < 0)
		return r;
	return goes_on ? follow(dir, &t, err) : pump(&t, err);
}

int cmd_events(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	auto_strv struct strv args = {0}, sets = {0};
	bool json = false, goes_on = false, help = false;
	const struct opt opts[] = {
		{'f', "follow", OPT_FLAG, &goes_on, NULL, "go on until the set is destroyed", NULL,
		 0, 0},
		{0, "json", OPT_FLAG, &json, NULL, "as it is anyway: one object a line", NULL, 0,
		 0},
	};
	const struct command_args how = {opts, ARRAY_SIZE(opts), .max_args = SIZE_MAX};
	int r = command_parse(ctx, &how, argc, argv, &args, NULL, &help, err);

	(void)ret_exit;
	if (r < 0 || help || (r = inventory_sets(ctx->host, &args, &sets, err)) < 0)
		return r;
	if (goes_on && sets.n != 1) {
		(void)err_set(err, ERR_SPEC, -EINVAL,
			      "events -f follows one set, and there are %zu", sets.n);
		return err_hint(err, "for example: fcvm events -f %s",
				sets.n ? sets.v[0] : "hello");
	}
	for (size_t i = 0; i < sets.n && r >= 0; i++)
		r = show(ctx->host, sets.v[i], goes_on, err);
	return r;
}
