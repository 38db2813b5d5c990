/* fake_fc_memory.h - the fake Firecracker's guest memory: real pages, a real userfaultfd, the real
 * hand-off. Included by fake_firecracker.c only. */
#ifndef FCVM_TESTS_FAKE_FC_MEMORY_H
#define FCVM_TESTS_FAKE_FC_MEMORY_H

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "fake_guest.h"

#define PAGE 4096u
#define MARKED 64u /* pages that say which they are */

#define HUGE_PAGE (2u << 20)

/* Huge pages are played by small ones at the right address: a host's pool is not for fakes. */
static char *memory_new(uint64_t size)
{
	char *mem = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED)
		die("fake_firecracker: no memory: %s", strerror(errno));
	return mem + (HUGE_PAGE - (uintptr_t)mem % HUGE_PAGE) % HUGE_PAGE;
}

static void memory_mark(char *mem)
{
	for (uint64_t n = 0; n < MARKED; n++)
		(void)snprintf(mem + n * PAGE, 32, "page %llu", (unsigned long long)n);
}

/* A clone's memory must say what its source's did. */
static void memory_check(const char *mem, uint64_t from)
{
	for (uint64_t n = from; n < MARKED; n++) {
		char want[32];

		(void)snprintf(want, sizeof(want), "page %llu", (unsigned long long)n);
		if (strcmp(mem + n * PAGE, want) != 0)
			die("fake_firecracker: page %llu is wrong", (unsigned long long)n);
	}
}

/* As it does: written over where the size is right already. 0 or an errno. */
static int memory_save(const char *mem, uint64_t size, const char *path)
{
	auto_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return errno;
	if ((uint64_t)st.st_size != size &&
	    (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)size) < 0))
		return errno;
	return pwrite(fd, mem, (size_t)MARKED * PAGE, 0) < 0 ? errno : 0;
}

static int open_userfaultfd(void)
{
	auto_close int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

	if (dev >= 0)
		return ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	return (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
}

/* One message, one descriptor, no answer; the socket stays open for good. 0 or an errno. */
static int memory_hand_off(char *mem, uint64_t size, unsigned int page, const char *path)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE};
	struct uffdio_register reg = {.range = {.start = (uintptr_t)mem, .len = size},
				      .mode = UFFDIO_REGISTER_MODE_MISSING};
	auto_free char *text =
		xasprintf("[{\"base_host_virt_addr\":%llu,\"size\":%llu,\"offset\":0,"
			  "\"page_size\":%u,\"page_size_kib\":%u}]",
			  (unsigned long long)(uintptr_t)mem, (unsigned long long)size, page, page);
	int uffd = -1, sock = -1;
	/* First, so that a host that refuses userfaultfd still says who is missing. */
	int r = io_unix_connect(path, deadline_in(5000), &sock, NULL);

	if (r < 0)
		return -r;
	uffd = open_userfaultfd();
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) < 0 || ioctl(uffd, UFFDIO_REGISTER, &reg) < 0)
		return errno;
	r = io_send_fds(sock, text, strlen(text), &uffd, 1, NULL);
	return r < 0 ? -r : 0;
}

#endif
