#include "sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "cleanup.h"
#include "xalloc.h"

static char *path_of(const struct sysctl *s)
{
	return xasprintf("/proc/sys/net/%s/conf/%s/%s", s->family, s->link, s->key);
}

int sysctl_set(const struct sysctl *s, bool on, struct err *err)
{
	auto_free char *path = path_of(s);
	auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && s->optional)
		return 0;
	if (fd < 0)
		return err_sys(err, "cannot open '%s'", path);
	if (write(fd, on ? "1" : "0", 1) != 1)
		return err_sys(err, "cannot write '%s'", path);
	return 0;
}

bool sysctl_get(const struct sysctl *s)
{
	auto_free char *path = path_of(s);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	char c = '0';

	return fd >= 0 && read(fd, &c, 1) == 1 && c != '0';
}
