#include "tiny_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../guest/tiny.h"
#include "cleanup.h"
#include "client.h"
#include "engine.h"
#include "fc_calls.h"
#include "fc_find.h"
#include "fc_jailer.h"
#include "file.h"
#include "host.h"
#include "hugepool.h"
#include "io.h"
#include "json.h"
#include "ledger.h"
#include "memserver.h"
#include "netns.h"
#include "run.h"
#include "vmgroup.h"
#include "vmmanifest.h"
#include "xalloc.h"

#define VM_UID (LEDGER_UID_FIRST + 5000)
#define SNAP_GID (LEDGER_UID_FIRST + 5001)

static char *make_dir(const struct tiny *r, const char *name, mode_t mode)
{
	char *dir = path_join(r->data, name);

	cr_assert_geq(file_mkdir_p(dir, mode, NULL), 0);
	cr_assert_eq(chmod(dir, mode), 0);
	return dir;
}

static void copy_guest(const struct tiny *r, const char *to)
{
	auto_buf struct buf bytes = BUF_INIT(1u << 20);

	(void)r;
	cr_assert_geq(file_read(TEST_BUILD_DIR "/tests/tiny-guest", bytes.max - 1, &bytes, NULL),
		      0);
	cr_assert_geq(file_replace(to, bytes.data, bytes.len, 0644, NULL), 0);
}

/* Skips, with the reason, where there is no Firecracker to run. */
static void find_engine(struct tiny *r)
{
	struct err err = {0};

	if (geteuid() != 0)
		cr_skip("needs root");
	cr_assert_geq(host_init(&r->host, r->data, &err), 0, "%s", err.msg);
	r->engine = engine_by_name("firecracker");
	if (fc_find(&r->host, &r->binary, &err) < 0 ||
	    r->engine->probe(&r->host, &r->caps, &err) < 0) {
		host_free(&r->host);
		tmpdir_remove(&r->data);
		cr_skip("%s", err.msg);
	}
	printf("firecracker %s, snapshot format %s, %s\n", r->caps.version, r->caps.snapshot_format,
	       r->caps.why);
}

void tiny_up(struct tiny *r)
{
	static char empty[] = "", fstype[] = "squashfs";

	*r = (struct tiny){.data = tmpdir_new("tiny")};
	cr_assert_eq(chmod(r->data, 0711), 0);
	find_engine(r);
	cr_assert_geq(host_make_dirs(&r->host, NULL), 0);
	free(r->host.exe);
	r->host.exe = realpath(run_fcvm_path(), NULL);
	r->config = (struct vm_config){.kernel = path_join(r->data, "guest"),
				       .initrd = empty,
				       .cmdline_extra = empty,
				       .root_fstype = fstype,
				       .cpus = 1,
				       .memory_bytes = MEMORY,
				       .has_net = netns_tap_permitted(NULL, 0),
				       .accel = VM_ACCEL_KVM};
	copy_guest(r, r->config.kernel);
}

void tiny_down(struct tiny *r)
{
	for (size_t i = 0; i < CLONES; i++) {
		struct supervisor_call call = {.dir = r->dirs[i],
					       .deadline_ms = deadline_in(WAIT_MS)};

		if (r->dirs[i])
			cr_expect_geq(supervisor_stop(&call, 0, NULL), 0);
		if (r->restoring[i] > 0)
			(void)waitpid(r->restoring[i], NULL, 0);
		free(TAKE_PTR(r->dirs[i]));
		r->restoring[i] = 0;
	}
	if (r->memserver)
		(void)memserver_stop(r->memserver, true, deadline_in(WAIT_MS), NULL);
	free(r->memserver);
	free(r->snapshot);
	free(r->binary);
	free(r->config.kernel);
	host_free(&r->host);
	tmpdir_remove(&r->data);
}

/* --- the baseline --------------------------------------------------------------------------- */

static void await_text(int fd, struct buf *text, const char *want)
{
	uint64_t deadline_ms = deadline_in(WAIT_MS);
	char chunk[4096];

	while (!strstr(buf_str(text), want)) {
		cr_assert_eq(io_wait(fd, POLLIN, deadline_ms), 1, "no '%s' in:\n%s", want,
			     buf_str(text));
		ssize_t n = read(fd, chunk, sizeof(chunk));

		cr_assert_gt(n, 0, "the console ended: %s", buf_str(text));
		buf_add(text, chunk, (size_t)n);
	}
}

static void take_file(const struct tiny *r, const char *vm_dir, const char *name)
{
	auto_free char *from = path_join(vm_dir, name), *to = path_join(r->snapshot, name);

	cr_assert_eq(rename(from, to), 0, "%s: %s", name, strerror(errno));
	cr_assert_eq(chown(to, 0, SNAP_GID), 0);
	cr_assert_eq(chmod(to, 0440), 0);
}

static void write_manifest(const struct tiny *r)
{
	auto_free char *path = path_join(r->snapshot, VMMANIFEST_FILE);
	auto_json struct json_object *o = NULL;
	struct vmmanifest_digests digests = {.initrd = ""};
	struct hostfacts host = {0};
	struct err err = {0};

	cr_assert_geq(hostfacts_read(&host, &err), 0, "%s", err.msg);
	const struct vmmanifest_facts facts = {.config = &r->config,
					       .caps = &r->caps,
					       .engine = r->engine->name,
					       .host = &host,
					       .dir = r->snapshot};

	cr_assert_geq(vmmanifest_make(&facts, &digests, &o, &err), 0, "%s", err.msg);
	cr_assert_geq(json_save(path, o, &err), 0, "%s", err.msg);
}

static void skip_without_jailer(const struct tiny *r)
{
	auto_free char *jailer = NULL;
	struct err err = {0};

	if (fc_jailer_find(&r->host, r->binary, &jailer, &err) < 0)
		cr_skip("%s", err.msg);
}

/* Booted in a namespace and a jail of its own, until it counts; saved and ended. */
void tiny_make_snapshot(struct tiny *r, bool jailed, bool clones_jailed)
{
	auto_free char *vm_dir = make_dir(r, "vm", 0700), *state = NULL;
	auto_buf struct buf console = BUF_INIT(1u << 20);
	int fds[2];
	struct err err = {0};
	struct vm vm = {.host = &r->host,
			.vm_dir = vm_dir,
			.uid = VM_UID,
			.gid = VM_UID,
			.has_tap = r->config.has_net,
			.tap_fd = -1,
			.metadata = "{\"fcvm\":{\"hostname\":\"tiny\"}}",
			.userfaultfd = -1,
			.pidfd = -1,
			.channel_fd = -1};

	r->snapshot = make_dir(r, "snapshot", 0750);
	state = path_join(r->snapshot, "vmstate");
	cr_assert_eq(chown(vm_dir, VM_UID, VM_UID), 0);
	cr_assert_eq(chown(r->snapshot, 0, SNAP_GID), 0);
	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	vm.console_fd = fds[1];
	const struct vm_snapshot to = {.state_path = state};

	if (jailed || clones_jailed)
		skip_without_jailer(r);
	r->config.jailer = jailed;
	if (r->config.has_net) {
		cr_assert_eq(netns_enter(&vm.tap_fd, &err), 0, "%s", err.msg);
		cleanup_close_p(&vm.tap_fd);
	}
	cr_assert_eq(r->engine->start(&vm, &r->config, deadline_in(WAIT_MS), &err), 0, "%s",
		     err.msg);
	await_text(fds[0], &console, TINY_TICK "3\n");
	cr_assert_eq(r->engine->snapshot(&vm, &to, deadline_in(WAIT_MS), &err), 0, "%s", err.msg);
	cr_assert_eq(r->engine->stop(&vm, 0, &err), 0, "%s", err.msg);
	cr_expect(strstr(buf_str(&console), TINY_FILLED), "%s", buf_str(&console));
	take_file(r, vm_dir, VM_MEMORY);
	cr_assert_eq(chown(state, 0, SNAP_GID), 0);
	cr_assert_eq(chmod(state, 0440), 0);
	r->config.jailer = clones_jailed;
	write_manifest(r);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

/* --- clones --------------------------------------------------------------------------------- */

void tiny_serve(struct tiny *r)
{
	auto_free char *dir = make_dir(r, "memserver", 0711);
	auto_free char *memory = path_join(r->snapshot, VM_MEMORY);
	const struct memserver_spec spec = {.dir = dir,
					    .memory = memory,
					    .tag = "test/memserver/tiny",
					    .uid = VM_UID + 2,
					    .gid = SNAP_GID,
					    .deadline_ms = deadline_in(memserver_start_ms(0))};
	struct err err = {0};

	cr_assert_geq(memserver_spawn(&r->host, &spec, &r->server, &err), 0, "%s", err.msg);
	r->memserver = path_join(dir, "server.sock");
}

/* The guest has no agent: the call that restores waits for one for as long as the clone lives. */
void tiny_clone_vm(struct tiny *r, size_t i, const char *backend)
{
	auto_free char *name = xasprintf("%s-%zu", backend, i);
	struct restore_request req = {.snapshot_dir = r->snapshot,
				      .backend = backend,
				      .memserver =
					      strcmp(backend, "uffd") == 0 ? r->memserver : NULL,
				      .identity = {.hostname = name},
				      .restart = "no",
				      .gid = SNAP_GID};
	const struct supervisor_spec spec = {.tag = "test/vm/tiny",
					     .engine = r->engine->name,
					     .vm_id = "tiny",
					     .dir = r->dirs[i] = make_dir(r, name, 0711)};
	struct proc_id id;
	struct err err = {0};

	cr_assert_geq(supervisor_spawn(&r->host, &spec, &id, &err), 0, "%s", err.msg);
	r->restoring[i] = fork();
	if (r->restoring[i] == 0) {
		struct supervisor_call call = {.dir = spec.dir,
					       .deadline_ms = deadline_in(WAIT_MS)};

		(void)supervisor_restore(&call, &req, NULL, NULL);
		_exit(0);
	}
}

char *tiny_console_of(const struct tiny *r, size_t i)
{
	auto_free char *path = path_join(r->dirs[i], "console.log");
	auto_buf struct buf text = BUF_INIT(64u << 20);

	(void)file_read(path, text.max - 1, &text, NULL);
	return buf_detach(&text);
}

/* Counted on from where its source stopped: at least `n` walks, every page as it must be. */
void tiny_await_ticks(const struct tiny *r, size_t i, int n)
{
	uint64_t deadline_ms = deadline_in(WAIT_MS);
	int seen = 0;

	while (seen < n && now_ms() < deadline_ms) {
		auto_free char *text = tiny_console_of(r, i);

		seen = 0;
		for (const char *at = text; (at = strstr(at, TINY_TICK)); at++)
			seen++;
		(void)usleep(2000);
	}
	auto_free char *text = tiny_console_of(r, i);

	cr_assert_geq(seen, n, "clone %zu said:\n%s", i, text);
	cr_expect_not(strstr(text, TINY_BAD), "clone %zu said:\n%s", i, text);
	cr_expect_not(strstr(text, TINY_FILLED), "clone %zu booted", i);
}

char *tiny_status_of(const struct tiny *r, size_t i, const char *key)
{
	auto_free char *path = path_join(r->dirs[i], SUPERVISE_STATUS);
	auto_json struct json_object *o = NULL;
	struct json_object *v = NULL;

	if (json_load(path, &o, NULL) < 0 || !json_object_object_get_ex(o, key, &v) || !v)
		return xstrdup("null");
	return xstrdup(json_object_get_string(v));
}

void tiny_await_state(const struct tiny *r, size_t i, const char *want)
{
	uint64_t deadline_ms = deadline_in(WAIT_MS);
	auto_free char *state = tiny_status_of(r, i, "state");

	while (strcmp(state, want) != 0 && now_ms() < deadline_ms) {
		(void)usleep(2000);
		free(state);
		state = tiny_status_of(r, i, "state");
	}
	cr_expect_str_eq(state, want, "clone %zu", i);
}

/* Where there is cgroup v2: alone in a cgroup of its own, which a limit on what it does not use
 * does not disturb. */
static void check_group(const char *vm_dir, const char *pid)
{
	auto_free char *mount = vmgroup_mount();
	auto_free char *group = mount ? vmgroup_path(mount, vm_dir) : NULL;
	auto_free char *procs = group ? path_join(group, "cgroup.procs") : NULL;
	auto_free char *want = xasprintf("%s\n", pid);
	auto_buf struct buf text = BUF_INIT(8192);

	if (!group)
		return;
	cr_assert_geq(file_read(procs, 8191, &text, NULL), 0, "%s", procs);
	cr_expect_str_eq(buf_str(&text), want);
}

/* The process a supervisor calls its VMM: a root directory and a pid namespace of its own, no
 * identity and no way to get one. */
void tiny_check_jails(const struct tiny *r)
{
	for (size_t i = 0; i < CLONES; i++) {
		auto_free char *pid = tiny_status_of(r, i, "pid"),
			       *vm_dir = path_join(r->dirs[i], "vm");
		auto_free char *root = xasprintf("/proc/%s/root", pid);
		auto_free char *ns = xasprintf("/proc/%s/ns/pid", pid);
		auto_free char *exe = xasprintf("/proc/%s/status", pid);
		auto_buf struct buf status = BUF_INIT(65536);
		struct stat a, b;

		check_group(vm_dir, pid);
		cr_assert_eq(stat(root, &a), 0, "%s", root);
		cr_assert_eq(stat(vm_dir, &b), 0);
		cr_expect(a.st_ino == b.st_ino && a.st_dev == b.st_dev, "clone %zu", i);
		cr_assert_eq(stat(ns, &a), 0);
		cr_assert_eq(stat("/proc/self/ns/pid", &b), 0);
		cr_expect_neq(a.st_ino, b.st_ino);
		cr_assert_geq(file_read(exe, status.max - 1, &status, NULL), 0);
		cr_expect(strstr(buf_str(&status), "Name:\tfirecracker\n"), "%s", status.data);
		cr_expect(strstr(buf_str(&status), "NoNewPrivs:\t1\n"));
		cr_expect(strstr(buf_str(&status), "CapPrm:\t0000000000000000\n"));
		cr_expect(strstr(buf_str(&status), "Groups:\t \n"));
	}
}

void tiny_count_faults(const struct tiny *r, uint64_t least, uint64_t most, uint64_t page_size)
{
	auto_json struct json_object *metrics = NULL;
	struct json_object *clients = NULL;
	struct err err = {0};

	cr_assert_geq(memserver_metrics(r->memserver, deadline_in(WAIT_MS), &metrics, &err), 0,
		      "%s", err.msg);
	cr_assert_geq(json_get_arr(metrics, "clients", &clients, &err), 0);
	cr_expect_eq(json_object_array_length(clients), CLONES);
	for (size_t i = 0; i < json_object_array_length(clients); i++) {
		struct json_object *c = json_object_array_get_idx(clients, i);

		cr_expect_geq(json_opt_u64(c, "faults", 0), least);
		cr_expect_leq(json_opt_u64(c, "copied", 0) + json_opt_u64(c, "zero", 0), most);
		cr_expect_eq(json_opt_u64(c, "page_size", 0), page_size);
	}
	printf("%s\n", json_object_to_json_string(metrics));
}

void tiny_skip_without_uffd(void)
{
	char why[256] = "";

	if (!memserver_uffd_permitted(why, sizeof(why)))
		cr_skip("%s", why);
}
