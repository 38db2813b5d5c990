/* libfcvm-uffd.so in a program that treats its memory file as QEMU does. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "rig.h"
#include "run.h"
#include "strv.h"
#include "xalloc.h"

#define WAIT_MS 10000
#define SHIM TEST_BUILD_DIR "/libfcvm-uffd.so"
#define PROBE TEST_BUILD_DIR "/tests/shim_probe"

struct probe {
	struct buf out, err; /* what it printed */
	char ready[8];       /* what the engine would read */
	int status;
};

static void probe_free(struct probe *p)
{
	buf_free(&p->out);
	buf_free(&p->err);
}
#define auto_probe __attribute__((cleanup(probe_free)))
#define PROBE_INIT                                             \
	{                                                      \
		.out = BUF_INIT(65536), .err = BUF_INIT(65536) \
	}

/* Announces the probe between its fork and its exec, as an engine does. */
struct holding {
	struct rig *rig;
	struct guest *g;
};

static int announce_held(void *data, pid_t pid, struct err *err)
{
	const struct holding *h = data;

	return guest_announce(h->rig, h->g, "vm-probe", pid, 0, err);
}

static void read_all(int fd, struct buf *into)
{
	char chunk[4096];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		buf_add(into, chunk, (size_t)n);
}

static void run_probe(struct rig *rig, const char *mode, const char *how, struct guest *g,
		      struct probe *p)
{
	auto_strv struct strv env = {0}, argv = {0};
	struct holding holding = {rig, g};
	auto_close int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	auto_close int pidfd = -1;
	int out[2], errs[2], ready[2];
	struct err err = {0};

	cr_assert(file_exists(SHIM) && file_exists(PROBE), "build " SHIM " and " PROBE " first");
	cr_assert_geq(device, 0);
	cr_assert(pipe2(out, O_CLOEXEC) == 0 && pipe2(errs, O_CLOEXEC) == 0 &&
		  pipe2(ready, O_CLOEXEC) == 0);
	auto_free char *shim = realpath(SHIM, NULL);
	auto_free char *exe = realpath(PROBE, NULL);
	strv_addf(&env, "LD_PRELOAD=%s", shim);
	strv_addf(&env, "FCVM_UFFD_FILE=%s", rig->memory);
	strv_addf(&env, "FCVM_UFFD_MODE=%s", mode);
	strv_add(&env, "FCVM_UFFD_SOCK=vm-probe.sock");
	strv_add(&env, "FCVM_UFFD_DEV=3");
	strv_add(&env, "FCVM_UFFD_READY=4");
	/* A sanitizer's runtime wants to be first in the list; it need not be. */
	strv_add(&env, "ASAN_OPTIONS=verify_asan_link_order=0");
	strv_add(&argv, exe);
	strv_add(&argv, rig->memory);
	strv_addf(&argv, "%zu", rig->pages * PAGE);
	strv_add(&argv, how);
	const struct proc_fd fds[] = {{device, 3}, {ready[1], 4}};
	const struct proc_spec spec = {.argv = (const char *const *)argv.v,
				       .env = (const char *const *)env.v,
				       .cwd = rig->dir,
				       .in = -1,
				       .out = out[1],
				       .err = errs[1],
				       .fds = fds,
				       .n_fds = ARRAY_SIZE(fds),
				       .death_signal = SIGKILL,
				       .held = g ? announce_held : NULL,
				       .data = &holding};
	cr_assert_eq(proc_spawn(&spec, &pidfd, NULL, &err), 0, "%s", err.msg);
	(void)close(out[1]);
	(void)close(errs[1]);
	(void)close(ready[1]);
	read_all(out[0], &p->out);
	read_all(errs[0], &p->err);
	ssize_t n = read(ready[0], p->ready, sizeof(p->ready) - 1);
	cr_assert_geq(n, 0);
	cr_assert_eq(proc_wait(pidfd, deadline_in(WAIT_MS), &p->status, &err), 0);
	(void)close(out[0]);
	(void)close(errs[0]);
	(void)close(ready[0]);
}

/* The file as the probe should see it, by its own measure. */
static uint64_t expected_checksum(size_t pages)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < pages * PAGE; i++)
		h = (h ^ rig_byte(i)) * 0x100000001b3u;
	return h;
}

static const char in_uffd_mode[] = "open0 read-only\n"
				   "open1 read-only\n"
				   "open2 read-only\n"
				   "open3 read-only\n"
				   "checksum %016jx\n"
				   "fallocate_punch ok\n"
				   "fallocate64_punch ok\n"
				   "fallocate_zero Operation not supported\n"
				   "posix_fallocate Operation not supported\n"
				   "ftruncate Operation not permitted\n"
				   "ftruncate64 Operation not permitted\n"
				   "write Bad file descriptor\n"
				   "madvise_remove ok\n"
				   "after_remove 0\n"
				   "written 238\n";
/* A hole cannot be had there: the old bytes would come back. */
static const char in_file_mode[] = "open0 read-only\n"
				   "open1 read-only\n"
				   "open2 read-only\n"
				   "open3 read-only\n"
				   "checksum %016jx\n"
				   "fallocate_punch Operation not supported\n"
				   "fallocate64_punch Operation not supported\n"
				   "fallocate_zero Operation not supported\n"
				   "posix_fallocate Operation not supported\n"
				   "ftruncate Operation not permitted\n"
				   "ftruncate64 Operation not permitted\n"
				   "write Bad file descriptor\n"
				   "madvise_remove Operation not supported\n"
				   "after_remove %u\n"
				   "written 238\n";

Test(shim, with_uffd_all_memory_comes_from_the_server_and_the_file_stays_as_it_was)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;
	auto_probe struct probe p = PROBE_INIT;
	char want[1024];

	rig_start(&rig, 256);
	guest_init(&g);
	auto_free char *before = xstrdup(rig_digest(rig.memory));
	run_probe(&rig, "uffd", "", &g, &p);
	cr_expect_eq(p.status, 0, "%s", buf_str(&p.err));
	cr_expect_str_eq(p.ready, "R");
	(void)snprintf(want, sizeof(want), in_uffd_mode, (uintmax_t)expected_checksum(rig.pages));
	cr_expect_str_eq(buf_str(&p.out), want);
	cr_expect_str_eq(rig_digest(rig.memory), before);
	rig_expect(&rig, "copied", rig.pages / 2);
	rig_expect(&rig, "removed", 1);
}

/* A letter a page: 'D' for data, '.' for a hole; the caller frees it. (st_blocks also counts what
 * the file system keeps for itself, when it likes.) */
static char *page_map(const char *path, size_t pages)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *map = xmalloc(pages + 1);
	off_t data, hole = 0;

	cr_assert_geq(fd, 0);
	memset(map, '.', pages);
	map[pages] = '\0';
	while ((data = lseek(fd, hole, SEEK_DATA)) >= 0) {
		hole = lseek(fd, data, SEEK_HOLE);
		cr_assert(hole > data && (size_t)hole <= pages * PAGE);
		memset(map + (size_t)data / PAGE, 'D', (size_t)(hole - data) / PAGE);
	}
	cr_assert_eq(errno, ENXIO);
	return map;
}

Test(shim, with_file_the_mapping_is_private_and_the_file_stays_as_it_was)
{
	auto_rig struct rig rig;
	auto_probe struct probe p = PROBE_INIT;
	char want[1024];

	rig_prepare(&rig, 256);
	auto_free char *before = xstrdup(rig_digest(rig.memory));
	auto_free char *map = page_map(rig.memory, rig.pages);
	run_probe(&rig, "file", "", NULL, &p);
	cr_expect_eq(p.status, 0, "%s", buf_str(&p.err));
	cr_expect_str_eq(p.ready, "F");
	(void)snprintf(want, sizeof(want), in_file_mode, (uintmax_t)expected_checksum(rig.pages),
		       rig_byte(0));
	cr_expect_str_eq(buf_str(&p.out), want);
	cr_expect_str_eq(rig_digest(rig.memory), before);
	auto_free char *after = page_map(rig.memory, rig.pages);
	cr_expect_str_eq(after, map);
}

/* Status 97 and the reason, before a byte says that all is well. */
static void expect_refused(const char *mode, const char *how, const char *ready,
			   const char *message)
{
	auto_rig struct rig rig;
	auto_probe struct probe p = PROBE_INIT;

	rig_prepare(&rig, 16);
	run_probe(&rig, mode, how, NULL, &p);
	cr_expect_eq(p.status, 97);
	cr_expect_str_eq(p.ready, ready);
	cr_expect_str_eq(buf_str(&p.err), message);
}

Test(shim, without_a_server_no_vcpu_would_run)
{
	expect_refused("uffd", "", "", "libfcvm-uffd: vm-probe.sock: No such file or directory\n");
}

Test(shim, an_unknown_mode_ends_the_process)
{
	expect_refused("both", "", "",
		       "libfcvm-uffd: FCVM_UFFD_MODE wants uffd or file: Invalid argument\n");
}

Test(shim, a_shared_mapping_ends_the_process)
{
	expect_refused("file", "shared", "",
		       "libfcvm-uffd: snapshot memory would be mapped shared: Permission denied\n");
}

Test(shim, memory_larger_than_the_snapshots_ends_the_process)
{
	expect_refused("file", "bigger", "",
		       "libfcvm-uffd: guest memory is larger than the snapshot's, or not whole "
		       "pages: Invalid argument\n");
}

Test(shim, a_second_mapping_ends_the_process)
{
	expect_refused("file", "second", "F",
		       "libfcvm-uffd: snapshot memory is mapped a second time: Invalid argument\n");
}
