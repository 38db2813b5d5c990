#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "json.h"
#include "ledger.h"
#include "memserver.h"
#include "supervise_rig.h"
#include "xalloc.h"

/* --- snapshots and clones ------------------------------------------------------------------- */

static mode_t mode_of(const char *dir, const char *name)
{
	auto_free char *path = path_join(dir, name);
	struct stat st = {0};

	cr_assert_eq(stat(path, &st), 0, "no '%s'", path);
	cr_expect_eq(st.st_uid, 0);
	return st.st_mode & 07777;
}

ENGINE_TEST(supervise_clones, a_reaped_baseline_becomes_a_snapshot)
{
	auto_rig struct rig r;
	auto_json struct json_object *m = NULL;
	static const char *const files[] = {"vmstate", "memory", "data.img", "manifest.json"};
	static const char *const keys[] = {
		"engine",      "engine_version", "engine_sha256", "accel",  "cpu_model",
		"tsc_khz",     "cpus",           "memory_bytes",  "disks",  "nic",
		"page_size",   "kernel",         "initrd",        "rootfs", "agent_protocol",
		"host_kernel", "created_at",     "pause_ms",
	};

	rig_make(&r, "");
	rig_boot(&r);
	auto_free char *snap = rig_snapshot(&r, false, &m);

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		cr_expect_eq(mode_of(snap, files[i]), 0440, "%s", files[i]);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		cr_expect(json_object_object_get_ex(m, keys[i], NULL), "no %s", keys[i]);
	rig_await(r.dir, "ended", "reaped");
	cr_expect_str_eq(rig_status(r.dir, "state"), "stopped");
	cr_expect_str_eq(rig_status(r.dir, "error"), "null");
}

ENGINE_TEST(supervise_clones, a_clone_is_ready_with_an_identity_of_its_own)
{
	auto_rig struct rig r;
	auto_json struct json_object *status = NULL;
	auto_buf struct buf one = BUF_INIT(4096), two = BUF_INIT(4096);
	struct json_object *gates = NULL;
	struct err err = {0};

	rig_make(&r, "");
	rig_boot(&r);
	auto_free char *snap = rig_snapshot(&r, true, NULL), *dir = rig_instance(&r, "clone-1");

	cr_assert_geq(rig_restore(&r, snap, dir, "no", &status, &err), 0, "%s", err.msg);
	cr_expect_str_eq(json_opt_str(status, "state", ""), "ready");
	cr_expect_gt(json_opt_u64(status, "ready_ms", 0), 0);
	gates = json_opt_obj(status, "gates");
	for (const char *const *g = (const char *const[]){"restored", "agent", "clock", "entropy",
							  "identity", "health", NULL};
	     *g; g++)
		cr_expect(json_object_object_get_ex(gates, *g, NULL), "no gate %s", *g);
	cr_expect_eq(rig_exec(r.dir, "identity", NULL, &one), 0);
	cr_expect_eq(rig_exec(dir, "identity", NULL, &two), 0);
	cr_expect_eq(strncmp(buf_str(&one), "one ", 4), 0, "%s", buf_str(&one));
	cr_expect_eq(strncmp(buf_str(&two), "clone ", 6), 0, "%s", buf_str(&two));
	cr_expect(strstr(buf_str(&two), "{\"n\":2}"));
	cr_expect_str_neq(strchr(buf_str(&one), ' '), strchr(buf_str(&two), ' '));
	cr_expect_str_eq(rig_status(r.dir, "state"), "ready", "the source goes on");
}

ENGINE_TEST(supervise_clones, a_snapshot_of_another_host_is_refused_before_it_is_loaded)
{
	const struct {
		const char *key, *value, *says;
	} cases[] = {
		{"engine_sha256", "\"0\"", "it was taken with the engine binary '0', here it is "},
		{"accel", "\"xen\"", "it was taken with accelerator 'xen', here it is "},
		{"cpu_model", "\"Z80\"", "it was taken with CPU 'Z80'"},
		{"tsc_khz", "1000", "it was taken with a TSC of 1000 kHz"},
		{"agent_protocol", "99", "it was taken with agent protocol 99, here it is 2"},
		{"snapshot_format", "\"9.9.9\"",
		 rig_says("it was taken with snapshot format '9.9.9', here it is ''",
			  "it was taken with snapshot format '9.9.9', here it is '10.0.0'")},
	};
	auto_rig struct rig r;

	rig_make(&r, "");
	rig_boot(&r);
	auto_free char *snap = rig_snapshot(&r, false, NULL);
	auto_free char *path = path_join(snap, "manifest.json");

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_json struct json_object *m = NULL, *bad = NULL;
		auto_free char *name = xasprintf("clone-%zu", i), *dir = rig_instance(&r, name);
		struct err err = {0};

		cr_assert_geq(json_load(path, &m, NULL), 0);
		cr_assert_geq(json_load(path, &bad, NULL), 0);
		json_add(bad, cases[i].key, json_tokener_parse(cases[i].value));
		cr_assert_geq(json_save(path, bad, NULL), 0);
		cr_expect_lt(rig_restore(&r, snap, dir, "no", NULL, &err), 0);
		cr_expect_eq(err.class, ERR_HOST);
		cr_expect(strstr(err.msg, cases[i].says), "%s", err.msg);
		cr_assert_geq(json_save(path, m, NULL), 0);
	}
}

/* Of hardware that the guest ran on, no detail may differ. */
Test(supervise_clones_firecracker, a_snapshot_of_other_flags_or_another_kernel_is_refused)
{
	static const struct {
		const char *key, *says;
	} cases[] = {
		{"cpu_flags", "the CPU's flags are not those it was taken with: take the snapshot "
			      "again"},
		{"host_kernel", "it was taken with host kernel 'x', here it is '"},
	};
	auto_rig struct rig r;

	rig_use("firecracker");
	rig_make(&r, "");
	rig_boot(&r);
	auto_free char *snap = rig_snapshot(&r, false, NULL);
	auto_free char *path = path_join(snap, "manifest.json");

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_json struct json_object *m = NULL, *bad = NULL;
		auto_free char *name = xasprintf("clone-%zu", i), *dir = rig_instance(&r, name);
		struct err err = {0};

		cr_assert_geq(json_load(path, &m, NULL), 0);
		cr_assert_geq(json_load(path, &bad, NULL), 0);
		json_add_str(bad, cases[i].key, "x");
		cr_assert_geq(json_save(path, bad, NULL), 0);
		cr_expect_lt(rig_restore(&r, snap, dir, "no", NULL, &err), 0);
		cr_expect(strstr(err.msg, cases[i].says), "%s", err.msg);
		cr_assert_geq(json_save(path, m, NULL), 0);
	}
}

ENGINE_TEST(supervise_clones, loaded_is_not_running)
{
	auto_rig struct rig r;
	struct err err = {0};

	rig_make(&r, "");
	rig_boot(&r);
	auto_free char *snap = rig_snapshot(&r, false, NULL), *dir = rig_instance(&r, "clone-1");

	rig_script(&r, "fake.no_resume");
	cr_expect_lt(rig_restore(&r, snap, dir, "no", NULL, &err), 0);
	cr_expect(strstr(err.msg, "no vCPU runs"), "%s", err.msg);
	rig_await(dir, "state", "failed");
}

ENGINE_TEST(supervise_clones, a_snapshot_that_fails_leaves_the_vm_running)
{
	auto_rig struct rig r;
	auto_buf struct buf out = BUF_INIT(4096);
	struct snapshot_request req = {0};
	struct supervisor_call call;
	struct err err = {0};

	rig_make(&r, rig_says("fake.no_migrate", "fake.no_snapshot"));
	/* 1.16 forgets its vsock when it is paused and goes on without a snapshot. */
	rig_script(&r, rig_says("", "fake.version=1.15.1"));
	rig_boot(&r);
	auto_free char *dir = rig_instance(&r, "snap");

	req.dir = dir;
	call = rig_call(r.dir, 20000);
	cr_expect_lt(supervisor_snapshot(&call, &req, NULL, &err), 0);
	cr_expect(strstr(err.msg, rig_says("qemu could not save the VM's state",
					   "PUT /snapshot/create: firecracker refuses (400): ")),
		  "%s", err.msg);
	cr_expect_eq(rig_exec(r.dir, "echo on", NULL, &out), 0);
	cr_expect_str_eq(rig_status(r.dir, "state"), "ready");
}

ENGINE_TEST(supervise_clones, a_failed_clone_is_restored_again_with_fresh_disks_when_told_so)
{
	auto_rig struct rig r;
	auto_buf struct buf one = BUF_INIT(4096), two = BUF_INIT(4096);
	struct err err = {0};

	rig_make(&r, "");
	rig_boot(&r);
	auto_free char *snap = rig_snapshot(&r, false, NULL), *dir = rig_instance(&r, "clone-1");
	auto_free char *stray = path_join(dir, "vm/stray");

	cr_assert_geq(rig_restore(&r, snap, dir, "on-failure", NULL, &err), 0, "%s", err.msg);
	cr_expect_eq(rig_exec(dir, "identity", NULL, &one), 0);
	cr_assert_geq(file_replace(stray, "x", 1, 0600, NULL), 0);
	cr_assert_eq(kill(rig_vmm_of(dir), SIGKILL), 0);
	rig_await(dir, "restarts", "1");
	rig_await(dir, "state", "ready");
	cr_expect_eq(rig_exec(dir, "identity", NULL, &two), 0);
	cr_expect_str_neq(buf_str(&one), buf_str(&two), "a new epoch");
	cr_expect_not(file_exists(stray));
}

ENGINE_TEST(supervise_clones, what_waits_for_its_restart_can_be_stopped)
{
	auto_rig struct rig r;
	struct supervisor_call call;
	struct err err = {0};

	rig_make(&r, "");
	rig_boot(&r);
	auto_free char *snap = rig_snapshot(&r, false, NULL), *dir = rig_instance(&r, "clone-1");

	cr_assert_geq(rig_restore(&r, snap, dir, "always", NULL, &err), 0, "%s", err.msg);
	rig_script(&r, "fake.no_resume");
	cr_assert_eq(kill(rig_vmm_of(dir), SIGKILL), 0);
	rig_await(dir, "state", "failed");
	rig_await(dir, "restarts", "1");
	rig_await(dir, "state", "failed");
	call = rig_call(dir, 10000);
	cr_assert_geq(supervisor_stop(&call, 1000, &err), 0, "%s", err.msg);
	cr_expect_str_eq(rig_status(dir, "state"), "stopped");
	cr_expect_str_eq(rig_status(dir, "ended"), "requested");
}

/* Asks for a clone in a child: it ends with 0 when it hears of the stop. */
static pid_t restore_beside(const char *snap, const char *dir)
{
	const struct restore_request req = {.snapshot_dir = snap,
					    .backend = "file",
					    .identity = {.hostname = "clone"},
					    .restart = "no",
					    .gid = LEDGER_UID_FIRST};
	struct supervisor_call call = rig_call(dir, 20000);
	struct err err = {0};
	pid_t child = fork();

	cr_assert_geq(child, 0);
	if (child > 0)
		return child;
	int code = supervisor_restore(&call, &req, NULL, &err);

	_exit(code == -ECANCELED && strcmp(err.msg, "the VM was stopped") == 0 ? 0 : 1);
}

/* What its agent then says of its identity is of the stop's making. */
ENGINE_TEST(supervise_clones, one_that_waits_for_its_health_is_stopped_and_has_not_crashed)
{
	auto_rig struct rig r;
	struct supervisor_call call;
	struct err err = {0};
	int status = -1;

	rig_make(&r, "");
	rig_boot(&r);
	auto_free char *snap = rig_snapshot(&r, false, NULL), *dir = rig_instance(&r, "clone-1");

	rig_script(&r, "fake.unhealthy");
	rig_spawn(&r, dir);
	pid_t child = restore_beside(snap, dir);

	rig_await(dir, "health", "unhealthy");
	call = rig_call(dir, 20000);
	cr_assert_geq(supervisor_stop(&call, 10000, &err), 0, "%s", err.msg);
	cr_expect_str_eq(rig_status(dir, "state"), "stopped");
	cr_expect_str_eq(rig_status(dir, "ended"), "requested");
	cr_expect_str_eq(rig_status(dir, "error"), "null");
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_expect_eq(status, 0);
}

ENGINE_TEST(supervise_clones, updates_reach_the_running_vm)
{
	auto_rig struct rig r;
	auto_buf struct buf out = BUF_INIT(4096);
	const struct update_request req = {.metadata = "{\"n\":9}", .restart = "always"};
	const struct update_request bad = {.restart = "sometimes"};
	struct supervisor_call call;
	struct err err = {0};

	rig_make(&r, "");
	rig_boot(&r);
	call = rig_call(r.dir, 10000);
	cr_assert_geq(supervisor_update(&call, &req, &err), 0, "%s", err.msg);
	cr_expect_eq(rig_exec(r.dir, "identity", NULL, &out), 0);
	cr_expect(strstr(buf_str(&out), "{\"n\":9}"), "%s", buf_str(&out));
	cr_expect_lt(supervisor_update(&call, &bad, &err), 0);
	cr_expect_str_eq(err.msg, "restart: expected no, on-failure or always, got 'sometimes'");
}

/* --- the memory server ----------------------------------------------------------------------- */

static void skip_without_uffd(void)
{
	char why[256] = "";

	if (!memserver_uffd_permitted(why, sizeof(why)))
		cr_skip("%s", why);
}

ENGINE_TEST(supervise_clones, a_clone_runs_on_pages_its_server_sends)
{
	auto_rig struct rig r;
	auto_json struct json_object *status = NULL, *metrics = NULL;
	struct err err = {0};

	skip_without_uffd();
	rig_make(&r, "");
	rig_boot(&r);
	auto_free char *snap = rig_snapshot(&r, false, NULL), *dir = rig_instance(&r, "clone-1");
	struct proc_id server = rig_memserver(&r, snap);

	/* fake_qemu compares 64 pages with what they must be before it says anything. */
	cr_assert_geq(rig_restore(&r, snap, dir, "no", &status, &err), 0, "%s", err.msg);
	cr_expect_eq(json_opt_u64(status, "serve_pid", 0), (uint64_t)server.pid);
	cr_expect_str_eq(json_opt_str(status, "backend", ""), "uffd");
	cr_assert_geq(memserver_metrics(r.memserver, deadline_in(5000), &metrics, &err), 0, "%s",
		      err.msg);
	struct json_object *clients = NULL;

	cr_assert_geq(json_get_arr(metrics, "clients", &clients, &err), 0, "%s", err.msg);
	cr_assert_eq(json_object_array_length(clients), 1);
	cr_expect_geq(json_opt_u64(json_object_array_get_idx(clients, 0), "faults", 0), 64);
}

/* A server that is gone and one that is silent are the same to a clone: it must not run on. */
static void lose_server(int sig, const char *says)
{
	auto_rig struct rig r;
	struct err err = {0};

	skip_without_uffd();
	rig_make(&r, "");
	rig_boot(&r);
	auto_free char *snap = rig_snapshot(&r, false, NULL), *dir = rig_instance(&r, "clone-1");
	struct proc_id server = rig_memserver(&r, snap);

	cr_assert_geq(rig_restore(&r, snap, dir, "no", NULL, &err), 0, "%s", err.msg);
	pid_t pid = rig_vmm_of(dir);

	cr_assert_eq(kill(server.pid, sig), 0);
	rig_await(dir, "state", "lost");
	cr_expect_str_eq(rig_status(dir, "ended"), "memserver");
	auto_free char *why = xstrdup(rig_status(dir, "error"));

	cr_expect(strstr(why, says), "%s", why);
	rig_await_gone(pid);
	(void)kill(server.pid, SIGCONT);
	(void)kill(server.pid, SIGKILL);
}

ENGINE_TEST(supervise_clones, a_killed_memory_server_ends_its_clone_as_lost)
{
	lose_server(SIGKILL, "memory server: ");
}

ENGINE_TEST(supervise_clones, a_silent_memory_server_ends_its_clone_as_lost)
{
	lose_server(SIGSTOP, "memory server: no answer for 10 seconds");
}
