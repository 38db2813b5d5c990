#include "fp_place.h"

#include <errno.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"

int fp_handle_of(int fd, struct fp_handle *ret)
{
	struct fp_handle h = {.bytes = FP_HANDLE_MAX};
	int mount_id;

	if (name_to_handle_at(fd, "", (struct file_handle *)&h, &mount_id, AT_EMPTY_PATH) < 0)
		return errno == EOVERFLOW ? -EOPNOTSUPP : -errno;
	*ret = h;
	return 0;
}

bool fp_handle_same(const struct fp_handle *a, const struct fp_handle *b)
{
	return a->bytes == b->bytes && a->type == b->type &&
	       memcmp(a->data, b->data, a->bytes) == 0;
}

/* A handle of the root opens the root, or handles are not for us. */
bool fp_handles_work(int mount_fd)
{
	struct fp_handle h;
	auto_close int fd = fp_handle_of(mount_fd, &h) < 0 ? -1 : fp_handle_open(mount_fd, &h);

	return fd >= 0;
}

int fp_handle_open(int mount_fd, const struct fp_handle *handle)
{
	struct fp_handle h = *handle;
	int fd = open_by_handle_at(mount_fd, (struct file_handle *)&h,
				   O_PATH | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int fp_data_open(int proc_fd, int path_fd)
{
	char name[16];

	(void)snprintf(name, sizeof(name), "%d", path_fd);
	int fd = openat(proc_fd, name, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		fd = openat(proc_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

int fp_name_open(int dir_fd, const char *name)
{
	struct open_how how = {
		.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	int fd = (int)syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}
