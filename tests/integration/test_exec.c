#include <criterion/criterion.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "file.h"
#include "json.h"
#include "run.h"
#include "supervise_rig.h"
#include "xalloc.h"

/* A VM that the records of set "s" know as "web". */
static void make(struct rig *r)
{
	auto_free char *records = NULL, *record = NULL, *set = NULL, *vms = NULL;
	auto_json struct json_object *o = json_object_new_object();
	struct err err = {0};

	rig_make(r, "");
	set = path_join(r->data, "sets/s");
	vms = path_join(set, "vms");
	records = path_join(set, "records/baseline");
	record = path_join(records, "web.json");
	free(r->dir);
	r->dir = path_join(vms, "web");
	cr_assert_geq(file_mkdir_p(records, 0700, &err), 0, "%s", err.msg);
	cr_assert_geq(file_mkdir_p(r->dir, 0711, &err), 0, "%s", err.msg);
	for (const char *const *p = (const char *const[]){set, vms, r->dir, NULL}; *p; p++)
		cr_assert_eq(chmod(*p, 0711), 0);
	json_add_u64(o, "v", 1);
	json_add_str(o, "kind", "baseline");
	json_add_str(o, "name", "web");
	json_add_str(o, "state", "ready");
	json_add_str(o, "dir", r->dir);
	cr_assert_geq(json_save(record, o, &err), 0, "%s", err.msg);
	rig_boot(r);
}

static void stop(struct rig *r)
{
	struct supervisor_call call = rig_call(r->dir, 5000);

	(void)supervisor_stop(&call, 0, NULL);
	rig_free(r);
}
#define auto_vm __attribute__((cleanup(stop)))

Test(exec, output_input_and_exit_code_are_the_commands)
{
	static const struct {
		const char *words[8];
		const char *input, *out, *says;
		int status;
	} cases[] = {
		{{"s.web", "--", "echo", "a  b", NULL}, NULL, "a  b\n", "", 0},
		{{"web", "--", "exit", "7", NULL}, NULL, "", "", 7},
		{{"we", "--", "exit", "0", NULL}, NULL, "", "", 0},
		{{"-i", "web", "--", "cat", NULL}, "there and back", "there and back", "", 0},
		{{"web", "--", "cat", NULL}, "not forwarded", "", "", 0},
		{{"--vm", "web", "--", "echo", "x", NULL}, NULL, "x\n", "", 0},
		{{"web", "--", "nonsense", NULL},
		 NULL,
		 "",
		 "fcvm: error: command not found\n",
		 127},
	};
	auto_vm struct rig r;

	make(&r);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_run struct run_result run = RUN_INIT;
		const char *argv[16] = {run_fcvm_path(), "--data-dir", r.data, "exec"};

		for (size_t n = 0; cases[i].words[n]; n++)
			argv[4 + n] = cases[i].words[n];
		run_argv(&run, argv, NULL, cases[i].input, 20000);
		cr_expect_eq(run.status, cases[i].status, "case %zu: %d %s", i, run.status,
			     buf_str(&run.err));
		cr_expect_str_eq(buf_str(&run.out), cases[i].out, "case %zu", i);
		cr_expect_str_eq(buf_str(&run.err), cases[i].says, "case %zu", i);
	}
}

Test(exec, what_cannot_be_run_is_said_and_is_125_or_a_usage_error)
{
	static const struct {
		const char *words[8];
		const char *says;
		int status;
	} cases[] = {
		{{"web", NULL}, "fcvm: error: exec: expected VM -- CMD...", 3},
		{{"web", "echo", "x", NULL}, "fcvm: error: exec: expected VM -- CMD...", 3},
		{{"--vm", "-c", "main", "web", "--", "echo", NULL},
		 "fcvm: error: options '--vm' and '--container' exclude each other",
		 3},
		{{"-it", "web", "--", "echo", NULL}, "fcvm: error: option '-t': stdin is not", 3},
		{{"nothing", "--", "echo", NULL}, "fcvm: error: ", 125},
	};
	auto_vm struct rig r;

	make(&r);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_run struct run_result run = RUN_INIT;
		const char *argv[16] = {run_fcvm_path(), "--data-dir", r.data, "exec"};

		for (size_t n = 0; cases[i].words[n]; n++)
			argv[4 + n] = cases[i].words[n];
		run_argv(&run, argv, NULL, NULL, 20000);
		cr_expect_eq(run.status, cases[i].status, "case %zu: %s", i, buf_str(&run.err));
		cr_expect_eq(strncmp(buf_str(&run.err), cases[i].says, strlen(cases[i].says)), 0,
			     "case %zu: %s", i, buf_str(&run.err));
	}
}

Test(exec, a_vm_that_has_ended_is_named_with_its_state)
{
	auto_vm struct rig r;
	auto_run struct run_result run = RUN_INIT;
	struct supervisor_call call;

	make(&r);
	call = rig_call(r.dir, 10000);
	cr_assert_geq(supervisor_stop(&call, 0, NULL), 0);
	const char *const argv[] = {run_fcvm_path(), "--data-dir", r.data, "exec",
				    "web",           "--",         "echo", NULL};

	run_argv(&run, argv, NULL, NULL, 20000);
	cr_expect_eq(run.status, 125);
	cr_expect_str_eq(buf_str(&run.err),
			 "fcvm: error: VM 'web' is not running, it is stopped\n");
}
