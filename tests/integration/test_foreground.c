/* test_foreground.c - commands that stay until a VM ends: they are interrupted, the VM is taken
 * away under them, its supervisor dies. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apply_rig.h"
#include "child.h"
#include "cleanup.h"
#include "file.h"
#include "gate.h"
#include "io.h"
#include "proc.h"
#include "xalloc.h"

TestSuite(foreground, .fini = apply_rig_cleanup);

#define KEEP "--set", "baselines.web.keep_running=true"
#define WAIT_MS 20000

/* A fleet whose baseline goes on, and a snapshot "warm" of that baseline. */
static void begin(struct apply_rig *r)
{
	apply_rig_make(r, 1, false);
	apply_rig_run(r, 0, "apply", r->spec, KEEP, NULL);
	apply_rig_run(r, 0, "snapshot", "create", "web", "--tag", "warm", NULL);
}

static void expect_only_the_fleet(struct apply_rig *r)
{
	auto_json struct json_object *rows = apply_rig_ps(r);

	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		cr_expect_neq(strcmp(json_opt_str(row, "name", ""), "default.box"), 0,
			      "a record is left");
	}
	auto_free char *dir = path_join(r->data, "sets/default/vms/box");
	cr_expect_not(file_exists(dir), "a directory is left");
}

static void finish(struct apply_rig *r)
{
	apply_rig_run(r, 0, "destroy", "default", NULL);
	apply_rig_finish(r);
}

/* The step is let end, and ends well: still the VM is not what anybody waits for any more. */
Test(foreground, an_interrupt_while_the_vm_comes_up_is_130_and_leaves_nothing)
{
	static const int signals[] = {SIGTERM, SIGINT};
	auto_apply_rig struct apply_rig r;

	begin(&r);
	auto_free char *path = gate_new(r.dir);
	auto_free char *script = xasprintf("fake.gate=%s", path);
	apply_rig_script(&r, script);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		auto_child struct child c =
			child_start(&r, "snapshot", "run", "--network", "none", "--snapshot",
				    "warm", "--name", "box", NULL);
		auto_close int gate = gate_reach(path);

		cr_assert_eq(kill(c.pid, signals[i]), 0);
		child_read_until(&c, c.err, "interrupted: what runs is let end");
		cr_assert_eq(write(gate, "x", 1), 1);
		cr_expect_eq(child_end(&c), 130, "%s", buf_str(&c.text));
		cr_expect(strstr(buf_str(&c.text), "fcvm: error: interrupted\n"), "%s",
			  buf_str(&c.text));
		expect_only_the_fleet(&r);
	}
	apply_rig_script(&r, "");
	finish(&r);
}

static struct child start_box(const struct apply_rig *r)
{
	struct child c = child_start(r, "snapshot", "run", "--network", "none", "--snapshot",
				     "warm", "--name", "box", NULL);

	child_read_until(&c, c.out, "tick ");
	return c;
}

/* It sleeps through all of it: the supervisor's end, and that nothing is left to tell of it. */
static void remove_behind_its_back(struct apply_rig *r, const struct child *c)
{
	int status = -1;

	cr_assert_eq(kill(c->pid, SIGSTOP), 0);
	cr_assert_eq(waitpid(c->pid, &status, WUNTRACED), c->pid);
	cr_assert(WIFSTOPPED(status));
	apply_rig_run(r, 0, "rm", "default.box", NULL);
}

Test(foreground, a_vm_removed_while_its_command_is_stopped_ends_the_command)
{
	auto_apply_rig struct apply_rig r;

	begin(&r);
	auto_child struct child c = start_box(&r);
	remove_behind_its_back(&r, &c);
	cr_assert_eq(kill(c.pid, SIGCONT), 0);
	cr_expect_eq(child_end(&c), 1, "%s", buf_str(&c.text));
	cr_expect(strstr(buf_str(&c.text), "fcvm: error: the VM was removed\n"), "%s",
		  buf_str(&c.text));
	expect_only_the_fleet(&r);
	finish(&r);
}

/* What a command takes away at its end is its own VM, not what has the name by then. */
Test(foreground, a_vm_that_took_the_name_of_a_removed_one_is_left_alone)
{
	auto_apply_rig struct apply_rig r;

	begin(&r);
	auto_child struct child first = start_box(&r);
	remove_behind_its_back(&r, &first);
	auto_child struct child second = start_box(&r);
	cr_assert_eq(kill(first.pid, SIGCONT), 0);
	cr_expect_eq(child_end(&first), 1, "%s", buf_str(&first.text));
	cr_expect(strstr(buf_str(&first.text), "fcvm: error: the VM was replaced by another\n"),
		  "%s", buf_str(&first.text));
	cr_expect_eq(apply_rig_count(&r, "clone", "ready"), 2, "the fleet's and the second box");
	cr_assert_eq(kill(second.pid, SIGINT), 0);
	cr_expect_eq(child_end(&second), 130, "%s", buf_str(&second.text));
	expect_only_the_fleet(&r);
	finish(&r);
}

static void await_sleep(pid_t pid)
{
	auto_free char *path = xasprintf("/proc/%d/stat", (int)pid);
	uint64_t deadline_ms = deadline_in(WAIT_MS);
	char state = 0;

	while (state != 'S' && now_ms() < deadline_ms) {
		auto_buf struct buf text = BUF_INIT(65536);

		cr_assert_geq(file_read(path, 65535, &text, NULL), 0);
		const char *end = strrchr(buf_str(&text), ')');
		cr_assert(end && end[1] == ' ');
		state = end[2];
	}
	cr_assert_eq(state, 'S');
}

static void save(const char *dir, const char *name, struct json_object *o)
{
	auto_free char *path = path_join(dir, name);
	struct err err = {0};

	cr_assert_geq(file_mkdir_p(dir, 0700, &err), 0, "%s", err.msg);
	cr_assert_geq(json_save(path, o, &err), 0, "%s", err.msg);
}

/* What set "s" knows of a VM "web", and what the VM's supervisor has written, log and all. */
static void write_vm(const struct apply_rig *r, pid_t supervisor)
{
	auto_free char *dir = path_join(r->data, "sets/s/vms/web");
	auto_free char *records = path_join(r->data, "sets/s/records/baseline");
	auto_free char *logs = path_join(dir, "logs"), *log = path_join(logs, "main.log");
	auto_json struct json_object *record = json_object_new_object();
	auto_json struct json_object *status = json_object_new_object();
	struct json_object *who = json_object_new_object();
	struct proc_id id = {0};
	struct err err = {0};
	static const char line[] = "2026-01-02T03:04:05.000000000Z stdout F hello\n";

	cr_assert_eq(proc_id_of(supervisor, &id, &err), 0, "%s", err.msg);
	json_add_u64(who, "pid", (uint64_t)id.pid);
	json_add_u64(who, "start_time", id.start_time);
	json_add_str(who, "boot_id", id.boot_id);
	json_add(status, "supervisor", who);
	save(dir, "status.json", status);
	json_add_u64(record, "v", 1);
	json_add_str(record, "kind", "baseline");
	json_add_str(record, "name", "web");
	json_add_str(record, "state", "ready");
	json_add_str(record, "dir", dir);
	save(records, "web.json", record);
	cr_assert_geq(file_mkdir_p(logs, 0700, &err), 0, "%s", err.msg);
	cr_assert_geq(file_replace(log, line, sizeof(line) - 1, 0600, &err), 0, "%s", err.msg);
}

/* One that has no file open, whose closing would be an event in the directory of logs. */
Test(foreground, a_killed_supervisor_ends_logs_that_follow_it)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	auto_child struct child supervisor = {.pid = fork(), .out = -1, .err = -1};
	cr_assert_geq(supervisor.pid, 0);
	if (supervisor.pid == 0)
		for (;;)
			(void)pause();
	write_vm(&r, supervisor.pid);
	auto_child struct child c = child_start(&r, "logs", "-f", "s.web", NULL);
	child_read_until(&c, c.out, "hello\n");
	await_sleep(c.pid);
	cr_assert_eq(kill(supervisor.pid, SIGKILL), 0);
	cr_expect_eq(child_end(&c), 0, "%s", buf_str(&c.text));
}
