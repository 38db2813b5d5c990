/* The manual workflow: snapshot create, ls, run, serve, rm; stop, rm and logs of VMs. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apply_rig.h"
#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "parse.h"
#include "xalloc.h"

TestSuite(snapshot, .fini = apply_rig_cleanup);
TestSuite(snapshot_firecracker, .fini = apply_rig_cleanup);

#define KEEP "--set", "baselines.web.keep_running=true"

/* A fleet whose baseline goes on, and a snapshot "warm" of that baseline. */
static void begin(struct apply_rig *r)
{
	apply_rig_make(r, 1, false);
	apply_rig_run(r, 0, "apply", r->spec, KEEP, NULL);
	apply_rig_run(r, 0, "snapshot", "create", "web", "--tag", "warm", NULL);
}

static void finish(struct apply_rig *r)
{
	apply_rig_run(r, 0, "destroy", "default", NULL);
	apply_rig_finish(r);
}

APPLY_TEST(snapshot, a_clone_of_a_running_vm_runs_a_command_and_is_gone)
{
	auto_apply_rig struct apply_rig r;
	const struct run_result *out;

	begin(&r);
	cr_expect_str_eq(apply_rig_text(&r, "web", "state"), "ready", "the source goes on");
	out = apply_rig_run(&r, 0, "snapshot", "run", "--network", "none", "--snapshot", "warm",
			    "--exec", "echo a b", NULL);
	cr_expect_str_eq(buf_str(&out->out), "a b\n");
	apply_rig_run(&r, 7, "snapshot", "run", "--network", "none", "--snapshot", "warm", "--exec",
		      "exit 7", NULL);
	cr_expect_eq(apply_rig_count(&r, "clone", "ready"), 1);
	finish(&r);
}

/* The snapshot "warm" in the array that `snapshot ls` gives programs. */
static void expect_listed(struct apply_rig *r, const char *option, const char *value)
{
	const struct run_result *out = apply_rig_run(r, 0, "snapshot", "ls", option, value, NULL);
	auto_free char *from = xasprintf("%s.web", r->name);
	auto_json struct json_object *rows = NULL;
	size_t found = 0;

	cr_assert_geq(json_parse(buf_str(&out->out), out->out.len, &rows, NULL), 0);
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		if (strcmp(json_opt_str(row, "name", ""), "warm") != 0)
			continue;
		found++;
		cr_expect_str_eq(json_opt_str(row, "set", ""), r->name);
		cr_expect_str_eq(json_opt_str(row, "state", ""), "ready");
		cr_expect_str_eq(json_opt_str(row, "from", ""), from);
		cr_expect_gt(json_opt_u64(row, "size_bytes", 0), 0);
	}
	cr_expect_eq(found, 1, "%s", buf_str(&out->out));
}

Test(snapshot, the_next_apply_leaves_it_alone_and_destroy_takes_it)
{
	auto_apply_rig struct apply_rig r;

	begin(&r);
	const struct run_result *out = apply_rig_run(&r, 0, "apply", r.spec, KEEP, NULL);
	cr_expect_str_eq(buf_str(&out->out), "no changes\n");
	out = apply_rig_run(&r, 0, "snapshot", "ls", NULL);
	cr_expect(strstr(buf_str(&out->out), "warm"));
	expect_listed(&r, "--json", NULL);
	expect_listed(&r, "--format", "json");
	apply_rig_finish(&r);
}

Test(snapshot, names_that_are_taken_or_unknown_are_told)
{
	auto_apply_rig struct apply_rig r;

	begin(&r);
	const struct run_result *out =
		apply_rig_run(&r, 3, "snapshot", "create", "web", "--tag", "warm", NULL);
	cr_expect(strstr(buf_str(&out->err), "there is a snapshot 'warm' already"));
	apply_rig_run(&r, 3, "snapshot", "create", "web-0", "--tag", "of-a-clone", NULL);
	out = apply_rig_run(&r, 0, "snapshot", "ls", NULL);
	cr_expect_not(strstr(buf_str(&out->out), "of-a-clone"), "a failed one leaves nothing");
	out = apply_rig_run(&r, 3, "snapshot", "run", "--snapshot", "cold", NULL);
	cr_expect(strstr(buf_str(&out->err), "no snapshot is called 'cold'"));
	out = apply_rig_run(&r, 3, "snapshot", "run", NULL);
	cr_expect(strstr(buf_str(&out->err), "give either --pid SERVE_PID or --snapshot NAME"));
	out = apply_rig_run(&r, 3, "snapshot", "run", "--pid", "1", NULL);
	cr_expect(strstr(buf_str(&out->err), "process 1 serves no snapshot"));
	apply_rig_run(&r, 0, "snapshot", "rm", "warm", NULL);
	apply_rig_run(&r, 3, "snapshot", "rm", "warm", NULL);
	apply_rig_finish(&r);
}

/* `snapshot serve warm` in the background; its first line is the server's pid. */
static pid_t serve(struct apply_rig *r, char ret_pid[32])
{
	int out[2];
	size_t n = 0;

	cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		(void)dup2(out[1], STDOUT_FILENO);
		execl(r->fcvm, "fcvm", "--data-dir", r->data, "snapshot", "serve", "warm",
		      (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	while (n < 31 && io_read_full(out[0], ret_pid + n, 1, deadline_in(20000), NULL) == 0 &&
	       ret_pid[n] != '\n')
		n++;
	ret_pid[n] = '\0';
	close(out[0]);
	return pid;
}

APPLY_TEST(snapshot, a_server_in_the_foreground_feeds_clones_and_ends_with_its_command)
{
	auto_apply_rig struct apply_rig r;
	char server[32];
	uint64_t pid = 0;
	int status = -1;

	begin(&r);
	pid_t command = serve(&r, server);
	cr_assert_eq(parse_u64(server, 2, INT32_MAX, &pid, NULL), 0, "'%s'", server);
	const struct run_result *out =
		apply_rig_run(&r, 0, "snapshot", "run", "--network", "none", "--pid", server,
			      "--exec", "echo served", NULL);
	cr_expect_str_eq(buf_str(&out->out), "served\n");
	out = apply_rig_run(&r, 3, "snapshot", "rm", "warm", NULL);
	cr_expect(strstr(buf_str(&out->err), "is in use by default.warm/"));
	cr_assert_eq(kill(command, SIGINT), 0);
	cr_assert_eq(waitpid(command, &status, 0), command);
	cr_expect_eq(status, 0);
	cr_expect_eq(apply_rig_count(&r, "memserver", "ready"), 1, "only the fleet's is left");
	finish(&r);
}

/* Its record has a name that nobody was told. */
Test(snapshot, a_server_in_the_foreground_that_fails_to_start_leaves_nothing)
{
	auto_apply_rig struct apply_rig r;

	begin(&r);
	auto_free char *pattern = path_join(r.data, "sets/*/snapshots/warm/*/memory");
	glob_t found;
	cr_assert_eq(glob(pattern, 0, NULL, &found), 0);
	cr_assert_eq(found.gl_pathc, 1);
	cr_assert_eq(truncate(found.gl_pathv[0], 0), 0);
	globfree(&found);
	const struct run_result *out = apply_rig_run(&r, 1, "snapshot", "serve", "warm", NULL);
	cr_expect(strstr(buf_str(&out->err), "page server of"), "%s", buf_str(&out->err));
	auto_free char *records = path_join(r.data, "sets/default/records/memserver/*");
	cr_expect_eq(glob(records, 0, NULL, &found), GLOB_NOMATCH, "a record is left");
	finish(&r);
}

Test(snapshot, stop_keeps_the_log_and_rm_takes_everything)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	auto_free char *name = xasprintf("%s.web-0", r.name);
	apply_rig_run(&r, 3, "stop", "web", NULL); /* a prefix is not enough */
	apply_rig_run(&r, 0, "stop", name, NULL);
	apply_rig_run(&r, 0, "stop", name, NULL);
	apply_rig_run(&r, 0, "logs", "web-0", NULL);
	apply_rig_run(&r, 0, "rm", name, NULL);
	apply_rig_run(&r, 3, "rm", name, NULL);
	cr_expect_eq(apply_rig_count(&r, "clone", "stopped"), 0);
	apply_rig_finish(&r);
}
