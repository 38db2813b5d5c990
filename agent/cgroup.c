#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"

static int write_file(const char *dir, const char *name, const char *text, struct err *err)
{
	auto_free char *path = path_join(dir, name);
	auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return err_sys(err, "cannot write '%s'", path);
	return 0;
}

static bool is_frozen(int fd)
{
	char text[256];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return false;
	text[n] = '\0';
	return strstr(text, "frozen 1") != NULL;
}

void freezer_cancel(struct freezer *f)
{
	if (!f->done)
		return;
	loop_remove(f->loop, &f->events);
	loop_remove(f->loop, &f->timer);
	cleanup_close_p(&f->events_fd);
	f->done = NULL;
}

static void finish(struct freezer *f, int r)
{
	void (*done)(void *data, int code) = f->done;

	freezer_cancel(f);
	done(f->data, r);
}

void freezer_abort(struct freezer *f)
{
	if (f->done)
		finish(f, -ECANCELED);
}

/* The file's poll says PRI when it changes; the first look is ours, by the timer at 0 ms. */
static void on_events(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct freezer *f = src->data;

	(void)loop;
	(void)events;
	if (is_frozen(f->events_fd))
		finish(f, 0);
}

static void on_timeout(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct freezer *f = src->data;

	(void)loop;
	(void)events;
	finish(f, is_frozen(f->events_fd) ? 0 : -ETIMEDOUT);
}

int freezer_start(struct freezer *f, struct loop *loop, const char *dir, uint64_t timeout_ms,
		  void (*done)(void *data, int r), void *data, struct err *err)
{
	auto_free char *path = path_join(dir, "cgroup.events");
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (f->done)
		return err_set(err, ERR_GUEST, -EBUSY, "the workload is being frozen already");
	if (fd < 0)
		return err_sys(err, "cannot open '%s'", path);
	*f = (struct freezer){.loop = loop, .events_fd = fd, .done = done, .data = data};
	int r = loop_add(loop, &f->events, fd, EPOLLPRI, on_events, f, err);
	if (r == 0)
		r = write_file(dir, "cgroup.freeze", "1", err);
	/* Frozen on the spot: no change is to come, so the timer tells. */
	if (r == 0)
		r = loop_timer(loop, &f->timer, is_frozen(fd) ? 0 : timeout_ms, 0, on_timeout, f,
			       err);
	(void)TAKE_FD(fd);
	if (r < 0)
		freezer_cancel(f);
	return r;
}

int cgroup_thaw(const char *dir, struct err *err)
{
	return write_file(dir, "cgroup.freeze", "0", err);
}

int cgroup_kill(const char *dir, struct err *err)
{
	return write_file(dir, "cgroup.kill", "1", err);
}
