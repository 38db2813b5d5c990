#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "frame.h"
#include "io.h"
#include "json.h"
#include "ledger.h"
#include "parse.h"
#include "run.h"
#include "supervise_rig.h"
#include "xalloc.h"

static pid_t vmm_of(const char *dir)
{
	uint64_t pid = 0;

	cr_assert_geq(parse_u64(rig_status(dir, "pid"), 1, INT32_MAX, &pid, NULL), 0);
	return (pid_t)pid;
}

static void await_gone(pid_t pid)
{
	uint64_t deadline_ms = deadline_in(10000);

	while (kill(pid, 0) == 0 && now_ms() < deadline_ms)
		(void)usleep(2000);
	cr_assert_neq(kill(pid, 0), 0, "process %d is still there", (int)pid);
}

Test(supervise, a_vm_boots_becomes_ready_and_stops)
{
	auto_rig struct rig r;
	struct supervisor_call call;
	struct err err = {0};

	rig_make(&r, "");
	rig_boot(&r);
	cr_expect_str_eq(rig_status(r.dir, "state"), "ready");
	cr_expect_str_eq(rig_status(r.dir, "health"), "healthy");
	cr_expect_str_eq(rig_status(r.dir, "vm_id"), "the-vm-id");
	cr_expect_str_eq(rig_status(r.dir, "accel"), "tcg");
	cr_expect_str_eq(rig_status(r.dir, "container"), "main");
	cr_expect_str_eq(rig_status(r.dir, "boot_retries"), "[ ]");
	cr_expect_str_eq(rig_status(r.dir, "ended"), "null");
	pid_t pid = vmm_of(r.dir);

	cr_expect_eq(kill(pid, 0), 0);
	call = rig_call(r.dir, 10000);
	cr_assert_geq(supervisor_stop(&call, 2000, &err), 0, "%s", err.msg);
	cr_expect_str_eq(rig_status(r.dir, "state"), "stopped");
	cr_expect_str_eq(rig_status(r.dir, "ended"), "requested");
	cr_expect_str_eq(rig_status(r.dir, "pid"), "null");
	cr_expect_str_eq(rig_status(r.dir, "exit_code"), "143");
	await_gone(pid);
	cr_expect_eq(supervisor_stop(&call, 0, &err), 0, "stopping twice is fine");
}

Test(supervise, the_vmm_is_nobody_and_its_directory_its_own)
{
	auto_rig struct rig r;
	struct stat st = {0};

	rig_make(&r, "");
	rig_boot(&r);
	auto_free char *proc = xasprintf("/proc/%d", (int)vmm_of(r.dir));
	auto_free char *vm = path_join(r.dir, "vm"), *ctl = path_join(r.dir, "ctl.sock");

	cr_assert_eq(stat(proc, &st), 0);
	cr_expect_geq(st.st_uid, LEDGER_UID_FIRST);
	cr_assert_eq(stat(vm, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0700);
	cr_expect_geq(st.st_uid, LEDGER_UID_FIRST);
	cr_assert_eq(stat(ctl, &st), 0);
	cr_expect_eq(st.st_mode & 077, 0);
}

Test(supervise, commands_run_in_the_guest_with_their_exit_code)
{
	auto_rig struct rig r;
	auto_buf struct buf out = BUF_INIT(8u << 20);

	rig_make(&r, "");
	rig_boot(&r);
	cr_expect_eq(rig_exec(r.dir, "echo hello there", NULL, &out), 0);
	cr_expect_str_eq(buf_str(&out), "hello there\n");
	cr_expect_eq(rig_exec(r.dir, "exit 7", NULL, &out), 7);
	cr_expect_eq(rig_exec(r.dir, "nonsense", NULL, &out), 127);
}

Test(supervise, stdin_comes_back_whole_however_much_it_is)
{
	auto_rig struct rig r;
	auto_buf struct buf in = BUF_INIT(6u << 20), out = BUF_INIT(8u << 20);

	rig_make(&r, "");
	rig_boot(&r);
	for (int i = 0; in.len < 5u << 20; i++)
		buf_addf(&in, "line %d of what goes there and back\n", i);
	cr_expect_eq(rig_exec(r.dir, "cat", buf_str(&in), &out), 0);
	cr_assert_eq(out.len, in.len);
	cr_expect_eq(memcmp(out.data, in.data, in.len), 0);
}

Test(supervise, the_containers_output_is_in_its_log)
{
	auto_rig struct rig r;
	auto_buf struct buf text = BUF_INIT(1u << 20);

	rig_make(&r, "fake.exit=0");
	rig_boot(&r);
	auto_free char *log = path_join(r.dir, "logs/main.log");

	rig_await(r.dir, "ended", "exited");
	cr_assert_geq(file_read(log, text.max - 1, &text, NULL), 0);
	cr_expect(strstr(buf_str(&text), "Z stdout F tick 0 host=one"), "%s", buf_str(&text));
	cr_expect(strstr(buf_str(&text), "Z stdout F bye\n"), "%s", buf_str(&text));
}

Test(supervise, a_container_that_ends_ends_the_vm_with_its_exit_code)
{
	static const struct {
		const char *script, *state, *code, *error;
	} cases[] = {
		{"fake.exit=0", "stopped", "0", "null"},
		{"fake.exit=3", "failed", "3", "container 'main' ended with exit code 3"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_rig struct rig r;
		auto_json struct json_object *last = NULL;
		struct supervisor_call call;
		struct err err = {0};

		rig_make(&r, cases[i].script);
		rig_boot(&r);
		call = rig_call(r.dir, 10000);
		cr_assert_geq(supervisor_wait_end(&call, &last, &err), 0, "%s", err.msg);
		cr_expect_str_eq(json_opt_str(last, "ended", ""), "exited");
		cr_expect_str_eq(rig_status(r.dir, "state"), cases[i].state);
		cr_expect_str_eq(rig_status(r.dir, "exit_code"), cases[i].code);
		cr_expect_str_eq(rig_status(r.dir, "error"), cases[i].error);
	}
}

Test(supervise, a_guest_that_switches_itself_off_is_stopped)
{
	auto_rig struct rig r;
	auto_buf struct buf out = BUF_INIT(4096);

	rig_make(&r, "");
	rig_boot(&r);
	cr_expect_lt(rig_exec(r.dir, "poweroff", NULL, &out), 0);
	rig_await(r.dir, "ended", "poweroff");
	cr_expect_str_eq(rig_status(r.dir, "state"), "stopped");
}

Test(supervise, a_killed_vmm_is_recorded_with_its_last_words_and_told_to_who_waits)
{
	auto_rig struct rig r;
	struct supervisor_call call;
	struct err err = {0};

	rig_make(&r, "fake.unhealthy");
	rig_spawn(&r, r.dir);
	call = rig_call(r.dir, 20000);
	cr_assert_geq(supervisor_start(&call, &r.config, &r.workload, NULL, &err), 0, "%s",
		      err.msg);
	pid_t child = fork();

	if (child == 0) {
		int code = supervisor_wait(&call, UNTIL_HEALTHY, &err);

		_exit(code == -ECANCELED &&
				      strstr(err.msg, "the VM ended before it was healthy: the VMM "
						      "ended with status 137")
			      ? 0
			      : 1);
	}
	rig_await(r.dir, "health", "unhealthy");
	cr_assert_eq(kill(vmm_of(r.dir), SIGKILL), 0);
	int status = -1;

	cr_assert_eq(waitpid(child, &status, 0), child);
	rig_await(r.dir, "ended", "crashed");
	cr_expect_str_eq(rig_status(r.dir, "state"), "failed");
	cr_expect_str_eq(rig_status(r.dir, "error"), "the VMM ended with status 137");
	(void)status;
}

Test(supervise, a_killed_supervisor_takes_its_vmm_with_it)
{
	auto_rig struct rig r;
	auto_json struct json_object *seen = NULL;
	struct supervisor_call call;
	struct err err = {0};

	rig_make(&r, "");
	rig_boot(&r);
	pid_t pid = vmm_of(r.dir);

	cr_assert_eq(kill(r.supervisor.pid, SIGKILL), 0);
	await_gone(pid);
	cr_assert_geq(supervisor_peek(r.dir, r.host.boot_id, &seen, &err), 0);
	cr_expect_str_eq(json_opt_str(seen, "state", ""), "failed");
	cr_expect_str_eq(json_opt_str(seen, "error", ""), "its supervisor is gone");
	call = rig_call(r.dir, 5000);
	cr_expect_eq(supervisor_stop(&call, 1000, &err), 0, "%s", err.msg);
}

Test(supervise, two_who_wait_are_both_told_what_was_missing)
{
	auto_rig struct rig r;
	struct supervisor_call call;
	struct err err = {0};
	pid_t child[2];

	rig_make(&r, "fake.unhealthy");
	rig_spawn(&r, r.dir);
	call = rig_call(r.dir, 20000);
	cr_assert_geq(supervisor_start(&call, &r.config, &r.workload, NULL, &err), 0, "%s",
		      err.msg);
	for (int i = 0; i < 2; i++) {
		child[i] = fork();
		if (child[i] == 0) {
			call = rig_call(r.dir, 200);
			int code = supervisor_wait(&call, UNTIL_HEALTHY, &err);

			_exit(code == -ETIMEDOUT && err.class == ERR_NOT_READY &&
					      strcmp(err.msg,
						     "not healthy in time: container 'main' is "
						     "not healthy; its last probe said: fake "
						     "probe") == 0
				      ? 0
				      : 1);
		}
	}
	for (int i = 0; i < 2; i++) {
		int status = -1;

		cr_assert_eq(waitpid(child[i], &status, 0), child[i]);
		cr_expect_eq(status, 0);
	}
	cr_expect_eq(supervisor_wait(&call, UNTIL_STARTED, &err), 0);
}

Test(supervise, a_vmm_that_dies_at_its_start_is_an_error_with_its_words)
{
	auto_rig struct rig r;
	struct supervisor_call call;
	struct err err = {0};

	rig_make(&r, "fake.die");
	rig_spawn(&r, r.dir);
	call = rig_call(r.dir, 20000);
	cr_assert_lt(supervisor_start(&call, &r.config, &r.workload, NULL, &err), 0);
	cr_expect(strstr(err.msg, "fake_qemu: died as told"), "%s", err.msg);
	rig_await(r.dir, "ended", "crashed");
	cr_expect_str_eq(rig_status(r.dir, "state"), "failed");
}

Test(supervise, a_guest_that_breaks_the_protocol_fails_and_nothing_else)
{
	static const struct {
		const char *script, *says;
	} cases[] = {
		{"fake.garbage", "frame of unknown type 255"},
		{"fake.protocol=99", "the guest's agent speaks protocol 99, this fcvm protocol 1"},
		{"fake.bad_identity", "the guest did not take its identity: scripted"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_rig struct rig r;
		struct supervisor_call call;
		struct err err = {0};

		rig_make(&r, cases[i].script);
		rig_spawn(&r, r.dir);
		call = rig_call(r.dir, 20000);
		cr_expect_lt(supervisor_start(&call, &r.config, &r.workload, NULL, &err), 0);
		cr_expect(strstr(err.msg, cases[i].says), "%s", err.msg);
		rig_await(r.dir, "state", "failed");
	}
}

Test(supervise, a_directory_has_one_supervisor)
{
	auto_rig struct rig r;
	struct supervisor_spec spec = {.tag = "t", .engine = "qemu", .vm_id = "id"};
	struct proc_id id = {0};
	struct err err = {0};

	rig_make(&r, "");
	rig_spawn(&r, r.dir);
	spec.dir = r.dir;
	cr_expect_lt(supervisor_spawn(&r.host, &spec, &id, &err), 0);
	cr_expect(strstr(err.msg, "has a supervisor already"), "%s", err.msg);
}

/* --- ctl.sock ------------------------------------------------------------------------------- */

static int dial(const char *dir)
{
	auto_free char *path = path_join(dir, "ctl.sock");
	int fd = -1;

	cr_assert_geq(io_unix_connect(path, deadline_in(5000), &fd, NULL), 0);
	return fd;
}

Test(supervise, another_protocol_is_told_to_restart)
{
	auto_rig struct rig r;
	static const char hello[] = "{\"proto\":7,\"fcvm\":\"9.9\"}";
	auto_buf struct buf body = BUF_INIT(65536);
	struct frame f = {0};

	rig_make(&r, "");
	rig_spawn(&r, r.dir);
	auto_close int fd = dial(r.dir);

	cr_assert_geq(frame_write(fd, 1, 0, hello, strlen(hello), deadline_in(5000), NULL), 0);
	cr_assert_geq(frame_read(fd, 65536, &f, &body, deadline_in(5000), NULL), 0);
	cr_expect_eq(f.type, 1);
	cr_assert_geq(frame_read(fd, 65536, &f, &body, deadline_in(5000), NULL), 0);
	cr_expect_eq(f.type, 4);
	cr_expect(strstr(buf_str(&body), "restart it to upgrade"), "%s", buf_str(&body));
}

Test(supervise, hostile_input_ends_its_own_connection_only)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
		{"\377\377\377\377\001\000\000\000", 8},
		{"\004\000\000\000\001\000\000\000nope", 12},
		{"\002\000\000\000\002\000\000\000{}", 10},
		{"\002\000\000\000\001\000\000\000{}", 10},
		{"\002\000\000\000\001\000\000\000[]\002\000\000\000\001\000\000\000[]", 20},
		{"\000\000\000\000\001\000\000\000", 8},
		{"GET / HTTP/1.1\r\n\r\n", 18},
	};
	auto_rig struct rig r;
	auto_json struct json_object *status = NULL;
	struct err err = {0};

	rig_make(&r, "");
	rig_spawn(&r, r.dir);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_close int fd = dial(r.dir);
		auto_buf struct buf got = BUF_INIT(65536);

		cr_assert_geq(
			io_write_full(fd, cases[i].bytes, cases[i].len, deadline_in(5000), NULL),
			0);
	}
	for (int i = 0; i < 300; i++)
		close(dial(r.dir));
	struct supervisor_call call = rig_call(r.dir, 5000);

	cr_assert_geq(supervisor_status(&call, &status, &err), 0, "%s", err.msg);
	cr_expect_str_eq(json_opt_str(status, "state", ""), "creating");
}

Test(supervise, requests_that_make_no_sense_are_refused_with_a_sentence)
{
	auto_rig struct rig r;
	struct supervisor_call call;
	struct restore_request restore = {
		.snapshot_dir = "/nowhere", .backend = "tape", .restart = "no", .gid = 1};
	struct snapshot_request snap = {.dir = "/nowhere"};
	struct err err = {0};

	rig_make(&r, "");
	rig_spawn(&r, r.dir);
	call = rig_call(r.dir, 10000);
	cr_expect_lt(supervisor_restore(&call, &restore, NULL, &err), 0);
	cr_expect_str_eq(err.msg, "restore: backend: expected uffd or file, got 'tape'");
	cr_expect_lt(supervisor_snapshot(&call, &snap, NULL, &err), 0);
	cr_expect_str_eq(err.msg, "snapshot: cannot snapshot a VM that is creating");
}

/* --- snapshots and clones ------------------------------------------------------------------- */

static mode_t mode_of(const char *dir, const char *name)
{
	auto_free char *path = path_join(dir, name);
	struct stat st = {0};

	cr_assert_eq(stat(path, &st), 0, "no '%s'", path);
	cr_expect_eq(st.st_uid, 0);
	return st.st_mode & 07777;
}

Test(supervise, a_reaped_baseline_becomes_a_snapshot)
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

Test(supervise, a_clone_is_ready_with_an_identity_of_its_own)
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

Test(supervise, a_snapshot_of_another_host_is_refused_before_it_is_loaded)
{
	static const struct {
		const char *key, *value, *says;
	} cases[] = {
		{"engine_sha256", "\"0\"", "it was taken with the engine binary '0', here it is "},
		{"accel", "\"kvm\"", "it was taken with accelerator 'kvm', here it is 'tcg'"},
		{"cpu_model", "\"Z80\"", "it was taken with CPU 'Z80'"},
		{"tsc_khz", "1000", "it was taken with a TSC of 1000 kHz"},
		{"agent_protocol", "99", "it was taken with agent protocol 99, here it is 1"},
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

Test(supervise, loaded_is_not_running)
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

Test(supervise, a_snapshot_that_fails_leaves_the_vm_running)
{
	auto_rig struct rig r;
	auto_buf struct buf out = BUF_INIT(4096);
	struct snapshot_request req = {0};
	struct supervisor_call call;
	struct err err = {0};

	rig_make(&r, "fake.no_migrate");
	rig_boot(&r);
	auto_free char *dir = rig_instance(&r, "snap");

	req.dir = dir;
	call = rig_call(r.dir, 20000);
	cr_expect_lt(supervisor_snapshot(&call, &req, NULL, &err), 0);
	cr_expect(strstr(err.msg, "qemu could not save the VM's state"), "%s", err.msg);
	cr_expect_eq(rig_exec(r.dir, "echo on", NULL, &out), 0);
	cr_expect_str_eq(rig_status(r.dir, "state"), "ready");
}

Test(supervise, a_failed_clone_is_restored_again_with_fresh_disks_when_told_so)
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
	cr_assert_eq(kill(vmm_of(dir), SIGKILL), 0);
	rig_await(dir, "restarts", "1");
	rig_await(dir, "state", "ready");
	cr_expect_eq(rig_exec(dir, "identity", NULL, &two), 0);
	cr_expect_str_neq(buf_str(&one), buf_str(&two), "a new epoch");
	cr_expect_not(file_exists(stray));
}

Test(supervise, updates_reach_the_running_vm)
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
