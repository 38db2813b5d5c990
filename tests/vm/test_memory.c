/* test_memory.c - where a clone's pages come from, where its writes go, what a dead server means.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cleanup.h"
#include "digest.h"
#include "file.h"
#include "io.h"
#include "vm_env.h"
#include "xalloc.h"

TestSuite(memory, .fini = vm_env_cleanup);

#define PAGE 4096u
#define PAGES_WANTED 1000u

struct region {
	uint64_t base, size;
};

/* The guest's RAM in its VMM: the only mapping of exactly the snapshot's size. */
static struct region find_ram(pid_t pid, uint64_t size)
{
	auto_free char *path = xasprintf("/proc/%d/maps", pid);
	auto_free char *maps = vm_read(path);
	char *save = NULL;

	for (char *line = strtok_r(maps, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		uint64_t from, to;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &from, &to) == 2 && to - from == size)
			return (struct region){from, size};
	}
	cr_assert_fail("pid %d has no mapping of %lu bytes", pid, (unsigned long)size);
	return (struct region){0};
}

/* Whether the page has been filled in already (pagemap bit 63: present, 62: swapped). */
static bool page_present(int pagemap, uint64_t addr)
{
	uint64_t entry = 0;

	cr_assert_eq(pread(pagemap, &entry, sizeof(entry), (off_t)(addr / PAGE * sizeof(entry))),
		     (ssize_t)sizeof(entry));
	return entry >> 62 != 0;
}

/* Reads random pages that the guest has not touched yet, through the VMM's own mapping, so each is
 * fetched now; they must equal the snapshot's file. The VMM is stopped: nobody else touches them.
 */
static void compare_untouched_pages(pid_t pid, const char *memory, char ret_digest[DIGEST_HEX_SIZE])
{
	auto_close int file = open(memory, O_RDONLY | O_CLOEXEC);
	auto_free char *pagemap_path = xasprintf("/proc/%d/pagemap", pid);
	auto_close int pagemap = open(pagemap_path, O_RDONLY | O_CLOEXEC);
	auto_digest struct digest *digest = digest_new();
	struct stat st;
	unsigned int seed = 20261123, done = 0;

	cr_assert(file >= 0 && pagemap >= 0 && fstat(file, &st) == 0);
	struct region ram = find_ram(pid, (uint64_t)st.st_size);
	uint64_t pages = ram.size / PAGE;

	for (unsigned int tries = 0; done < PAGES_WANTED; tries++) {
		char have[PAGE], want[PAGE];
		uint64_t page = ((uint64_t)(unsigned int)rand_r(&seed) << 16 ^
				 (uint64_t)(unsigned int)rand_r(&seed)) %
				pages;

		cr_assert_lt(tries, 1000000u, "only %u untouched pages", done);
		if (page_present(pagemap, ram.base + page * PAGE))
			continue;
		/* process_vm_readv takes plain addresses of the other process. */
		struct iovec local = {have, PAGE};
		struct iovec remote = {(void *)(uintptr_t)(ram.base + page * PAGE), PAGE};
		cr_assert_eq(process_vm_readv(pid, &local, 1, &remote, 1, 0), (ssize_t)PAGE,
			     "page %lu", (unsigned long)page);
		cr_assert_eq(pread(file, want, PAGE, (off_t)(page * PAGE)), (ssize_t)PAGE);
		cr_assert_arr_eq(have, want, PAGE, "page %lu differs", (unsigned long)page);
		digest_add(digest, want, PAGE);
		done++;
	}
	digest_hex(digest, ret_digest);
}

/* The server's metrics.json: <set>/memservers/NAME/RUN/metrics.json; one server, one run. */
static char *metrics_path(struct vm_env *env)
{
	auto_free char *servers = xasprintf("%s/sets/%s/memservers", env->dir, env->set);
	auto_free char *server = vm_only_dir(servers);
	auto_free char *run = vm_only_dir(server);

	return path_join(run, "metrics.json");
}

/* Faults served so far; metrics.json is at most a second old, so it is read until it says enough.
 */
static void await_faults(struct vm_env *env, uint64_t want)
{
	auto_free char *path = metrics_path(env);
	uint64_t deadline = deadline_in(10000);
	uint64_t faults = 0;

	while (faults < want) {
		auto_json struct json_object *metrics = NULL;
		struct json_object *totals = NULL;
		struct err err = {0};

		cr_assert_gt(deadline_left(deadline), 0, "%lu faults of %lu in %s",
			     (unsigned long)faults, (unsigned long)want, path);
		cr_assert_eq(json_load(path, &metrics, &err), 0, "%s", err.msg);
		cr_assert_eq(json_get_obj(metrics, "totals", &totals, &err), 0, "%s", err.msg);
		cr_assert_eq(json_get_u64(totals, "faults", &faults, &err), 0, "%s", err.msg);
		(void)poll(NULL, 0, 20);
	}
}

static void check_pages(const char *backend)
{
	struct vm_env env;
	auto_free char *set = xasprintf("snapshots.web-warm.memory.backend=%s", backend);
	char digest[DIGEST_HEX_SIZE];

	vm_env_init(&env, "pages", NULL);
	vm_apply(&env, "fleets.web.count=1", set);
	auto_json struct json_object *ps = vm_ps(&env);
	pid_t pid = vm_pid(ps, vm_name(&env, "web-0"));
	auto_free char *snapshot = vm_snapshot_dir(&env, "web-warm");
	auto_free char *memory = path_join(snapshot, "memory");

	cr_assert_eq(kill(pid, SIGSTOP), 0);
	compare_untouched_pages(pid, memory, digest);
	cr_assert_eq(kill(pid, SIGCONT), 0);
	if (strcmp(backend, "uffd") == 0)
		await_faults(&env, PAGES_WANTED);
	vm_env_finish(&env);
}

Test(memory, untouched_pages_come_from_the_server_and_equal_the_file)
{
	check_pages("uffd");
}

Test(memory, the_file_backend_gives_the_same_pages)
{
	check_pages("file");
}

Test(memory, a_clones_writes_reach_neither_the_snapshot_nor_another_clone)
{
	static const char *const files[] = {"memory", "data.img", "vmstate", "manifest.json"};
	struct vm_env env;
	char before[ARRAY_SIZE(files)][DIGEST_HEX_SIZE], after[DIGEST_HEX_SIZE];
	struct err err = {0};

	vm_env_init(&env, "writes", NULL);
	vm_apply(&env, "fleets.web.count=2", NULL);
	auto_free char *snapshot = vm_snapshot_dir(&env, "web-warm");
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		auto_free char *path = path_join(snapshot, files[i]);
		cr_assert_eq(digest_file(path, before[i], &err), 0, "%s", err.msg);
	}
	static const char scribble[] =
		"dd if=/dev/urandom of=/root/junk bs=1M count=24 2>/dev/null && sync && "
		"echo mine > /run/mark && "
		"dd if=/dev/urandom of=/dev/shm/junk bs=1M count=24 2>/dev/null && sync";
	auto_run struct run_result w = RUN_INIT;
	VM_RUN(&env, &w, 0, "exec", "--vm", vm_name(&env, "web-0"), "--", "sh", "-c", scribble);
	auto_run struct run_result other = RUN_INIT;
	VM_RUN(&env, &other, 1, "exec", "--vm", vm_name(&env, "web-1"), "--", "sh", "-c",
	       "test -e /root/junk -o -e /run/mark -o -e /dev/shm/junk");
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		auto_free char *path = path_join(snapshot, files[i]);
		cr_assert_eq(digest_file(path, after, &err), 0, "%s", err.msg);
		cr_assert_str_eq(before[i], after, "%s changed", files[i]);
	}
	vm_env_finish(&env);
}

/* A server that dies or is silent takes its clones with it, and apply brings all of them back. */
static void check_server_death(int sig)
{
	struct vm_env env;

	vm_env_init(&env, "server", NULL);
	vm_apply(&env, "fleets.web.count=2", "snapshots.web-warm.memory.backend=uffd");
	auto_json struct json_object *ps = vm_ps(&env);
	pid_t clone = vm_pid(ps, vm_name(&env, "web-0"));
	uint64_t server = json_opt_u64(vm_row(ps, vm_name(&env, "web-0")), "serve_pid", 0);

	cr_assert_gt(server, 0);
	cr_assert_eq(kill((pid_t)server, sig), 0);
	vm_await_state(&env, vm_name(&env, "web-0"), "lost");
	vm_await_state(&env, vm_name(&env, "web-1"), "lost");
	auto_free char *proc = xasprintf("/proc/%d/exe", clone);
	cr_assert(!file_exists(proc), "pid %d still runs", clone);
	vm_apply(&env, "fleets.web.count=2", "snapshots.web-warm.memory.backend=uffd");
	auto_json struct json_object *again = vm_ps(&env);
	cr_assert_eq(vm_count(again, "clone", "ready"), 2);
	vm_env_finish(&env);
}

Test(memory, a_killed_server_leaves_no_clone_running_and_apply_repairs)
{
	check_server_death(SIGKILL);
}

Test(memory, a_stopped_server_counts_as_dead_and_apply_repairs)
{
	check_server_death(SIGSTOP);
}
