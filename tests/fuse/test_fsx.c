/* test_fsx.c - random operations on a file beside a shadow copy in memory: after each one both are
 * the same, and at the end the file below the mount is, too. Four workers, each with a file. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "world.h"
#include "xalloc.h"

#define WORKERS 4
#define SIZE_MAX_ (512u << 10)
#define IO_MAX (96u << 10)

struct fsx {
	uint64_t random;
	char *path;
	int fd;
	size_t size;
	unsigned long op; /* for messages */
	unsigned char shadow[SIZE_MAX_], data[SIZE_MAX_];
};

/* xorshift: the same sequence everywhere. */
static uint64_t next(struct fsx *x)
{
	x->random ^= x->random << 13;
	x->random ^= x->random >> 7;
	x->random ^= x->random << 17;
	return x->random;
}

static size_t below(struct fsx *x, size_t n)
{
	return n ? (size_t)(next(x) % n) : 0;
}

#define check(x, cond, ...)                                             \
	do {                                                            \
		if (!(cond)) {                                          \
			dprintf(2, "%s: op %lu: ", (x)->path, (x)->op); \
			dprintf(2, __VA_ARGS__);                        \
			dprintf(2, " (%s)\n", strerror(errno));         \
			_exit(1);                                       \
		}                                                       \
	} while (0)

/* A range that is not empty; within the file when there is anything in it. */
static void range(struct fsx *x, size_t limit, size_t *ret_off, size_t *ret_len)
{
	*ret_off = below(x, limit);
	*ret_len = 1 + below(x, limit - *ret_off < IO_MAX ? limit - *ret_off : IO_MAX);
	if (*ret_off + *ret_len > limit)
		*ret_len = limit - *ret_off;
}

static void grow_to(struct fsx *x, size_t end)
{
	if (end > x->size)
		x->size = end;
}

static void same(struct fsx *x, const unsigned char *got, size_t off, size_t len)
{
	for (size_t i = 0; i < len; i++)
		check(x, got[i] == x->shadow[off + i], "byte %zu is %02x, not %02x; size %zu",
		      off + i, got[i], x->shadow[off + i], x->size);
}

static void do_read(struct fsx *x)
{
	size_t off, len;

	range(x, SIZE_MAX_, &off, &len);
	size_t want = off >= x->size ? 0 : x->size - off < len ? x->size - off : len;
	ssize_t n = pread(x->fd, x->data, len, (off_t)off);
	check(x, n == (ssize_t)want, "read of %zu at %zu gave %zd, not %zu", len, off, n, want);
	same(x, x->data, off, want);
}

static void do_write(struct fsx *x)
{
	size_t off, len;

	range(x, SIZE_MAX_, &off, &len);
	for (size_t i = 0; i < len; i++)
		x->shadow[off + i] = (unsigned char)next(x);
	ssize_t n = pwrite(x->fd, x->shadow + off, len, (off_t)off);
	check(x, n == (ssize_t)len, "write of %zu at %zu gave %zd", len, off, n);
	grow_to(x, off + len);
}

static void do_truncate(struct fsx *x)
{
	size_t size = below(x, SIZE_MAX_);
	int r = next(x) & 1 ? ftruncate(x->fd, (off_t)size) : truncate(x->path, (off_t)size);

	check(x, r == 0, "truncate to %zu", size);
	if (size < x->size)
		memset(x->shadow + size, 0, x->size - size);
	x->size = size;
}

static void do_map(struct fsx *x, bool write)
{
	size_t off, len, page;

	if (x->size == 0)
		return;
	range(x, x->size, &off, &len);
	page = off & ~(size_t)4095;
	unsigned char *p = mmap(NULL, off - page + len, PROT_READ | (write ? PROT_WRITE : 0),
				MAP_SHARED, x->fd, (off_t)page);
	check(x, p != MAP_FAILED, "mmap of %zu at %zu", len, off);
	same(x, p + (off - page), off, len);
	for (size_t i = 0; write && i < len; i++)
		p[off - page + i] = x->shadow[off + i] = (unsigned char)next(x);
	if (write && next(x) & 1)
		check(x, msync(p, off - page + len, MS_SYNC) == 0, "msync");
	check(x, munmap(p, off - page + len) == 0, "munmap");
}

static void do_fallocate(struct fsx *x)
{
	static const int modes[] = {0, FALLOC_FL_KEEP_SIZE,
				    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				    FALLOC_FL_ZERO_RANGE};
	int mode = modes[below(x, ARRAY_SIZE(modes))];
	size_t off, len;

	range(x, SIZE_MAX_, &off, &len);
	check(x, fallocate(x->fd, mode, (off_t)off, (off_t)len) == 0,
	      "fallocate mode %d of %zu at %zu", mode, len, off);
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		grow_to(x, off + len);
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		memset(x->shadow + off, 0, len);
}

/* The two ranges may not overlap. */
static void do_copy(struct fsx *x)
{
	size_t half = x->size / 2, off, len, to;

	if (half == 0)
		return;
	range(x, half, &off, &len);
	to = half + below(x, half);
	off_t in = (off_t)off, out = (off_t)to;
	if (to + len > SIZE_MAX_)
		len = SIZE_MAX_ - to;
	ssize_t n = copy_file_range(x->fd, &in, x->fd, &out, len, 0);
	check(x, n > 0 && n <= (ssize_t)len, "copy of %zu from %zu to %zu gave %zd", len, off, to,
	      n);
	memcpy(x->shadow + to, x->shadow + off, (size_t)n);
	grow_to(x, to + (size_t)n);
}

static void do_reopen(struct fsx *x)
{
	if (next(x) & 1)
		check(x, fsync(x->fd) == 0, "fsync");
	check(x, close(x->fd) == 0, "close");
	x->fd = open(x->path, O_RDWR | O_CLOEXEC);
	check(x, x->fd >= 0, "open");
}

static void do_append(struct fsx *x)
{
	size_t len = 1 + below(x, 5000);
	int fd;

	if (x->size + len > SIZE_MAX_)
		return;
	fd = open(x->path, O_WRONLY | O_APPEND | O_CLOEXEC);
	check(x, fd >= 0, "open to append");
	for (size_t i = 0; i < len; i++)
		x->shadow[x->size + i] = (unsigned char)next(x);
	check(x, write(fd, x->shadow + x->size, len) == (ssize_t)len, "append of %zu", len);
	check(x, close(fd) == 0, "close");
	x->size += len;
}

/* Memory and offsets of whole pages: what O_DIRECT asks of every file system. */
static void do_direct(struct fsx *x)
{
	static _Alignas(4096) unsigned char pages[8 * 4096];
	size_t off = 4096 * below(x, SIZE_MAX_ / 4096 - 8);
	size_t len = 4096 * (1 + below(x, 7));
	int fd = open(x->path, O_RDWR | O_DIRECT | O_CLOEXEC);

	check(x, fd >= 0, "open direct");
	if (next(x) & 1) {
		for (size_t i = 0; i < len; i++)
			x->shadow[off + i] = pages[i] = (unsigned char)next(x);
		ssize_t n = pwrite(fd, pages, len, (off_t)off);
		check(x, n == (ssize_t)len, "direct write of %zu at %zu gave %zd", len, off, n);
		grow_to(x, off + len);
	} else {
		size_t want = off >= x->size ? 0 : x->size - off < len ? x->size - off : len;
		ssize_t n = pread(fd, pages, len, (off_t)off);

		check(x, n == (ssize_t)want, "direct read of %zu at %zu gave %zd, not %zu", len,
		      off, n, want);
		same(x, pages, off, want);
	}
	check(x, close(fd) == 0, "close");
}

static void do_one(struct fsx *x)
{
	struct stat st;

	switch (next(x) % 20) {
	case 0 ... 4:
		do_read(x);
		break;
	case 5 ... 9:
		do_write(x);
		break;
	case 10:
		do_truncate(x);
		break;
	case 11 ... 12:
		do_map(x, false);
		break;
	case 13 ... 14:
		do_map(x, true);
		break;
	case 15:
		do_fallocate(x);
		break;
	case 16:
		do_copy(x);
		break;
	case 17:
		do_reopen(x);
		break;
	case 18:
		do_append(x);
		break;
	default:
		do_direct(x);
	}
	check(x, fstat(x->fd, &st) == 0 && (size_t)st.st_size == x->size, "size %jd, not %zu",
	      (intmax_t)st.st_size, x->size);
}

static void work(const struct world *w, unsigned int worker, uint64_t seed, unsigned long ops)
{
	struct fsx *x = xcalloc(1, sizeof(*x));
	auto_free char *below_path = xasprintf("%s/fsx%u", w->vol, worker);

	x->path = xasprintf("%s/fsx%u", w->mnt, worker);
	x->random = seed * 2654435761u + worker + 1;
	x->fd = open(x->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	check(x, x->fd >= 0, "create");
	for (x->op = 0; x->op < ops; x->op++)
		do_one(x);
	check(x, fsync(x->fd) == 0, "fsync");
	int fd = open(below_path, O_RDONLY | O_CLOEXEC);
	ssize_t n = pread(fd, x->data, sizeof(x->data), 0);
	check(x, n == (ssize_t)x->size, "%zd bytes below, not %zu", n, x->size);
	same(x, x->data, 0, x->size);
	check(x, unlink(x->path) == 0, "unlink");
}

static void fsx(enum world_fs fs, const char *cache, uint64_t seed)
{
	unsigned long total = getenv("FCVM_FUSE_FULL") ? 100000 : 12000;
	pid_t pids[WORKERS];
	auto_world struct world w;

	world_open(&w, fs, cache, getenv("FCVM_FUSE_BIND") ? WORLD_BIND : WORLD_FULL_TRUST);
	for (unsigned int i = 0; i < WORKERS; i++) {
		pids[i] = fork();
		cr_assert_geq(pids[i], 0);
		if (pids[i] == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			work(&w, i, seed, total / WORKERS);
			_exit(0);
		}
	}
	for (unsigned int i = 0; i < WORKERS; i++) {
		int status = -1;

		cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
		cr_expect_eq(status, 0, "worker %u of seed %ju", i, (uintmax_t)seed);
	}
	(void)fprintf(stderr, "fsx: %lu operations of %d workers, seed %ju\n", total, WORKERS,
		      (uintmax_t)seed);
}

Test(fsx, finds_no_difference_on_ext4, .fini = world_cleanup)
{
	fsx(FS_EXT4, "shared", 1);
}
Test(fsx, finds_no_difference_on_ext4_with_another_seed, .fini = world_cleanup)
{
	fsx(FS_EXT4, "shared", 2);
}
Test(fsx, finds_no_difference_on_ext4_without_caches, .fini = world_cleanup)
{
	fsx(FS_EXT4, "strict", 3);
}
Test(fsx, finds_no_difference_on_ext4_with_private_caches, .fini = world_cleanup)
{
	fsx(FS_EXT4, "private", 4);
}
Test(fsx, finds_no_difference_on_btrfs, .fini = world_cleanup)
{
	fsx(FS_BTRFS, "shared", 5);
}
Test(fsx, finds_no_difference_on_btrfs_with_another_seed, .fini = world_cleanup)
{
	fsx(FS_BTRFS, "shared", 6);
}
