#include "bare_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"

#define PAGE 4096u
#define EVENTS 64

struct pages {
	const char *source;
	uint64_t base;
	int uffd;
};

static void answer(const struct pages *p, uint64_t address)
{
	uint64_t at = address & ~(uint64_t)(PAGE - 1);
	struct uffdio_copy copy = {
		.dst = at, .src = (uintptr_t)p->source + (at - p->base), .len = PAGE};
	struct uffdio_range range = {.start = at, .len = PAGE};

	while (ioctl(p->uffd, UFFDIO_COPY, &copy) < 0)
		if (errno != EAGAIN) {
			(void)ioctl(p->uffd, UFFDIO_WAKE, &range);
			return;
		}
}

__attribute__((noreturn)) static void handle(const struct pages *p)
{
	struct pollfd poll_fd = {.fd = p->uffd, .events = POLLIN};
	struct uffd_msg msgs[EVENTS];

	for (;;) {
		ssize_t n = poll(&poll_fd, 1, -1) > 0 ? read(p->uffd, msgs, sizeof(msgs)) : 0;

		if (poll_fd.revents & (POLLERR | POLLHUP))
			_exit(0);
		for (ssize_t i = 0; i < n / (ssize_t)sizeof(msgs[0]); i++)
			if (msgs[i].event == UFFD_EVENT_PAGEFAULT)
				answer(p, msgs[i].arg.pagefault.address);
	}
}

__attribute__((noreturn)) static void serve(int listen_fd, const char *source)
{
	struct pages p = {.source = source, .uffd = -1};
	char text[512] = "";
	size_t n_fds = 0;
	int sock = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	ssize_t n = io_recv_fds(sock, text, sizeof(text) - 1, &p.uffd, 1, &n_fds, 0, NULL);

	if (n <= 0 || n_fds != 1 ||
	    sscanf(text, "[{\"base_host_virt_addr\":%" SCNu64, &p.base) != 1)
		_exit(1);
	handle(&p);
}

int bare_pages_start(const char *dir, const char *memory)
{
	auto_free char *path = path_join(dir, "uffd.sock");
	auto_close int fd = open(memory, O_RDONLY | O_CLOEXEC);
	auto_close int listen_fd = -1;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || io_unix_listen(path, 1, &listen_fd, NULL) < 0)
		return -1;
	void *source = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (source == MAP_FAILED)
		return -1;
	pid_t pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(listen_fd, source);
	}
	return pid < 0 ? -1 : 0;
}
