#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cleanup.h"
#include "memserver.h"

#define FLAGS (O_CLOEXEC | O_NONBLOCK)

/* By the device, which a VMM inherits whatever its user; the system call is no answer, since it
 * serves an ordinary user with UFFD_USER_MODE_ONLY alone and the VMM's own system calls fault on
 * guest memory too. */
static int open_uffd(void)
{
	auto_close int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

	return device < 0 ? -1 : ioctl(device, USERFAULTFD_IOC_NEW, FLAGS);
}

bool memserver_uffd_permitted(char *why, size_t size)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE};
	auto_close int fd = open_uffd();

	if (size > 0)
		why[0] = '\0';
	if (fd < 0) {
		(void)snprintf(why, size, "/dev/userfaultfd: %s", strerror(errno));
		return false;
	}
	if (ioctl(fd, UFFDIO_API, &api) < 0) {
		(void)snprintf(why, size,
			       "this kernel's userfaultfd does not report removed pages");
		return false;
	}
	return true;
}
