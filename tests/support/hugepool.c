#include "hugepool.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cleanup.h"
#include "parse.h"

#define POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/"

static size_t read_number(int fd)
{
	char text[32] = "";
	uint64_t n = 0;
	ssize_t len = pread(fd, text, sizeof(text) - 1, 0);

	text[len > 0 ? strcspn(text, "\n") : 0] = '\0';
	return parse_u64(text, 0, SIZE_MAX, &n, NULL) < 0 ? 0 : (size_t)n;
}

static void write_number(int fd, size_t n)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%zu", n);

	(void)!pwrite(fd, text, (size_t)len, 0);
}

/* Lives until the test's end of the pipe is closed; it holds the lock meanwhile. */
__attribute__((noreturn)) static void guard(int pool, int wait, size_t before)
{
	char byte;

	(void)setsid();
	if (dup2(pool, 0) < 0 || dup2(wait, 1) < 0 || close_range(2, ~0u, 0) < 0)
		_exit(1);
	while (read(1, &byte, 1) < 0 && errno == EINTR)
		continue;
	write_number(0, before);
	_exit(0);
}

bool hugepool_grow(size_t pages, char *why, size_t size)
{
	auto_close int pool = open(POOL "nr_hugepages", O_RDWR | O_CLOEXEC);
	int ends[2];

	if (pool < 0 || flock(pool, LOCK_EX) < 0 || pipe2(ends, O_CLOEXEC) < 0) {
		(void)snprintf(why, size, "the pool of huge pages: %s", strerror(errno));
		return false;
	}
	size_t before = read_number(pool);
	pid_t pid = fork();

	if (pid == 0)
		guard(pool, ends[0], before);
	(void)close(ends[0]); /* the other end stays open for as long as we live */
	write_number(pool, before + pages);
	if (pid > 0 && read_number(pool) >= before + pages)
		return true;
	(void)close(ends[1]);
	(void)snprintf(why, size, "the kernel has no %zu huge pages to give", pages);
	return false;
}

size_t hugepool_free(void)
{
	auto_close int fd = open(POOL "free_hugepages", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? 0 : read_number(fd);
}
