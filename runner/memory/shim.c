/* shim.c - preloaded into QEMU: guest memory comes from a snapshot file that nothing can write.
 *
 * QEMU opens memory-backend-file read-write even for share=off and punches holes into the *file*
 * when a balloon inflates. Here every open of that inode is read-only, every call that would change
 * it is answered without reaching it, and with FCVM_UFFD_MODE=uffd the private mapping becomes
 * anonymous memory whose faults go to the page server, handed over as Firecracker does it.
 *
 * What cannot be done right ends the process before a vCPU runs: exit status 97, reason on stderr.
 * The engine waits for one byte on FCVM_UFFD_READY, since ld.so only warns about a preload it
 * cannot load. docs/page-server.md has the environment. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define SHIM_EXIT 97
#define SHIM_PAGE 4096u

/* Written once by the constructor, before any thread; `mapped` and the mapping once by the only
 * thread that wins `taken`. */
static struct {
	atomic_bool active;
	bool uffd_mode;
	dev_t dev;
	ino_t ino;
	off_t size;
	const char *sock;
	int device;
	int ready;
	atomic_flag taken;
	atomic_bool mapped;
	uintptr_t base;
	size_t len;
	int uffd; /* open for as long as the process lives: closing it would turn pages to zero */
	int conn;
} shim = {.device = -1, .ready = -1, .taken = ATOMIC_FLAG_INIT, .uffd = -1, .conn = -1};

__attribute__((noreturn)) static void die(const char *what)
{
	int saved = errno;

	dprintf(STDERR_FILENO, "libfcvm-uffd: %s: %s\n", what, strerror(saved));
	_exit(SHIM_EXIT);
}

/* Descriptor number in the environment; -1 when not set. */
static int env_fd(const char *name)
{
	const char *text = getenv(name);
	char *end = NULL;
	unsigned long fd = text ? strtoul(text, &end, 10) : 0;

	if (!text)
		return -1;
	errno = EBADF;
	if (end == text || *end || fd > 65535 || fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0)
		die(name);
	return (int)fd;
}

__attribute__((constructor)) static void shim_start(void)
{
	const char *file = getenv("FCVM_UFFD_FILE");
	const char *mode = getenv("FCVM_UFFD_MODE");
	struct stat st;

	if (!file)
		return;
	errno = EINVAL;
	if (!mode || (strcmp(mode, "uffd") != 0 && strcmp(mode, "file") != 0))
		die("FCVM_UFFD_MODE wants uffd or file");
	shim.uffd_mode = strcmp(mode, "uffd") == 0;
	shim.sock = getenv("FCVM_UFFD_SOCK");
	if (shim.uffd_mode && (!shim.sock || !*shim.sock))
		die("FCVM_UFFD_SOCK is not set");
	if (stat(file, &st) < 0)
		die(file);
	shim.dev = st.st_dev;
	shim.ino = st.st_ino;
	shim.size = st.st_size;
	shim.device = env_fd("FCVM_UFFD_DEV");
	shim.ready = env_fd("FCVM_UFFD_READY");
	atomic_store(&shim.active, true);
}

static bool is_memory(const struct stat *st)
{
	return st->st_dev == shim.dev && st->st_ino == shim.ino;
}

/* errno is as it was: callers may have one to report. */
static bool is_memory_fd(int fd)
{
	int saved = errno;
	struct stat st;
	bool is = atomic_load(&shim.active) && fd >= 0 && fstat(fd, &st) == 0 && is_memory(&st);

	errno = saved;
	return is;
}

static void tell_ready(char byte)
{
	if (shim.ready >= 0 && write(shim.ready, &byte, 1) != 1)
		die("cannot write to FCVM_UFFD_READY");
	if (shim.ready >= 0)
		(void)close(shim.ready);
}

static int make_uffd(void)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE};
	int flags = O_CLOEXEC | O_NONBLOCK;
	int fd = shim.device >= 0 ? ioctl(shim.device, USERFAULTFD_IOC_NEW, flags)
				  : (int)syscall(SYS_userfaultfd, flags);

	if (fd < 0)
		die("userfaultfd is refused");
	if (ioctl(fd, UFFDIO_API, &api) < 0)
		die("userfaultfd without EVENT_REMOVE");
	/* The guest's VMM gets one, and no way to make more. */
	if (shim.device >= 0)
		(void)close(shim.device);
	return fd;
}

static int connect_server(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	errno = ENAMETOOLONG;
	if (strlen(shim.sock) >= sizeof(addr.sun_path))
		die(shim.sock);
	memcpy(addr.sun_path, shim.sock, strlen(shim.sock));
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		die(shim.sock);
	return fd;
}

/* One message: the regions as JSON and the userfaultfd, nothing before and nothing after. */
static void hand_off(uint64_t base, uint64_t size, uint64_t offset)
{
	char text[256];
	union {
		struct cmsghdr align;
		char data[CMSG_SPACE(sizeof(int))];
	} control = {.data = {0}};
	int n = snprintf(text, sizeof(text),
			 "[{\"base_host_virt_addr\":%ju,\"size\":%ju,\"offset\":%ju,"
			 "\"page_size\":%u,\"page_size_kib\":%u}]",
			 (uintmax_t)base, (uintmax_t)size, (uintmax_t)offset, SHIM_PAGE, SHIM_PAGE);
	struct iovec iov = {.iov_base = text, .iov_len = (size_t)n};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.data,
			     .msg_controllen = sizeof(control.data)};
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &shim.uffd, sizeof(int));
	if (sendmsg(shim.conn, &msg, MSG_NOSIGNAL) != n)
		die("cannot hand memory to the page server");
}

static void *raw_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	/* The kernel's answer is an address or -1 with errno set. */
	uintptr_t got = (uintptr_t)syscall(SYS_mmap, addr, len, prot, flags, fd, offset);

	return (void *)got; /* NOLINT(performance-no-int-to-ptr) */
}

static void *map_uffd(void *addr, size_t len, int prot, int flags, off_t offset)
{
	int keep = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
	void *at = raw_mmap(addr, len, prot, keep | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			    0);
	struct uffdio_register reg = {
		.range = {.start = (uintptr_t)at, .len = len},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (at == MAP_FAILED)
		die("cannot map guest memory");
	shim.uffd = make_uffd();
	if (ioctl(shim.uffd, UFFDIO_REGISTER, &reg) < 0)
		die("cannot register guest memory with userfaultfd");
	shim.conn = connect_server();
	hand_off((uintptr_t)at, len, (uint64_t)offset);
	return at;
}

static void *map_memory(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	int saved = errno;
	int mode = fcntl(fd, F_GETFL);
	void *at = NULL;

	errno = EINVAL;
	if (atomic_flag_test_and_set(&shim.taken))
		die("snapshot memory is mapped a second time");
	if (mode < 0 || (mode & O_ACCMODE) != O_RDONLY)
		die("snapshot memory is open for writing");
	if (len == 0 || len % SHIM_PAGE != 0 || offset < 0 || offset > shim.size ||
	    len > (uintmax_t)(shim.size - offset))
		die("guest memory is larger than the snapshot's, or not whole pages");
	at = shim.uffd_mode ? map_uffd(addr, len, prot, flags, offset)
			    : raw_mmap(addr, len, prot, flags, fd, offset);
	if (at == MAP_FAILED)
		die("cannot map snapshot memory");
	shim.base = (uintptr_t)at;
	shim.len = len;
	atomic_store(&shim.mapped, true);
	tell_ready(shim.uffd_mode ? 'R' : 'F');
	errno = saved;
	return at;
}

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	if (fd >= 0 && (prot & PROT_WRITE) && is_memory_fd(fd)) {
		errno = EACCES;
		if ((flags & MAP_TYPE) != MAP_PRIVATE)
			die("snapshot memory would be mapped shared");
		return map_memory(addr, len, prot, flags, fd, offset);
	}
	return raw_mmap(addr, len, prot, flags, fd, offset);
}

static int open_checked(int dir, const char *path, int flags, mode_t mode)
{
	int saved = errno;
	struct stat st;

	if (atomic_load(&shim.active) && path && fstatat(dir, path, &st, 0) == 0 && is_memory(&st))
		flags = (flags & ~(O_ACCMODE | O_TRUNC | O_CREAT | O_EXCL)) | O_RDONLY;
	errno = saved;
	return (int)syscall(SYS_openat, dir, path, flags, mode);
}

/* The mode is there only when the call may create. (clang-tidy 14 loses sight of va_start when it
 * is given several files at once.) */
#define OPEN_MODE(flags, ap) \
	(((flags)&O_CREAT) || ((flags)&O_TMPFILE) == O_TMPFILE ? va_arg(ap, mode_t) : 0)

EXPORT int open(const char *path, int flags, ...)
{
	va_list ap;

	va_start(ap, flags);
	mode_t mode = OPEN_MODE(flags, ap); /* NOLINT(clang-analyzer-valist.Uninitialized) */
	va_end(ap);
	return open_checked(AT_FDCWD, path, flags, mode);
}

EXPORT int openat(int dir, const char *path, int flags, ...)
{
	va_list ap;

	va_start(ap, flags);
	mode_t mode = OPEN_MODE(flags, ap); /* NOLINT(clang-analyzer-valist.Uninitialized) */
	va_end(ap);
	return open_checked(dir, path, flags, mode);
}

/* What _FORTIFY_SOURCE makes of an open without a mode. */
int __open_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);

EXPORT int __open_2(const char *path, int flags)
{
	return open_checked(AT_FDCWD, path, flags, 0);
}

EXPORT int __openat_2(int dir, const char *path, int flags)
{
	return open_checked(dir, path, flags, 0);
}

/* A hole punched in guest memory: with uffd the madvise that follows drops the pages and the server
 * answers zero; a private file mapping would show the snapshot's old bytes, so that is refused. */
static int refuse(int error)
{
	errno = error;
	return -1;
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t len)
{
	if (!is_memory_fd(fd))
		return (int)syscall(SYS_fallocate, fd, mode, offset, len);
	return shim.uffd_mode && (mode & FALLOC_FL_PUNCH_HOLE) ? 0 : refuse(EOPNOTSUPP);
}

EXPORT int posix_fallocate(int fd, off_t offset, off_t len)
{
	int saved = errno;
	int error = fallocate(fd, 0, offset, len) < 0 ? errno : 0;

	errno = saved;
	return error;
}

EXPORT int ftruncate(int fd, off_t len)
{
	return is_memory_fd(fd) ? refuse(EPERM) : (int)syscall(SYS_ftruncate, fd, len);
}

EXPORT int madvise(void *addr, size_t len, int advice)
{
	uintptr_t at = (uintptr_t)addr;

	if (advice == MADV_REMOVE && atomic_load(&shim.mapped) && at < shim.base + shim.len &&
	    at + len > shim.base) {
		if (!shim.uffd_mode)
			return refuse(EOPNOTSUPP);
		advice = MADV_DONTNEED;
	}
	return (int)syscall(SYS_madvise, addr, len, advice);
}

/* off_t has 64 bits here: the large-file names are the same functions. */
#define SAME_AS(name) __attribute__((alias(name), visibility("default")))
int __open64_2(const char *path, int flags) SAME_AS("__open_2");
int __openat64_2(int dir, const char *path, int flags) SAME_AS("__openat_2");
extern __typeof__(open) open64 SAME_AS("open");
extern __typeof__(openat) openat64 SAME_AS("openat");
extern __typeof__(mmap) mmap64 SAME_AS("mmap");
extern __typeof__(fallocate) fallocate64 SAME_AS("fallocate");
extern __typeof__(posix_fallocate) posix_fallocate64 SAME_AS("posix_fallocate");
extern __typeof__(ftruncate) ftruncate64 SAME_AS("ftruncate");
