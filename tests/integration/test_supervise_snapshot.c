/* A snapshot whose client goes, one that meets another, and how long one may take. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "gate.h"
#include "io.h"
#include "ledger.h"
#include "supervise_rig.h"
#include "xalloc.h"

#define CALL_MS 20000

static int run(const char *dir, const char *words)
{
	auto_buf struct buf out = BUF_INIT(4096);

	return rig_exec(dir, words, NULL, &out);
}

/* Asks for a snapshot in a child, which leaves what it is told in "told". */
static pid_t ask_beside(const struct rig *r, const char *dir, bool keep_running)
{
	pid_t child = fork();

	cr_assert_geq(child, 0);
	if (child > 0)
		return child;
	auto_free char *told = path_join(r->data, "told");
	struct supervisor_call call = rig_call(r->dir, CALL_MS);
	struct snapshot_request req = {
		.dir = dir, .keep_running = keep_running, .gid = LEDGER_UID_FIRST};
	struct err err = {0};

	(void)supervisor_snapshot(&call, &req, NULL, &err);
	_exit(file_replace(told, err.msg, strlen(err.msg), 0600, NULL) < 0);
}

static void expect_told(const struct rig *r, pid_t child, const char *sentence)
{
	auto_free char *told = path_join(r->data, "told");
	auto_buf struct buf text = BUF_INIT(4096);
	int status = -1;

	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0);
	cr_assert_geq(file_read(told, 4095, &text, NULL), 0);
	cr_expect_str_eq(buf_str(&text), sentence);
}

static void await_held(const struct rig *r)
{
	uint64_t deadline_ms = deadline_in(CALL_MS);

	while (run(r->dir, "held") != 0 && now_ms() < deadline_ms)
		continue;
	cr_assert_eq(run(r->dir, "held"), 0);
}

/* Asks for a snapshot that takes the VM with it, and is killed while the guest prepares. */
static char *killed_while_it_prepares(struct rig *r)
{
	char *dir = rig_instance(r, "snap-killed");
	pid_t child = ask_beside(r, dir, false);

	await_held(r);
	cr_assert_eq(kill(child, SIGKILL), 0);
	cr_assert_eq(waitpid(child, NULL, 0), child);
	return dir;
}

static void expect_nothing_in(const char *dir)
{
	auto_free char *state = path_join(dir, "vmstate"), *memory = path_join(dir, "memory");
	auto_free char *disk = path_join(dir, "data.img");

	cr_expect_not(file_exists(state));
	cr_expect_not(file_exists(memory));
	cr_expect_not(file_exists(disk));
}

ENGINE_TEST(supervise_snapshot, a_vm_nobody_waits_for_is_not_taken_and_goes_on)
{
	auto_rig struct rig r;
	uint64_t deadline_ms = deadline_in(CALL_MS);

	rig_make(&r, "fake.hold");
	rig_boot(&r);
	pid_t vmm = rig_vmm_of(r.dir);
	auto_free char *killed = killed_while_it_prepares(&r);

	cr_assert_eq(run(r.dir, "let-go"), 0);
	while (run(r.dir, "frozen") != 1 && now_ms() < deadline_ms)
		continue;
	cr_expect_eq(run(r.dir, "frozen"), 1);
	cr_expect_str_eq(rig_status(r.dir, "state"), "ready");
	cr_expect_eq(rig_vmm_of(r.dir), vmm);
	expect_nothing_in(killed);
}

/* The second client has been told that it waits: only now the guest is prepared for the first. */
static void on_progress(void *data, const char *text)
{
	const struct rig *r = data;

	if (strcmp(text, "waiting for another snapshot of this VM to end") == 0)
		cr_assert_eq(run(r->dir, "let-go"), 0);
}

ENGINE_TEST(supervise_snapshot, who_asks_again_after_a_kill_waits_for_the_first_one_to_be_undone)
{
	auto_rig struct rig r;
	struct err err = {0};

	rig_make(&r, "fake.hold");
	rig_boot(&r);
	pid_t vmm = rig_vmm_of(r.dir);
	auto_free char *killed = killed_while_it_prepares(&r);
	auto_free char *dir = rig_instance(&r, "snap-again"), *path = path_join(dir, "vmstate");
	struct supervisor_call call = rig_call(r.dir, CALL_MS);
	struct snapshot_request req = {.dir = dir, .keep_running = true, .gid = LEDGER_UID_FIRST};

	call.progress = on_progress;
	call.data = &r;
	cr_expect_geq(supervisor_snapshot(&call, &req, NULL, &err), 0, "%s", err.msg);
	cr_expect_eq(rig_vmm_of(r.dir), vmm);
	cr_expect(file_exists(path));
	expect_nothing_in(killed);
	cr_expect_eq(run(r.dir, "frozen"), 1);
	rig_await(r.dir, "state", "ready");
}

ENGINE_TEST(supervise_snapshot, the_engine_has_as_long_as_who_asked_waits)
{
	auto_rig struct rig r;
	struct err err = {0};

	rig_make(&r, "fake.save_forever");
	rig_boot(&r);
	auto_free char *dir = rig_instance(&r, "snap");
	struct supervisor_call call = rig_call(r.dir, 1000);
	struct snapshot_request req = {.dir = dir, .keep_running = true, .gid = LEDGER_UID_FIRST};

	cr_expect_eq(supervisor_snapshot(&call, &req, NULL, &err), -ETIMEDOUT);
	cr_expect_eq(strncmp(err.msg, "cannot snapshot the VM: ", 24), 0, "%s", err.msg);
	cr_expect_eq(run(r.dir, "frozen"), 1, "it goes on");
}

/* The fake's VM does not end before its grace is over: who asked hears of it long before. */
static void stop_while_it_prepares(const char *script)
{
	auto_rig struct rig r;

	rig_make(&r, script);
	rig_boot(&r);
	auto_free char *dir = rig_instance(&r, "snap");
	pid_t child = ask_beside(&r, dir, true);

	await_held(&r);
	cr_assert_eq(kill(r.supervisor.pid, SIGTERM), 0);
	expect_told(&r, child, "the VM is being stopped");
	expect_nothing_in(dir);
}

ENGINE_TEST(supervise_snapshot, a_stop_while_the_guest_prepares_calls_it_off)
{
	stop_while_it_prepares("fake.cross");
}

ENGINE_TEST(supervise_snapshot, a_stop_while_the_guest_freezes_is_told_at_once)
{
	stop_while_it_prepares("fake.freezing");
}

/* ECANCELED in particular, which the host itself says of a VM that ends. */
ENGINE_TEST(supervise_snapshot, whatever_the_guest_refuses_to_prepare_with_is_told_and_it_goes_on)
{
	auto_rig struct rig r;

	rig_make(&r, "fake.refuse_prepare=125");
	rig_boot(&r);
	for (int i = 0; i < 2; i++) {
		auto_free char *name = xasprintf("snap-%d", i), *dir = rig_instance(&r, name);

		expect_told(&r, ask_beside(&r, dir, false), "prepare: scripted");
		expect_nothing_in(dir);
	}
	cr_expect_str_eq(rig_status(r.dir, "state"), "ready");
}

ENGINE_TEST(supervise_snapshot, a_guest_that_refuses_to_thaw_has_crashed)
{
	auto_rig struct rig r;

	rig_make(&r, "fake.refuse_thaw=125");
	rig_boot(&r);
	auto_free char *dir = rig_instance(&r, "snap");

	expect_told(&r, ask_beside(&r, dir, true), "snapshot: the guest stays frozen: scripted");
	rig_await(r.dir, "ended", "crashed");
}

ENGINE_TEST(supervise_snapshot, a_stop_while_the_vm_is_saved_leaves_the_workload_its_grace)
{
	auto_rig struct rig r;
	int status = -1;

	rig_make(&r, "");
	auto_free char *path = gate_new(r.data), *script = xasprintf("fake.save_gate=%s", path);
	rig_script(&r, script);
	rig_boot(&r);
	auto_free char *dir = rig_instance(&r, "snap");
	pid_t child = ask_beside(&r, dir, true);
	auto_close int gate = gate_reach(path);

	/* It hears of that when the state is saved, with the guest still frozen. */
	cr_assert_eq(kill(r.supervisor.pid, SIGTERM), 0);
	cr_assert_eq(write(gate, "x", 1), 1);
	rig_await(r.dir, "ended", "requested");
	cr_expect_str_eq(rig_status(r.dir, "exit_code"), "143");
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_expect_eq(status, 0);
}
