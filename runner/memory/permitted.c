#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "memserver.h"

#define FLAGS (O_CLOEXEC | O_NONBLOCK)

/* Without UFFD_USER_MODE_ONLY: the VMM's own system calls fault on guest memory too. */
static int open_uffd(const char **ret_how)
{
	auto_close int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

	if (device >= 0) {
		*ret_how = "/dev/userfaultfd";
		return ioctl(device, USERFAULTFD_IOC_NEW, FLAGS);
	}
	/* The device's own refusal says more than the system call's. */
	*ret_how = errno == ENOENT ? "userfaultfd()" : "/dev/userfaultfd";
	int saved = errno;
	int fd = (int)syscall(SYS_userfaultfd, FLAGS);
	if (fd < 0 && saved != ENOENT)
		errno = saved;
	return fd;
}

bool memserver_uffd_permitted(char *why, size_t size)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE};
	const char *how = NULL;
	auto_close int fd = open_uffd(&how);

	if (size > 0)
		why[0] = '\0';
	if (fd < 0) {
		(void)snprintf(why, size, "%s: %s", how, strerror(errno));
		return false;
	}
	if (ioctl(fd, UFFDIO_API, &api) < 0) {
		(void)snprintf(why, size,
			       "this kernel's userfaultfd does not report removed pages");
		return false;
	}
	return true;
}
