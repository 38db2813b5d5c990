#include "volume_flags.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/stat.h>
#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "xalloc.h"

#define DONT_SYNC 0x4000 /* AT_STATX_DONT_SYNC, which musl 1.2.3 does not have */

/* Its stream may be lost: nothing here may ask the host, so what is known of the root has to do. */
static int open_mount(const char *target, struct statx *ret)
{
	auto_close int fd = open(target, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || syscall(SYS_statx, fd, "", AT_EMPTY_PATH | DONT_SYNC, 0, ret) < 0)
		return -1;
	return TAKE_FD(fd);
}

static int set_trusted(int fd, bool trusted)
{
	const uint64_t untrusted = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
	struct mount_attr attr = {.attr_set = trusted ? 0 : untrusted,
				  .attr_clr = trusted ? untrusted : 0};

	return (int)syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof(attr));
}

/* Whatever else lies at that path in there, the workload put it there. */
static int set_in_container(int ns, const struct volume_flags *f, const struct statx *volume)
{
	struct statx st;

	if (setns(ns, CLONE_NEWNS) < 0)
		return errno;
	auto_close int fd = open_mount(f->target, &st);

	if (fd < 0 || st.stx_dev_major != volume->stx_dev_major ||
	    st.stx_dev_minor != volume->stx_dev_minor)
		return 0;
	return set_trusted(fd, f->trusted) < 0 ? errno : 0;
}

int volume_flags_run(void *data)
{
	const struct volume_flags *f = data;
	auto_free char *ns_path = xasprintf("/proc/%d/ns/mnt", (int)f->container);
	auto_close int ns = f->container ? open(ns_path, O_RDONLY | O_CLOEXEC) : -1;
	struct statx volume;

	if (f->container && ns < 0)
		return errno;
	auto_close int fd = open_mount(f->target, &volume);

	if (fd < 0 || set_trusted(fd, f->trusted) < 0)
		return errno;
	return f->container ? set_in_container(ns, f, &volume) : 0;
}
