#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "guest_pump.h"

int guest_mount(const struct guest_mount_config *config, int *ret_fd, struct err *err)
{
	auto_close int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	unsigned long flags = (config->read_only ? MS_RDONLY : 0ul) |
			      (config->trusted ? 0ul : (unsigned long)(MS_NOSUID | MS_NODEV));
	char options[128];
	struct stat st;

	if (fd < 0)
		return err_sys(err, "cannot open /dev/fuse");
	if (stat(config->target, &st) < 0)
		return err_sys(err, "cannot mount on '%s'", config->target);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, ERR_FAILED, -ENOTDIR, "cannot mount on '%s': not a directory",
			       config->target);
	(void)snprintf(options, sizeof(options),
		       "fd=%d,rootmode=%o,user_id=0,group_id=0,default_permissions,allow_other", fd,
		       st.st_mode & S_IFMT);
	if (mount(config->source, config->target, "fuse.fuse-pipe", flags, options) < 0)
		return err_sys(err, "cannot mount on '%s'", config->target);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
