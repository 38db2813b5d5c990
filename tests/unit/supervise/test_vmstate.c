#include "vmstate.h"

#include <criterion/criterion.h>

#include "cleanup.h"
#include "file.h"
#include "json.h"
#include "run.h"
#include "xalloc.h"

Test(vmstate, only_these_steps_exist)
{
	/* rows: from; columns: to creating running ready stopped failed lost */
	static const char *const table[] = {
		[RUN_CREATING] = "yynyyy", [RUN_RUNNING] = "nyyyyy", [RUN_READY] = "nyyyyy",
		[RUN_STOPPED] = "ynnynn",  [RUN_FAILED] = "ynnyyn",  [RUN_LOST] = "ynnyny",
	};

	for (enum vm_run from = RUN_CREATING; from <= RUN_LOST; from++) {
		for (enum vm_run to = RUN_CREATING; to <= RUN_LOST; to++) {
			struct vmstate s = {.run = from};
			bool want = table[from][to] == 'y';

			cr_expect_eq(vmstate_move(&s, to), want, "%s -> %s", vmstate_run_name(from),
				     vmstate_run_name(to));
			cr_expect_eq(s.run, want ? to : from);
		}
	}
}

Test(vmstate, unknown_values_are_null_and_never_absent)
{
	static const char text[] =
		"{\"proto\":1,\"vm_id\":\"id\",\"engine\":\"qemu\",\"accel\":null,"
		"\"state\":\"creating\",\"health\":\"none\",\"pid\":null,\"pid_start\":null,"
		"\"supervisor\":{\"pid\":7,\"start_time\":9,\"boot_id\":\"b\"},\"uid\":0,"
		"\"snapshot\":null,\"backend\":null,\"serve_pid\":null,\"container\":null,"
		"\"created_at\":\"1970-01-01T00:00:01.000Z\",\"ready_ms\":null,\"gates\":{},"
		"\"exit_code\":null,\"restarts\":0,\"network\":null,\"ip\":null,\"loopback\":null,\"ports\":[],\"ended\":null,\"error\":null,"
		"\"boot_retries\":[]}";
	struct vmstate s = {.vm_id = "id",
			    .engine = "qemu",
			    .self = {.pid = 7, .start_time = 9, .boot_id = "b"},
			    .created_at = 1000,
			    .exit_code = -1};
	auto_json struct json_object *o = vmstate_to_json(&s);
	auto_free char *line = json_line(o);

	cr_expect_str_eq(line, text);
}

Test(vmstate, a_gate_is_named_once_and_their_number_is_bounded)
{
	struct vmstate s = {0};
	char name[16];

	vmstate_gate(&s, "clock", 1);
	vmstate_gate(&s, "clock", 2);
	cr_expect_eq(s.n_gates, 1);
	cr_expect_eq(s.gates[0].ms, 2);
	for (int i = 0; i < 100; i++) {
		(void)snprintf(name, sizeof(name), "g%d", i);
		vmstate_gate(&s, name, 0);
	}
	cr_expect_eq(s.n_gates, VMSTATE_GATES_MAX);
	vmstate_gate(&s, "a-name-that-is-longer-than-any-gate-has-a-right-to-be", 3);
}

Test(vmstate, a_new_try_forgets_the_last_one_but_for_its_history)
{
	struct vmstate s = {.ready_ms = 5,
			    .exit_code = 3,
			    .health = HEALTH_HEALTHY,
			    .ended = ENDED_CRASHED,
			    .restarts = 2,
			    .vmm = {.pid = 4}};

	vmstate_gate(&s, "clock", 1);
	vmstate_set_error(&s, "it broke");
	vmstate_reset(&s);
	cr_expect_eq(s.n_gates, 0);
	cr_expect_eq(s.ready_ms, 0);
	cr_expect_eq(s.exit_code, -1);
	cr_expect_eq(s.health, HEALTH_NONE);
	cr_expect_eq(s.ended, ENDED_NOT);
	cr_expect_eq(s.vmm.pid, 0);
	cr_expect_null(s.error);
	cr_expect_eq(s.restarts, 2);
}

Test(vmstate, the_file_is_whole_at_every_change)
{
	auto_tmpdir char *dir = tmpdir_new("vmstate");
	struct vmstate s = {.path = path_join(dir, "status.json"), .vm_id = "id", .engine = "qemu"};
	auto_json struct json_object *o = NULL;
	struct err err = {0};

	cr_assert_geq(vmstate_save(&s, &err), 0, "%s", err.msg);
	s.run = RUN_READY;
	cr_assert_geq(vmstate_save(&s, &err), 0, "%s", err.msg);
	cr_assert_geq(json_load(s.path, &o, &err), 0, "%s", err.msg);
	cr_expect_str_eq(json_opt_str(o, "state", ""), "ready");
	vmstate_free(&s);
}

Test(vmstate, the_file_can_be_read_whatever_the_guest_called_its_error)
{
	static const char *const said[] = {"\xff\xfe", "cut in the middle: \xe2\x82", "\xc0\xaf",
					   "\xed\xa0\x80", "\xf4\x90\x80\x80"};
	auto_tmpdir char *dir = tmpdir_new("vmstate");
	struct vmstate s = {.path = path_join(dir, "status.json"), .vm_id = "id", .engine = "qemu"};

	for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
		auto_json struct json_object *o = NULL;
		struct err err = {0};

		vmstate_set_error(&s, said[i]);
		cr_assert_geq(vmstate_save(&s, &err), 0, "%s", err.msg);
		cr_expect_geq(json_load(s.path, &o, &err), 0, "%zu: %s", i, err.msg);
	}
	vmstate_set_error(&s, "d\xc3\xa9j\xc3\xa0 \xe2\x82\xac \xf0\x9f\x92\xa9");
	cr_expect_str_eq(s.error, "d\xc3\xa9j\xc3\xa0 \xe2\x82\xac \xf0\x9f\x92\xa9");
	vmstate_free(&s);
}
