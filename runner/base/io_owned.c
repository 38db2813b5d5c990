/* io_owned.c - sockets in directories of processes that are not trusted. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"

int io_unix_find_owned(const char *dir, const char *name, uid_t uid, int *ret_fd, struct err *err)
{
	auto_free char *path = path_join(dir, name);
	auto_close int at = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (at < 0)
		return err_sys(err, "cannot open '%s'", path);
	if (fstat(at, &st) < 0)
		return err_sys(err, "cannot stat '%s'", path);
	if (!S_ISSOCK(st.st_mode) || st.st_uid != uid)
		return err_set(err, ERR_GUEST, -EPERM, "'%s' is not a socket of uid %u", path, uid);
	*ret_fd = TAKE_FD(at);
	return 0;
}

int io_unix_connect_owned(const char *dir, const char *name, uid_t uid, uint64_t deadline_ms,
			  int *ret_fd, struct err *err)
{
	auto_close int at = -1;
	char same[64];
	int r = io_unix_find_owned(dir, name, uid, &at, err);

	if (r < 0)
		return r;
	/* What was checked is what is connected to, whatever its name says by now. */
	(void)snprintf(same, sizeof(same), "/proc/self/fd/%d", at);
	r = io_unix_connect(same, deadline_ms, ret_fd, err);
	return r < 0 ? err_wrap(err, "'%s/%s'", dir, name) : 0;
}
