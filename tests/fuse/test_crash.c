/* test_crash.c - one side dies in the middle of work: nothing hangs, nothing that fsync has
 * acknowledged is lost, and callers hear ENOTCONN when there is nobody to come back to. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "world.h"
#include "xalloc.h"

#define WORKERS 4
#define SLOTS 64
#define BLOCK 4096

/* What a worker tells the test, in shared memory. */
struct progress {
	_Atomic uint64_t loops;
	_Atomic uint64_t synced[SLOTS]; /* the number in each block that fsync has acknowledged */
	_Atomic uint64_t tried[SLOTS];  /* the last one written at all */
	_Atomic int error;              /* errno of the call that failed, which ended the worker */
	_Atomic int line;
};

struct load {
	struct world w;
	struct progress *progress;
	pid_t pids[WORKERS];
	int ends[WORKERS]; /* readable when the worker has ended */
};

#define CHECK(cond)                         \
	do {                                \
		if (!(cond)) {              \
			p->error = errno;   \
			p->line = __LINE__; \
			return;             \
		}                           \
	} while (0)

/* Only what may be done twice: which of the others were done before a crash nobody can know. */
static void work(const struct world *w, unsigned int worker, struct progress *p)
{
	auto_free char *name = xasprintf("load-%u", worker);
	auto_close int kept = openat(w->mnt_fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	static char block[BLOCK], back[BLOCK];

	CHECK(kept >= 0);
	for (uint64_t n = 1;; n++) {
		size_t slot = n % SLOTS;
		struct stat st;
		auto_close int fd = openat(w->mnt_fd, name, O_RDWR | O_CLOEXEC);

		CHECK(fd >= 0);
		memset(block, (int)('a' + n % 26), sizeof(block));
		(void)snprintf(block, sizeof(block), "%ju", (uintmax_t)n);
		p->tried[slot] = n;
		CHECK(pwrite(n % 2 ? fd : kept, block, BLOCK, (off_t)(slot * BLOCK)) == BLOCK);
		CHECK(pread(fd, back, BLOCK, (off_t)(slot * BLOCK)) == BLOCK);
		errno = EILSEQ;
		CHECK(memcmp(block, back, BLOCK) == 0);
		CHECK(fsync(fd) == 0);
		p->synced[slot] = n;
		CHECK(fstatat(w->mnt_fd, name, &st, 0) == 0);
		p->loops++;
	}
}

static void load_start(struct load *l)
{
	world_open(&l->w, FS_EXT4, "shared", WORLD_FULL_TRUST);
	l->progress = mmap(NULL, WORKERS * sizeof(*l->progress), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(l->progress, MAP_FAILED);
	for (unsigned int i = 0; i < WORKERS; i++) {
		int end[2];

		cr_assert_eq(pipe2(end, O_CLOEXEC), 0);
		l->pids[i] = fork();
		cr_assert_geq(l->pids[i], 0);
		if (l->pids[i] == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			work(&l->w, i, &l->progress[i]);
			_exit(0);
		}
		close(end[1]);
		l->ends[i] = end[0];
	}
}

/* Until every worker has done this many more loops, or ended. */
static void load_run(struct load *l, uint64_t loops)
{
	uint64_t deadline = deadline_in(WORLD_TIMEOUT_MS);

	for (unsigned int i = 0; i < WORKERS; i++) {
		uint64_t want = l->progress[i].loops + loops;

		while (l->progress[i].loops < want && io_wait(l->ends[i], 0, deadline_in(5)) == 0)
			cr_assert_lt(now_ms(), deadline, "worker %u hangs", i);
	}
}

static void load_check(struct load *l)
{
	static char block[BLOCK];

	for (unsigned int i = 0; i < WORKERS; i++) {
		const struct progress *p = &l->progress[i];
		auto_free char *name = xasprintf("load-%u", i);
		auto_close int fd = openat(l->w.vol_fd, name, O_RDONLY | O_CLOEXEC);

		cr_assert_geq(fd, 0);
		for (size_t slot = 0; slot < SLOTS; slot++) {
			if (p->synced[slot] == 0)
				continue;
			cr_assert_eq(pread(fd, block, BLOCK, (off_t)(slot * BLOCK)), BLOCK);
			block[20] = '\0';
			uint64_t have = strtoull(block, NULL, 10);
			cr_expect(have >= p->synced[slot] && have <= p->tried[slot],
				  "worker %u block %zu: fsync said %ju, there is %ju", i, slot,
				  (uintmax_t)p->synced[slot], (uintmax_t)have);
		}
	}
}

/* Every worker ends with one of these. */
static void load_ends(struct load *l, int error, int or_error)
{
	for (unsigned int i = 0; i < WORKERS; i++) {
		cr_assert_eq(io_wait(l->ends[i], POLLIN, deadline_in(WORLD_TIMEOUT_MS)), 1,
			     "worker %u hangs", i);
		cr_expect_eq(world_wait(l->pids[i]), 0);
		int got = l->progress[i].error;
		cr_expect(got == error || got == or_error, "worker %u: %s at line %d", i,
			  strerrorname_np(got), l->progress[i].line);
		close(l->ends[i]);
	}
}

Test(crash, a_server_that_is_back_in_time_is_not_noticed, .fini = world_cleanup)
{
	struct load l = {0};
	int kills = getenv("FCVM_FUSE_FULL") ? 20 : 5;

	load_start(&l);
	for (int i = 0; i < kills; i++) {
		load_run(&l, 10);
		world_kill_server(&l.w);
		world_start_server(&l.w);
	}
	load_run(&l, 10);
	for (unsigned int i = 0; i < WORKERS; i++) {
		cr_expect_eq(l.progress[i].error, 0, "worker %u: %s at line %d", i,
			     strerrorname_np(l.progress[i].error), l.progress[i].line);
		world_kill(&l.pids[i]);
	}
	load_check(&l);
	world_close(&l.w);
}

Test(crash, callers_of_a_server_that_stays_away_get_enotconn_after_the_wait, .fini = world_cleanup)
{
	struct load l = {0};
	struct stat st;

	load_start(&l);
	load_run(&l, 20);
	world_kill_server(&l.w);
	uint64_t since = now_ms();
	load_ends(&l, ENOTCONN, ENOTCONN);
	cr_expect_geq(now_ms() - since, 9000, "they wait for the server to come back");
	cr_expect_eq(fstatat(l.w.mnt_fd, "another", &st, 0), -1);
	cr_expect_eq(errno, ENOTCONN);
	load_check(&l);

	/* And when it is back after all, the mount goes on. */
	world_start_server(&l.w);
	uint64_t deadline = deadline_in(WORLD_TIMEOUT_MS);
	int fd = -1;
	while (fd < 0) {
		fd = openat(l.w.mnt_fd, "again", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		cr_assert(fd >= 0 || (errno == ENOTCONN && now_ms() < deadline), "%s",
			  strerror(errno));
	}
	cr_expect_eq(write(fd, "x", 1), 1);
	close(fd);
	world_close(&l.w);
}

Test(crash, callers_on_a_mount_whose_guest_side_dies_are_let_go, .fini = world_cleanup)
{
	struct load l = {0};
	struct stat st;

	load_start(&l);
	load_run(&l, 20);
	world_kill(&l.w.mount);
	load_ends(&l, ENOTCONN, ECONNABORTED);
	cr_expect_eq(fstatat(l.w.mnt_fd, "another", &st, 0), -1);
	cr_expect_eq(errno, ENOTCONN);
	load_check(&l);

	/* The server takes another mount. */
	cleanup_close_p(&l.w.mnt_fd);
	cr_assert_eq(umount2(l.w.mnt, MNT_DETACH), 0);
	world_start_mount(&l.w);
	l.w.mnt_fd = open(l.w.mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_expect_eq(fstatat(l.w.mnt_fd, "load-0", &st, 0), 0, "%s", strerror(errno));
	world_close(&l.w);
}

Test(crash, files_open_across_a_restart_of_the_server_go_on, .fini = world_cleanup)
{
	auto_world struct world w;
	struct stat st;
	char data[16] = "";

	world_open(&w, FS_EXT4, "shared", WORLD_FULL_TRUST);
	cr_assert_eq(mkdirat(w.mnt_fd, "dir", 0755), 0);
	auto_close int dir = openat(w.mnt_fd, "dir", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_close int fd = openat(dir, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	auto_close int log = openat(dir, "log", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	auto_close int gone = openat(dir, "gone", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	cr_assert_eq(write(fd, "before", 6), 6);
	cr_assert_eq(write(log, "one", 3), 3);
	cr_assert_eq(write(gone, "x", 1), 1);
	cr_assert_eq(unlinkat(dir, "gone", 0), 0);
	world_kill_server(&w);
	world_start_server(&w);
	cr_expect_eq(pread(fd, data, sizeof(data), 0), 6);
	cr_expect_str_eq(data, "before");
	cr_expect_eq(pwrite(fd, "after", 5, 6), 5, "%s", strerror(errno));
	cr_expect_eq(write(log, "two", 3), 3);
	cr_expect_eq(fstatat(dir, "log", &st, 0), 0, "%s", strerror(errno));
	cr_expect_eq(st.st_size, 6, "appended once");
	cr_expect_eq(mkdirat(dir, "sub", 0700), 0, "%s", strerror(errno));
	/* Nothing names it any more: after a crash it is stale, and says so. */
	cr_expect_eq(pread(gone, data, 1, 0) == 1 || errno == ESTALE, 1, "%s", strerror(errno));
	cr_expect_eq(fsync(fd), 0);
}
