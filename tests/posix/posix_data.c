/* posix_data.c - bytes: reading, writing, holes, positions, and what files open of names
 * that are gone still do. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cleanup.h"
#include "posix.h"

/* 64 KiB of data, a hole, 64 KiB of data. */
#define PART 65536
static int fill(const struct posix_case *c)
{
	static char data[PART];
	const struct timespec fixed[2] = {{.tv_sec = POSIX_TIME}, {.tv_sec = POSIX_TIME}};
	auto_close int fd = open("d/t", O_WRONLY | O_CLOEXEC);

	(void)c;
	for (size_t i = 0; i < PART; i++)
		data[i] = (char)('a' + i % 23);
	if (pwrite(fd, data, PART, 0) != PART || pwrite(fd, data, PART, (off_t)16 * PART) != PART)
		return -1;
	return futimens(fd, fixed);
}

static void at_offset(const struct posix_case *c, struct posix_at *at)
{
	static const int modes[] = {O_RDWR, O_RDWR | O_APPEND, O_RDONLY, O_WRONLY};
	auto_close int fd = posix_result_fd(at, "open", open("d/t", modes[c->a & 3] | O_CLOEXEC));
	char data[16] = "";
	off_t off = c->b;

	if (fd < 0)
		return;
	switch (c->a >> 2) {
	case 0:
		posix_result_data(at, "pread", data, pread(fd, data, sizeof(data), off));
		break;
	case 1:
		(void)posix_result(at, "pwrite", pwrite(fd, "0123456789", 10, off));
		break;
	case 2:
		(void)posix_result(at, "set", lseek(fd, off, SEEK_SET));
		(void)posix_result(at, "write", write(fd, "abc", 3));
		(void)posix_result(at, "cur", lseek(fd, 0, SEEK_CUR));
		break;
	case 3:
		(void)posix_result(at, "end", lseek(fd, off, SEEK_END));
		break;
	case 4:
		(void)posix_result(at, "data", lseek(fd, off, SEEK_DATA));
		break;
	case 5:
		(void)posix_result(at, "hole", lseek(fd, off, SEEK_HOLE));
		break;
	case 6:
		(void)posix_result(at, "ftruncate", ftruncate(fd, off));
		posix_result_data(at, "pread", data, pread(fd, data, 4, 0));
		break;
	default: {
		struct iovec iov[2] = {{.iov_base = data, .iov_len = 3},
				       {.iov_base = data + 3, .iov_len = 5}};

		posix_result_data(at, "preadv", data, preadv(fd, iov, 2, off));
	}
	}
}

void posix_build_offsets(struct posix_table *table)
{
	static const int64_t offsets[] = {0,
					  1,
					  PART - 3,
					  PART,
					  PART + 1,
					  4 * PART,
					  16 * PART - 1,
					  16 * PART,
					  17 * PART - 5,
					  17 * PART,
					  17 * PART + 100,
					  -1,
					  INT64_MAX,
					  INT64_MAX - 5};

	for (int op = 0; op < 8; op++)
		for (int mode = 0; mode < 4; mode++)
			for (size_t o = 0; o < ARRAY_SIZE(offsets); o++) {
				struct posix_case c = posix_default("offset", at_offset);

				c.setup = fill;
				c.a = op << 2 | mode;
				c.b = offsets[o];
				c.reads_end = ((op == 0 || op == 7) && offsets[o] >= 17 * PART) ||
					      (op == 6 && offsets[o] == 0);
				/* A position beyond what the file system can hold: FUSE does not
				 * know where that begins. */
				if (op == 2 && offsets[o] > INT64_MAX / 2)
					continue;
				posix_add(table, &c);
			}
}

static void allocate(const struct posix_case *c, struct posix_at *at)
{
	auto_close int fd = posix_result_fd(at, "open", open("d/t", O_RDWR | O_CLOEXEC));
	char data[8];

	if (fd < 0)
		return;
	(void)posix_result(at, "fallocate",
			   fallocate(fd, (int)c->a, c->b, c->s ? (off_t)3 * 4096 : 1));
	posix_result_stat(at, "stat", fd);
	posix_result_data(at, "pread", data, pread(fd, data, sizeof(data), c->b));
}

void posix_build_allocate(struct posix_table *table)
{
	static const int modes[] = {0,
				    FALLOC_FL_KEEP_SIZE,
				    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				    FALLOC_FL_PUNCH_HOLE,
				    FALLOC_FL_ZERO_RANGE,
				    FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
				    1 << 12};
	static const int64_t offsets[] = {0, 4096, 5000, 2 * PART, 17 * PART, 20 * PART, -1};
	static const enum posix_cred_id creds[] = {CRED_ROOT, CRED_OWNER, CRED_OTHER};

	for (size_t m = 0; m < ARRAY_SIZE(modes); m++)
		for (size_t o = 0; o < ARRAY_SIZE(offsets); o++)
			for (size_t i = 0; i < ARRAY_SIZE(creds); i++)
				for (int large = 0; large < 2; large++) {
					struct posix_case c = posix_default("fallocate", allocate);

					/* Nothing to punch: whether that is a change of the file
					 * differs between ext4 of Linux 6.1 and of 6.18. */
					if ((modes[m] & FALLOC_FL_PUNCH_HOLE) &&
					    offsets[o] >= 17 * PART)
						continue;
					c.setup = fill;
					c.cred = creds[i];
					c.a = modes[m];
					c.b = offsets[o];
					c.reads_end = offsets[o] >= 17 * PART;
					c.s = large ? "large" : NULL;
					posix_add(table, &c);
				}
}

static void copy_range(const struct posix_case *c, struct posix_at *at)
{
	auto_close int from = open("d/t", O_RDONLY | O_CLOEXEC);
	auto_close int to = open("o/u", (c->s ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	off_t in = c->a, out = c->b;

	buf_addf(at->out, " opened=%d%d", from >= 0, to >= 0);
	if (from < 0 || to < 0)
		return;
	(void)posix_result(at, "copy", copy_file_range(from, &in, to, &out, 100000, 0));
	(void)posix_result(at, "self",
			   copy_file_range(from, &(off_t){0}, from, &(off_t){10}, 5, 0));
	(void)posix_result(at, "flags", copy_file_range(from, &in, to, &out, 1, 1));
	(void)posix_result(at, "sendfile", sendfile(to, from, NULL, 100));
	posix_result_stat(at, "stat", to);
}

void posix_build_copy(struct posix_table *table)
{
	static const int64_t offsets[] = {0, 100, 4096, PART + 5, 17 * PART, -1};

	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++)
		for (size_t o = 0; o < ARRAY_SIZE(offsets); o++)
			for (int ro = 0; ro < 2; ro++) {
				struct posix_case c = posix_default("copy", copy_range);

				c.setup = fill;
				c.u = (struct posix_node){OBJ_FILE, 0644, UID_OWNER, UID_OWNER};
				c.a = offsets[i];
				c.b = offsets[o];
				c.s = ro ? "read-only" : NULL;
				posix_add(table, &c);
			}
}

static void on_gone(const struct posix_case *c, struct posix_at *at)
{
	bool dir = c->t.object == OBJ_DIR;
	auto_close int fd = posix_result_fd(
		at, "open", open("d/t", (dir ? O_RDONLY | O_DIRECTORY : O_RDWR) | O_CLOEXEC));
	const struct timespec t[2] = {{.tv_sec = 5}, {.tv_sec = 6}};
	char data[16], proc[32];

	if (fd < 0)
		return;
	(void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	if (c->b == 0)
		(void)posix_result(at, "remove", dir ? rmdir("d/t") : unlink("d/t"));
	else
		(void)posix_result(at, "replace", rename(dir ? "o/u" : "target", "d/t"));
	switch (c->a) {
	case 0:
		break;
	case 1:
		posix_result_data(at, "pread", data, pread(fd, data, sizeof(data), 0));
		(void)posix_result(at, "pwrite", pwrite(fd, "gone", 4, 2));
		posix_result_data(at, "pread", data, pread(fd, data, sizeof(data), 0));
		break;
	case 2:
		(void)posix_result(at, "ftruncate", ftruncate(fd, 4));
		break;
	case 3:
		(void)posix_result(at, "fchmod", fchmod(fd, 0600));
		break;
	case 4:
		(void)posix_result(at, "fchown", fchown(fd, UINT32_MAX, UID_OWNER));
		break;
	case 5:
		(void)posix_result(at, "futimens", futimens(fd, t));
		break;
	case 6:
		(void)posix_result(at, "link",
				   linkat(AT_FDCWD, proc, AT_FDCWD, "o/back", AT_SYMLINK_FOLLOW));
		break;
	case 7:
		(void)posix_result(at, "fsync", fsync(fd));
		break;
	case 8:
		cleanup_close_p(&(int){
			posix_result_fd(at, "create in", openat(fd, "x", O_CREAT | O_RDWR, 0600))});
		break;
	default:
		cleanup_close_p(&(int){posix_result_fd(at, "reopen", open(proc, O_RDONLY))});
	}
	posix_result_stat(at, "stat", fd);
}

void posix_build_gone(struct posix_table *table)
{
	static const enum posix_object kinds[] = {OBJ_FILE, OBJ_DIR};
	static const enum posix_cred_id creds[] = {CRED_ROOT, CRED_OWNER};

	for (int op = 0; op < 10; op++)
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
			for (size_t i = 0; i < ARRAY_SIZE(creds); i++)
				for (int how = 0; how < 2; how++) {
					struct posix_case c = posix_default("gone", on_gone);

					c.t.object = kinds[k];
					c.t.mode = 0755;
					c.u = (struct posix_node){OBJ_DIR, 0755, UID_OWNER,
								  UID_OWNER};
					c.cred = creds[i];
					c.a = op;
					c.b = how;
					posix_add(table, &c);
				}
}

static void map_t(const struct posix_case *c, struct posix_at *at)
{
	auto_close int fd = posix_result_fd(at, "open", open("d/t", (int)c->a | O_CLOEXEC));
	size_t len = 2u * PART;

	if (fd < 0)
		return;
	char *p = mmap(NULL, len, (int)(c->b & 7), (int)(c->b >> 3), fd, 0);
	if (p == MAP_FAILED) {
		(void)posix_result(at, "mmap", -1);
		return;
	}
	posix_result_data(at, "seen", p + 100, 5);
	if (c->b & PROT_WRITE) {
		p[100] = 'M';
		(void)posix_result(at, "msync", msync(p, len, MS_SYNC));
	}
	char data[5];
	posix_result_data(at, "pread", data, pread(fd, data, sizeof(data), 100));
	(void)posix_result(at, "pwrite", pwrite(fd, "W", 1, 101));
	posix_result_data(at, "seen", p + 100, 5);
	(void)munmap(p, len);
}

void posix_build_map(struct posix_table *table)
{
	static const int opens[] = {O_RDONLY, O_RDWR, O_WRONLY, O_RDWR | O_APPEND};
	static const int prots[] = {PROT_READ, PROT_READ | PROT_WRITE};
	static const int shares[] = {MAP_SHARED, MAP_PRIVATE};

	for (size_t o = 0; o < ARRAY_SIZE(opens); o++)
		for (size_t p = 0; p < ARRAY_SIZE(prots); p++)
			for (size_t s = 0; s < ARRAY_SIZE(shares); s++) {
				struct posix_case c = posix_default("mmap", map_t);

				c.setup = fill;
				c.a = opens[o];
				c.b = prots[p] | shares[s] << 3;
				posix_add(table, &c);
			}
}
