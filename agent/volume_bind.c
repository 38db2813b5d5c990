#include "volume_bind.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "xalloc.h"

#define DETACH 2 /* MNT_DETACH: its header and <linux/mount.h> exclude each other */

/* The mount is copied here and put down there: no path of ours is good in the container. */
int volume_bind_run(void *data)
{
	const struct volume_bind *b = data;
	auto_free char *ns_path = xasprintf("/proc/%d/ns/mnt", (int)b->container);
	auto_close int ns = open(ns_path, O_RDONLY | O_CLOEXEC);
	auto_close int tree = (int)syscall(SYS_open_tree, AT_FDCWD, b->target,
					   OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (ns < 0 || tree < 0 || setns(ns, CLONE_NEWNS) < 0)
		return errno;
	if (b->again)
		(void)syscall(SYS_umount2, b->target, DETACH);
	int r = file_mkdir_p(b->target, 0755, NULL);

	if (r < 0)
		return -r;
	return syscall(SYS_move_mount, tree, "", AT_FDCWD, b->target, MOVE_MOUNT_F_EMPTY_PATH) < 0
		       ? errno
		       : 0;
}
