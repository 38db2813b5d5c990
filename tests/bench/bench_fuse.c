/* bench_fuse.c - a mounted directory beside the directory itself, beside what others have made for
 * the same purpose, and beside a split that does nothing at all: the floor of ours.
 *
 *   fuse.read.parallel          256 threads open, read and close 1,024 files of 4 KiB, cold
 *   fuse.write_fsync.parallel   the same, writing 4 KiB and fsync
 *   fuse.getattr ...            one caller, median of each operation
 *   fuse.sequential.read|write  1 MiB at a time
 *
 * Sides are interleaved, mounted fresh for each round, and the medians of the rounds compared. The
 * name of a row is ours with its default cache; other sides stand behind the name. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "cleanup.h"
#include "fuse_sides.h"
#include "xalloc.h"

#define THREADS 256
#define FILES 1024
#define SIZE 4096
#define BIG_SIZE (256ul << 20)
#define ROUNDS 9
#define OPS 1000

static const char *where; /* the side's path */
static char block[1 << 20];

/* --- many callers --- */

struct crowd {
	pthread_barrier_t ready, go;
	bool write;
};

struct member {
	struct crowd *crowd;
	unsigned int number;
};

static void one_file(unsigned int n, bool write_it)
{
	auto_free char *path = xasprintf("%s/f%04u", where, n);
	char data[SIZE];
	int fd = open(path, (write_it ? O_WRONLY | O_TRUNC : O_RDONLY) | O_CLOEXEC);

	if (fd < 0)
		sides_die(path);
	if (write_it ? write(fd, block, SIZE) != SIZE || fsync(fd) < 0
		     : read(fd, data, SIZE) != SIZE)
		sides_die(path);
	(void)close(fd);
}

static void *member_main(void *data)
{
	const struct member *m = data;

	(void)pthread_barrier_wait(&m->crowd->ready);
	(void)pthread_barrier_wait(&m->crowd->go);
	for (unsigned int i = m->number; i < FILES; i += THREADS)
		one_file(i, m->crowd->write);
	return NULL;
}

static double parallel(bool write)
{
	struct crowd crowd = {.write = write};
	struct member members[THREADS];
	pthread_t ids[THREADS];

	(void)pthread_barrier_init(&crowd.ready, NULL, THREADS + 1);
	(void)pthread_barrier_init(&crowd.go, NULL, THREADS + 1);
	for (unsigned int i = 0; i < THREADS; i++) {
		members[i] = (struct member){&crowd, i};
		if (pthread_create(&ids[i], NULL, member_main, &members[i]) != 0)
			sides_die("pthread_create");
	}
	(void)pthread_barrier_wait(&crowd.ready);
	/* Before the last one goes: this thread may be the last to hear of it. */
	double start = bench_now_ms();
	(void)pthread_barrier_wait(&crowd.go);
	for (unsigned int i = 0; i < THREADS; i++)
		(void)pthread_join(ids[i], NULL);
	return bench_now_ms() - start;
}

static double read_parallel(void)
{
	return parallel(false);
}

static double write_parallel(void)
{
	return parallel(true);
}

/* --- one caller --- */

static int big = -1, small = -1; /* open on the side */

static void op_getattr(unsigned int i)
{
	struct statx st;

	(void)i;
	if (statx(small, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &st) < 0)
		sides_die("statx");
}

static void op_miss(unsigned int i)
{
	char path[256];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/missing-%u", where, i);
	if (stat(path, &st) == 0)
		sides_die("something is there");
}

static void op_open(unsigned int i)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/f%04u", where, i % FILES);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		sides_die(path);
	(void)close(fd);
}

/* Pages that nothing has read before, far from each other. */
static off_t far(unsigned int i)
{
	return (off_t)((i * 40503u) % (BIG_SIZE / SIZE)) * SIZE;
}

static void op_read(unsigned int i)
{
	char data[SIZE];

	if (pread(big, data, SIZE, far(i)) != SIZE)
		sides_die("pread");
}

static void op_write(unsigned int i)
{
	if (pwrite(big, block, SIZE, far(i)) != SIZE)
		sides_die("pwrite");
}

static void op_readdir(unsigned int i)
{
	auto_free char *path = xasprintf("%s/d100", where);
	auto_closedir DIR *dir = opendir(path);
	unsigned int n = 0;

	(void)i;
	while (dir && readdir(dir))
		n++;
	if (n < 100)
		sides_die(path);
}

static void op_create(unsigned int i)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/made-%u", where, i);
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		sides_die(path);
	(void)close(fd);
	if (unlink(path) < 0)
		sides_die(path);
}

static double median_us(void (*op)(unsigned int))
{
	static double samples[OPS];

	for (unsigned int i = 0; i < OPS; i++) {
		double start = bench_now_ms();

		op(i);
		samples[i] = 1e3 * (bench_now_ms() - start);
	}
	return bench_quantile(samples, OPS, 0.5);
}

#define SINGLE(name)                         \
	static double single_##name(void)    \
	{                                    \
		return median_us(op_##name); \
	}
SINGLE(getattr)
SINGLE(miss)
SINGLE(open)
SINGLE(read)
SINGLE(write)
SINGLE(readdir)
SINGLE(create)

/* --- large files --- */

static double sequential(bool write)
{
	double start = bench_now_ms();

	if (lseek(big, 0, SEEK_SET) < 0)
		sides_die("lseek");
	for (size_t done = 0; done < BIG_SIZE; done += sizeof(block)) {
		ssize_t n = write ? pwrite(big, block, sizeof(block), (off_t)done)
				  : pread(big, block, sizeof(block), (off_t)done);

		if (n != (ssize_t)sizeof(block))
			sides_die("sequential");
	}
	return (double)(BIG_SIZE >> 20) / ((bench_now_ms() - start) / 1e3);
}

static double sequential_read(void)
{
	return sequential(false);
}

static double sequential_write(void)
{
	return sequential(true);
}

/* --- all of it --- */

static const struct measure {
	const char *name, *unit;
	double (*run)(void);
	uint64_t n; /* operations a round */
} measures[] = {
	{"fuse.read.parallel", "ms", read_parallel, FILES},
	{"fuse.write_fsync.parallel", "ms", write_parallel, FILES},
	{"fuse.getattr", "us", single_getattr, OPS},
	{"fuse.lookup_miss", "us", single_miss, OPS},
	{"fuse.open_close", "us", single_open, OPS},
	{"fuse.read_4k", "us", single_read, OPS},
	{"fuse.write_4k", "us", single_write, OPS},
	{"fuse.readdir_100", "us", single_readdir, OPS},
	{"fuse.create_unlink", "us", single_create, OPS},
	{"fuse.sequential.read", "MiB/s", sequential_read, BIG_SIZE >> 20},
	{"fuse.sequential.write", "MiB/s", sequential_write, BIG_SIZE >> 20},
};

static void fill(const struct sides *s)
{
	auto_free char *dir = xasprintf("%s/d100", s->source);

	where = s->source;
	if (mkdir(dir, 0777) < 0)
		sides_die(dir);
	for (unsigned int i = 0; i < FILES + 100; i++) {
		auto_free char *path = i < FILES ? xasprintf("%s/f%04u", s->source, i)
						 : xasprintf("%s/f%u", dir, i - FILES);

		cleanup_close_p(&(int){open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0666)});
		if (i < FILES)
			one_file(i, true);
	}
	auto_free char *path = xasprintf("%s/big", s->source);
	big = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
	(void)sequential_write();
	if (fsync(big) < 0)
		sides_die(path);
	cleanup_close_p(&big);
}

static double measure_once(struct sides *s, enum side side, const struct measure *m)
{
	where = side_up(s, side);
	auto_free char *big_path = xasprintf("%s/big", where);
	auto_free char *small_path = xasprintf("%s/f0000", where);

	big = open(big_path, O_RDWR | O_CLOEXEC);
	small = open(small_path, O_RDONLY | O_CLOEXEC);
	if (big < 0 || small < 0)
		sides_die(big_path);
	(void)posix_fadvise(big, 0, 0,
			    m->run == single_read ? POSIX_FADV_RANDOM : POSIX_FADV_NORMAL);
	double value = m->run();
	cleanup_close_p(&big);
	cleanup_close_p(&small);
	side_down(s);
	return value;
}

static void report(const struct measure *m, const double *medians, const bool *there)
{
	for (int side = SIDE_SHARED; side < SIDE_COUNT; side++) {
		auto_free char *name = side == SIDE_SHARED ? xstrdup(m->name)
							   : xasprintf("%s.%s", m->name,
								       side_name((enum side)side));
		const struct bench_row row = {name,   medians[side],      m->unit,
					      "host", medians[SIDE_HOST], m->n * ROUNDS};

		if (there[side])
			bench_print(&row);
	}
	for (int side = SIDE_NULL; side < SIDE_COUNT; side++) {
		const struct bench_row row = {m->name,       medians[SIDE_SHARED],
					      m->unit,       side_name((enum side)side),
					      medians[side], m->n * ROUNDS};

		if (there[side])
			bench_print(&row);
	}
}

/* The host is what everything is compared with. */
static void choose_sides(char *const *names, bool there[SIDE_COUNT])
{
	for (int side = 0; side < SIDE_COUNT; side++) {
		bool wanted = !*names || side == SIDE_HOST;

		for (char *const *at = names; *at && !wanted; at++)
			wanted = strcmp(*at, side_name((enum side)side)) == 0;
		there[side] = wanted && side_is_there((enum side)side);
	}
}

/* Sides take turns, and begin at another one each round: what a side leaves behind for the next
 * does not always meet the same. */
static void measure_rounds(struct sides *s, const struct measure *m, const bool *there,
			   double medians[SIDE_COUNT])
{
	static double samples[SIDE_COUNT][ROUNDS];

	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < SIDE_COUNT; i++) {
			int side = (i + round) % SIDE_COUNT;

			if (there[side])
				samples[side][round] = measure_once(s, (enum side)side, m);
		}
	}
	for (int side = 0; side < SIDE_COUNT; side++)
		if (there[side])
			medians[side] = bench_quantile(samples[side], ROUNDS, 0.5);
}

/* bench-fuse [ROW [SIDE...]]: all of it, or the rows whose names begin so, and of those only the
 * host and the sides named. */
int main(int argc, char **argv)
{
	const char *only = argc > 1 ? argv[1] : "";
	const char *parent = getenv("FCVM_BENCH_DIR");
	struct sides s = {.up = SIDE_HOST};
	bool there[SIDE_COUNT];

	if (geteuid() != 0 || access("/dev/fuse", R_OK | W_OK) != 0) {
		(void)fprintf(stderr, "bench_fuse: needs root and /dev/fuse\n");
		return 0;
	}
	sides_init(&s, parent ? parent : "/var/tmp");
	fill(&s);
	choose_sides(argc > 1 ? argv + 2 : argv + argc, there);
	for (size_t i = 0; i < ARRAY_SIZE(measures); i++) {
		double medians[SIDE_COUNT] = {0};

		if (strncmp(measures[i].name, only, strlen(only)) != 0)
			continue;
		measure_rounds(&s, &measures[i], there, medians);
		report(&measures[i], medians, there);
	}
	sides_free(&s);
	return 0;
}
