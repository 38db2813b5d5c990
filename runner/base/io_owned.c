/* io_owned.c - sockets in directories of processes that are not trusted. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"

int io_unix_connect_owned(const char *dir, const char *name, uid_t uid, uint64_t deadline_ms,
			  int *ret_fd, struct err *err)
{
	auto_free char *path = path_join(dir, name);
	auto_close int at = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char same[64];
	struct stat st;

	if (at < 0)
		return err_sys(err, "cannot open '%s'", path);
	if (fstat(at, &st) < 0)
		return err_sys(err, "cannot stat '%s'", path);
	if (!S_ISSOCK(st.st_mode) || st.st_uid != uid)
		return err_set(err, ERR_GUEST, -EPERM, "'%s' is not a socket of uid %u", path, uid);
	/* What was checked is what is connected to, whatever the name says by now. */
	(void)snprintf(same, sizeof(same), "/proc/self/fd/%d", at);
	int r = io_unix_connect(same, deadline_ms, ret_fd, err);
	return r < 0 ? err_wrap(err, "'%s'", path) : 0;
}
