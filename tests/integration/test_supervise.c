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

ENGINE_TEST(supervise, a_vm_boots_becomes_ready_and_stops)
{
	auto_rig struct rig r;
	struct supervisor_call call;
	struct err err = {0};

	rig_make(&r, "");
	rig_boot(&r);
	cr_expect_str_eq(rig_status(r.dir, "state"), "ready");
	cr_expect_str_eq(rig_status(r.dir, "health"), "healthy");
	cr_expect_str_eq(rig_status(r.dir, "vm_id"), "the-vm-id");
	cr_expect_str_eq(rig_status(r.dir, "accel"), rig_says("tcg", "kvm"));
	cr_expect_str_eq(rig_status(r.dir, "container"), "main");
	cr_expect_str_eq(rig_status(r.dir, "boot_retries"), "[ ]");
	cr_expect_str_eq(rig_status(r.dir, "ended"), "null");
	pid_t pid = rig_vmm_of(r.dir);

	cr_expect_eq(kill(pid, 0), 0);
	call = rig_call(r.dir, 10000);
	cr_assert_geq(supervisor_stop(&call, 2000, &err), 0, "%s", err.msg);
	cr_expect_str_eq(rig_status(r.dir, "state"), "stopped");
	cr_expect_str_eq(rig_status(r.dir, "ended"), "requested");
	cr_expect_str_eq(rig_status(r.dir, "pid"), "null");
	cr_expect_str_eq(rig_status(r.dir, "exit_code"), "143");
	rig_await_gone(pid);
	cr_expect_eq(supervisor_stop(&call, 0, &err), 0, "stopping twice is fine");
}

ENGINE_TEST(supervise, the_vmm_is_nobody_and_its_directory_its_own)
{
	auto_rig struct rig r;
	struct stat st = {0};

	rig_make(&r, "");
	rig_boot(&r);
	auto_free char *proc = xasprintf("/proc/%d", (int)rig_vmm_of(r.dir));
	auto_free char *vm = path_join(r.dir, "vm"), *ctl = path_join(r.dir, "ctl.sock");

	cr_assert_eq(stat(proc, &st), 0);
	cr_expect_geq(st.st_uid, LEDGER_UID_FIRST);
	cr_assert_eq(stat(vm, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0700);
	cr_expect_geq(st.st_uid, LEDGER_UID_FIRST);
	cr_assert_eq(stat(ctl, &st), 0);
	cr_expect_eq(st.st_mode & 077, 0);
}

ENGINE_TEST(supervise, commands_run_in_the_guest_with_their_exit_code)
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

ENGINE_TEST(supervise, stdin_comes_back_whole_however_much_it_is)
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

ENGINE_TEST(supervise, the_containers_output_is_in_its_log)
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

ENGINE_TEST(supervise, a_container_that_ends_ends_the_vm_with_its_exit_code)
{
	static const struct {
		const char *script, *state, *code, *error;
	} cases[] = {
		{"fake.exit=0", "stopped", "0", "null"},
		{"fake.exit=3", "failed", "3", "container 'main' ended with exit code 3"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_rig struct rig r;

		rig_make(&r, cases[i].script);
		rig_boot(&r);
		rig_await(r.dir, "ended", "exited");
		cr_expect_str_eq(rig_status(r.dir, "state"), cases[i].state);
		cr_expect_str_eq(rig_status(r.dir, "exit_code"), cases[i].code);
		cr_expect_str_eq(rig_status(r.dir, "error"), cases[i].error);
	}
}

ENGINE_TEST(supervise, a_guest_that_switches_itself_off_is_stopped)
{
	auto_rig struct rig r;
	auto_buf struct buf out = BUF_INIT(4096);

	rig_make(&r, "");
	rig_boot(&r);
	cr_expect_lt(rig_exec(r.dir, "poweroff", NULL, &out), 0);
	rig_await(r.dir, "ended", "poweroff");
	cr_expect_str_eq(rig_status(r.dir, "state"), "stopped");
}

ENGINE_TEST(supervise, a_killed_vmm_is_recorded_with_its_last_words_and_told_to_who_waits)
{
	auto_rig struct rig r;
	struct supervisor_call call;
	struct err err = {0};

	rig_make(&r, "fake.unhealthy");
	rig_spawn(&r, r.dir);
	call = rig_call(r.dir, 20000);
	cr_assert_geq(supervisor_start(&call, &r.config, &r.workload, NULL, NULL, NULL, &err), 0,
		      "%s", err.msg);
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
	cr_assert_eq(kill(rig_vmm_of(r.dir), SIGKILL), 0);
	int status = -1;

	cr_assert_eq(waitpid(child, &status, 0), child);
	rig_await(r.dir, "ended", "crashed");
	cr_expect_str_eq(rig_status(r.dir, "state"), "failed");
	cr_expect_str_eq(rig_status(r.dir, "error"), "the VMM ended with status 137");
	(void)status;
}

ENGINE_TEST(supervise, a_killed_supervisor_takes_its_vmm_with_it)
{
	auto_rig struct rig r;
	auto_json struct json_object *seen = NULL;
	struct supervisor_call call;
	struct err err = {0};

	rig_make(&r, "");
	rig_boot(&r);
	pid_t pid = rig_vmm_of(r.dir);

	cr_assert_eq(kill(r.supervisor.pid, SIGKILL), 0);
	rig_await_gone(pid);
	cr_assert_geq(supervisor_peek(r.dir, r.host.boot_id, &seen, &err), 0);
	cr_expect_str_eq(json_opt_str(seen, "state", ""), "failed");
	cr_expect_str_eq(json_opt_str(seen, "error", ""), "its supervisor is gone");
	call = rig_call(r.dir, 5000);
	cr_expect_eq(supervisor_stop(&call, 1000, &err), 0, "%s", err.msg);
}

ENGINE_TEST(supervise, two_who_wait_are_both_told_what_was_missing)
{
	auto_rig struct rig r;
	struct supervisor_call call;
	struct err err = {0};
	pid_t child[2];

	rig_make(&r, "fake.unhealthy");
	rig_spawn(&r, r.dir);
	call = rig_call(r.dir, 20000);
	cr_assert_geq(supervisor_start(&call, &r.config, &r.workload, NULL, NULL, NULL, &err), 0,
		      "%s", err.msg);
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

ENGINE_TEST(supervise, a_vmm_that_dies_at_its_start_is_an_error_with_its_words)
{
	auto_rig struct rig r;
	struct supervisor_call call;
	struct err err = {0};

	rig_make(&r, "fake.die");
	rig_spawn(&r, r.dir);
	call = rig_call(r.dir, 20000);
	cr_assert_lt(supervisor_start(&call, &r.config, &r.workload, NULL, NULL, NULL, &err), 0);
	cr_expect(strstr(err.msg, "fake: died as told"), "%s", err.msg);
	rig_await(r.dir, "ended", "crashed");
	cr_expect_str_eq(rig_status(r.dir, "state"), "failed");
}

ENGINE_TEST(supervise, stop_ends_a_boot_that_hangs_and_says_so_to_who_asked_for_it)
{
	auto_rig struct rig r;
	struct supervisor_call call;
	struct err err = {0};
	int status = -1;

	rig_make(&r, "fake.hang");
	rig_spawn(&r, r.dir);
	pid_t child = fork();

	if (child == 0) {
		call = rig_call(r.dir, 20000);
		int code = supervisor_start(&call, &r.config, &r.workload, NULL, NULL, NULL, &err);

		_exit(code == -ECANCELED && strcmp(err.msg, "the VM was stopped") == 0 ? 0 : 1);
	}
	while (strcmp(rig_status(r.dir, "pid"), "null") == 0 || !rig_status(r.dir, "pid")[0])
		(void)usleep(2000);
	call = rig_call(r.dir, 10000);
	cr_assert_geq(supervisor_stop(&call, 5000, &err), 0, "%s", err.msg);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_expect_eq(status, 0);
	cr_expect_str_eq(rig_status(r.dir, "state"), "stopped");
}

ENGINE_TEST(supervise, a_guest_that_breaks_the_protocol_fails_and_nothing_else)
{
	const struct {
		const char *script, *says;
	} cases[] = {
		{"fake.garbage", rig_says("frame of unknown type 255", "frame")},
		{"fake.protocol=99", "the guest's agent speaks protocol 99, this fcvm protocol 2"},
		/* ECANCELED, which from the guest is a refusal as any other */
		{"fake.refuse_hello=125", "the guest's agent refuses us: scripted"},
		{"fake.refuse_resume=125", "the guest did not take its identity: scripted"},
		{"fake.refuse_workload=125", "the guest cannot start container 'main': scripted"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_rig struct rig r;
		struct supervisor_call call;
		struct err err = {0};

		rig_make(&r, cases[i].script);
		rig_spawn(&r, r.dir);
		call = rig_call(r.dir, 20000);
		cr_expect_lt(
			supervisor_start(&call, &r.config, &r.workload, NULL, NULL, NULL, &err), 0);
		cr_expect(strstr(err.msg, cases[i].says), "%s", err.msg);
		rig_await(r.dir, "state", "failed");
	}
}

ENGINE_TEST(supervise, a_directory_has_one_supervisor)
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

ENGINE_TEST(supervise, stop_ends_a_supervisor_whose_status_cannot_be_read)
{
	auto_rig struct rig r;
	struct err err = {0};

	rig_make(&r, "");
	rig_boot(&r);
	auto_free char *path = path_join(r.dir, SUPERVISE_STATUS);
	struct supervisor_call call = rig_call(r.dir, 20000);
	pid_t vmm = rig_vmm_of(r.dir);

	cr_assert_geq(file_replace(path, "{", 1, 0600, &err), 0, "%s", err.msg);
	cr_assert_geq(supervisor_stop(&call, 0, &err), 0, "%s", err.msg);
	cr_expect_not(proc_id_alive(&r.supervisor, r.host.boot_id));
	cr_expect_neq(kill(vmm, 0), 0);
}

/* --- ctl.sock ------------------------------------------------------------------------------- */

static int dial(const char *dir)
{
	auto_free char *path = path_join(dir, "ctl.sock");
	int fd = -1;

	cr_assert_geq(io_unix_connect(path, deadline_in(5000), &fd, NULL), 0);
	return fd;
}

ENGINE_TEST(supervise, another_protocol_is_told_to_restart)
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

ENGINE_TEST(supervise, hostile_input_ends_its_own_connection_only)
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

ENGINE_TEST(supervise, requests_that_make_no_sense_are_refused_with_a_sentence)
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

/* --- boots that hang ------------------------------------------------------------------------- */

/* By the build for tests, whose boots have so long. */
static void boots_within(struct rig *r, const char *ms)
{
	free(r->host.exe);
	r->host.exe = realpath(TEST_BUILD_DIR "/hooks/fcvm", NULL);
	if (!r->host.exe) {
		rig_free(r);
		*r = (struct rig){0};
		cr_skip("no " TEST_BUILD_DIR "/hooks/fcvm");
	}
	(void)setenv("FCVM_TEST_BOOT_MS", ms, 1);
}

ENGINE_TEST(supervise, a_boot_that_hangs_is_tried_again_and_everybody_can_see_it)
{
	auto_rig struct rig r;
	struct supervisor_call call;
	struct err err = {0};

	rig_make(&r, "");
	boots_within(&r, "400");
	rig_script(&r, "fake.hang");
	rig_spawn(&r, r.dir);
	call = rig_call(r.dir, 20000);
	pid_t child = fork();

	if (child == 0)
		_exit(supervisor_start(&call, &r.config, &r.workload, NULL, NULL, NULL, &err) < 0);
	while (strcmp(rig_status(r.dir, "boot_retries"), "[ ]") == 0)
		(void)usleep(2000);
	rig_script(&r, "");
	int status = -1;

	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_expect_eq(status, 0);
	cr_expect(strstr(rig_status(r.dir, "boot_retries"),
			 "boot 1 of 3 did not reach the agent in time and is tried again; the "
			 "console ends with: fake console: up"),
		  "%s", rig_status(r.dir, "boot_retries"));
	rig_await(r.dir, "state", "ready");
}

ENGINE_TEST(supervise, a_boot_that_always_hangs_fails_in_the_end)
{
	auto_rig struct rig r;
	struct supervisor_call call;
	struct err err = {0};

	rig_make(&r, "fake.hang");
	boots_within(&r, "50");
	rig_spawn(&r, r.dir);
	call = rig_call(r.dir, 20000);
	cr_expect_eq(supervisor_start(&call, &r.config, &r.workload, NULL, NULL, NULL, &err),
		     -ETIMEDOUT);
	cr_expect_eq(err.class, ERR_NOT_READY);
	cr_expect_eq(strncmp(err.msg, "the guest's agent did not answer in time", 40), 0, "%s",
		     err.msg);
	rig_await(r.dir, "state", "failed");
}

/* Within the second in which what a guest said last may still come. */
ENGINE_TEST(supervise, a_boot_that_ended_by_itself_is_not_tried_again)
{
	auto_rig struct rig r;
	struct supervisor_call call;
	struct err err = {0};

	rig_make(&r, "fake.hang fake.off");
	boots_within(&r, "900");
	rig_spawn(&r, r.dir);
	call = rig_call(r.dir, 20000);
	cr_expect_eq(supervisor_start(&call, &r.config, &r.workload, NULL, NULL, NULL, &err),
		     -ECANCELED);
	cr_expect_str_eq(err.msg, "the VM was stopped");
	rig_await(r.dir, "state", "stopped");
	cr_expect_str_eq(rig_status(r.dir, "ended"), "poweroff");
	cr_expect_str_eq(rig_status(r.dir, "boot_retries"), "[ ]");
}
