/* bench_firecracker.c - a clone on Firecracker from its spawn until its vCPUs run, beside a bare
 * script that makes the same calls with curl, in turns. The guest is the tiny one: nothing here is
 * the guest's time, so that a KVM which emulates ring 0 will do. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "cleanup.h"
#include "engine.h"
#include "file.h"
#include "io.h"
#include "ledger.h"
#include "parse.h"
#include "run.h"
#include "world.h"
#include "xalloc.h"

#define ROUNDS 15
#define LIMIT_MS 60000
#define VM_UID (LEDGER_UID_FIRST + 6000)

struct bench {
	char *dir, *kernel, *state, *memory;
	struct host host;
	const struct engine_ops *engine;
	struct engine_caps caps;
	struct vm_config config;
};

static char *make_dir(const struct bench *b, const char *name)
{
	char *dir = path_join(b->dir, name);

	if (mkdir(dir, 0700) < 0 || chown(dir, VM_UID, VM_UID) < 0)
		world_die("cannot make '%s': %s", dir, strerror(errno));
	return dir;
}

static struct vm new_vm(const struct bench *b, char *dir)
{
	return (struct vm){.host = &b->host,
			   .vm_dir = dir,
			   .uid = VM_UID,
			   .gid = VM_UID,
			   .tap_fd = -1,
			   .console_fd = -1,
			   .userfaultfd = -1,
			   .pidfd = -1,
			   .channel_fd = -1};
}

static void save(struct bench *b)
{
	auto_free char *dir = make_dir(b, "baseline");
	struct vm vm = new_vm(b, dir);
	const struct vm_snapshot to = {.state_path = b->state};
	struct err err = {0};
	int r = b->engine->start(&vm, &b->config, deadline_in(LIMIT_MS), &err);

	if (r == 0)
		r = b->engine->snapshot(&vm, &to, deadline_in(LIMIT_MS), &err);
	if (r == 0)
		r = b->engine->stop(&vm, 0, &err);
	if (r < 0)
		world_die("%s", err.msg);
	auto_free char *memory = path_join(dir, VM_MEMORY);

	if (rename(memory, b->memory) < 0 || chmod(b->memory, 0444) < 0 ||
	    chmod(b->state, 0444) < 0)
		world_die("cannot keep the snapshot: %s", strerror(errno));
}

static double clone_ours(const struct bench *b, int round)
{
	auto_free char *name = xasprintf("ours-%d", round), *dir = make_dir(b, name);
	struct vm vm = new_vm(b, dir);
	const struct vm_restore from = {.config = &b->config,
					.state_path = b->state,
					.memory_path = b->memory,
					.backend = MEMORY_FILE};
	struct err err = {0};
	double start = bench_now_ms();

	if (b->engine->restore(&vm, &from, deadline_in(LIMIT_MS), &err) < 0)
		world_die("%s", err.msg);
	double ms = bench_now_ms() - start;

	(void)b->engine->stop(&vm, 0, NULL);
	return ms;
}

static void kill_bare(const char *dir)
{
	auto_free char *path = path_join(dir, "pid");
	auto_buf struct buf text = BUF_INIT(64);
	uint64_t pid = 0;

	if (file_read(path, 63, &text, NULL) < 0)
		return;
	text.data[strcspn(text.data, "\n")] = '\0';
	if (parse_u64(buf_str(&text), 2, INT32_MAX, &pid, NULL) == 0)
		(void)kill((pid_t)pid, SIGKILL);
}

static double clone_bare(const struct bench *b, int round)
{
	auto_free char *name = xasprintf("bare-%d", round), *dir = make_dir(b, name);
	const char *const argv[] = {
		"tests/bench/fc-bare", b->caps.binary, dir, b->state, b->memory, NULL};
	auto_run struct run_result r = RUN_INIT;
	double start = bench_now_ms();
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		(void)execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	(void)waitpid(pid, &status, 0);
	double ms = bench_now_ms() - start;

	kill_bare(dir);
	if (status != 0)
		world_die("the bare script failed with status %d; is curl installed?", status);
	return ms;
}

static void prepare(struct bench *b)
{
	static char empty[] = "", fstype[] = "squashfs";
	auto_buf struct buf guest = BUF_INIT(1u << 20);
	struct err err = {0};

	b->kernel = path_join(b->dir, "guest");
	b->state = path_join(b->dir, "vmstate");
	b->memory = path_join(b->dir, "memory");
	b->config = (struct vm_config){.kernel = b->kernel,
				       .initrd = empty,
				       .cmdline_extra = empty,
				       .root_fstype = fstype,
				       .cpus = 1,
				       .memory_bytes = 16u << 20,
				       .accel = VM_ACCEL_KVM};
	if (chmod(b->dir, 0711) < 0 ||
	    file_read(TEST_BUILD_DIR "/tests/tiny-guest", guest.max - 1, &guest, &err) < 0 ||
	    file_replace(b->kernel, guest.data, guest.len, 0644, &err) < 0)
		world_die("%s", err.msg);
}

static void measure(struct bench *b)
{
	double ours[ROUNDS], bare[ROUNDS];

	prepare(b);
	save(b);
	for (int i = 0; i < ROUNDS; i++) {
		ours[i] = clone_ours(b, i);
		bare[i] = clone_bare(b, i);
	}
	bench_print(&(struct bench_row){"clone.firecracker.p50", bench_quantile(ours, ROUNDS, 0.5),
					"ms", "bare_script", bench_quantile(bare, ROUNDS, 0.5),
					ROUNDS});
	bench_print(&(struct bench_row){"clone.firecracker.min", bench_quantile(ours, ROUNDS, 0),
					"ms", "bare_script", bench_quantile(bare, ROUNDS, 0),
					ROUNDS});
}

int main(void)
{
	auto_tmpdir char *dir = tmpdir_new("bench-fc");
	struct bench b = {.dir = dir, .engine = engine_by_name("firecracker")};
	struct err err = {0};

	if (host_init(&b.host, dir, &err) < 0 || geteuid() != 0 ||
	    b.engine->probe(&b.host, &b.caps, &err) < 0) {
		(void)fprintf(stderr, "clone.firecracker: skipped: %s\n",
			      err.msg[0] ? err.msg : "needs root");
		host_free(&b.host);
		return 0;
	}
	(void)fprintf(stderr, "firecracker %s: %s\n", b.caps.version, b.caps.why);
	measure(&b);
	free(b.kernel);
	free(b.state);
	free(b.memory);
	host_free(&b.host);
	return 0;
}
