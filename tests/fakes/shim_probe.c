/* shim_probe.c - does to its memory file what QEMU does, under libfcvm-uffd.so, and says what it
 * saw: one "key value" a line.
 *
 *   shim_probe FILE SIZE [second|shared|bigger] */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "parse.h"

/* FNV-1a over all pages: faults every one of them in. */
static uint64_t checksum(const unsigned char *p, size_t len)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h;
}

static void say(const char *what, long result)
{
	printf("%s %s\n", what, result == 0 ? "ok" : strerror(errno));
}

/* Every way this process knows to change a file it has open or mapped. */
static void attack(int fd, unsigned char *mem, size_t size)
{
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	say("fallocate_punch", fallocate(fd, punch, 0, (off_t)size / 2));
	say("fallocate64_punch", fallocate64(fd, punch, 0, (off_t)size / 2));
	say("fallocate_zero", fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 4096));
	errno = posix_fallocate(fd, 0, (off_t)size * 2);
	say("posix_fallocate", errno);
	say("ftruncate", ftruncate(fd, 4096));
	say("ftruncate64", ftruncate64(fd, 4096));
	say("write", pwrite(fd, "x", 1, 0) == 1 ? 0 : -1);
	say("madvise_remove", madvise(mem, 4096, MADV_REMOVE));
	printf("after_remove %u\n", mem[0]);
	mem[8192] = 0xee;
	printf("written %u\n", mem[8192]);
}

static void open_everywhere(const char *path)
{
	const int fds[] = {
		open(path, O_RDWR),
		open64(path, O_RDWR | O_TRUNC),
		openat(AT_FDCWD, path, O_WRONLY | O_CREAT, 0600),
		openat64(AT_FDCWD, path, O_RDWR),
	};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		int mode = fcntl(fds[i], F_GETFL);

		printf("open%zu %s\n", i,
		       mode >= 0 && (mode & O_ACCMODE) == O_RDONLY ? "read-only" : "writable");
		(void)close(fds[i]);
	}
}

int main(int argc, char **argv)
{
	uint64_t size = 0;
	const char *how = argc > 3 ? argv[3] : "";

	if (argc < 3 || parse_u64(argv[2], 4096, UINT32_MAX, &size, NULL) < 0)
		return 2;
	(void)setvbuf(stdout, NULL, _IONBF, 0);
	open_everywhere(argv[1]);
	int fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return 3;
	if (strcmp(how, "bigger") == 0)
		size *= 2;
	/* As QEMU: address space first, then the file over it. */
	unsigned char *mem = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int kind = strcmp(how, "shared") == 0 ? MAP_SHARED : MAP_PRIVATE;
	mem = mmap64(mem, size, PROT_READ | PROT_WRITE, MAP_FIXED | kind, fd, 0);
	if (mem == MAP_FAILED)
		return 4;
	if (strcmp(how, "second") == 0)
		(void)mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	printf("checksum %016jx\n", (uintmax_t)checksum(mem, size));
	attack(fd, mem, size);
	return 0;
}
