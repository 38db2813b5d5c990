#include "eventlog.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "xalloc.h"

struct json_object *eventlog_new(const struct host *host, const char *type, uint64_t seq)
{
	struct json_object *o = json_object_new_object();
	char now[IO_TIME_SIZE];

	io_time_rfc3339(host->unix_ms(), now);
	json_add_u64(o, "seq", seq);
	json_add_str(o, "t", now);
	json_add_str(o, "type", type);
	return o;
}

/* Of those who find it too long the first to have its lock turns it over; to the others it is not
 * what the name means any more. */
static int turn_over(const char *path, int fd, struct err *err)
{
	auto_free char *old = xasprintf("%s" EVENTLOG_OLD, path);
	struct stat ours, named;

	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_sys(err, "cannot lock '%s'", path);
	if (fstat(fd, &ours) < 0 || stat(path, &named) < 0 || ours.st_ino != named.st_ino)
		return 0;
	return rename(path, old) < 0 ? err_sys(err, "cannot turn over '%s'", path) : 0;
}

int eventlog_open(const char *path, int *ret_fd, struct err *err)
{
	for (;;) {
		auto_close int fd =
			open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		struct stat st;

		if (fd < 0 || fstat(fd, &st) < 0)
			return err_sys(err, "cannot write events to '%s'", path);
		if (st.st_size <= (off_t)EVENTLOG_MAX) {
			*ret_fd = TAKE_FD(fd);
			return 0;
		}
		int r = turn_over(path, fd, err);
		if (r < 0)
			return r;
	}
}

void eventlog_write(int fd, struct json_object *event)
{
	auto_free char *text = json_line(event);
	auto_free char *line = xasprintf("%s\n", text);

	(void)io_write_full(fd, line, strlen(line), 0, NULL);
}
