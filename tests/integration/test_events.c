#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "apply_rig.h"
#include "cleanup.h"
#include "event_lines.h"
#include "io.h"
#include "xalloc.h"

TestSuite(events, .fini = apply_rig_cleanup);
TestSuite(events_firecracker, .fini = apply_rig_cleanup);

Test(events, are_printed_as_they_were_written_oldest_first)
{
	auto_apply_rig struct apply_rig r;
	const struct run_result *out;

	apply_rig_make(&r, 1, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	out = apply_rig_run(&r, 0, "events", NULL);
	auto_free char *first = xstrndup(buf_str(&out->out), strcspn(buf_str(&out->out), "\n") + 1);
	auto_json struct json_object *version = event_last(first, "type", "version", NULL);
	cr_assert_not_null(version, "%s", first);
	cr_expect_str_eq(json_opt_str(version, "v", ""), "1.0");
	cr_expect_eq(json_opt_u64(version, "seq", 9), 0);
	cr_expect_eq(
		event_count(buf_str(&out->out), "type", "ready", "resource", "clone/web-0", NULL),
		1);
	out = apply_rig_run(&r, 0, "events", r.name, NULL);
	cr_expect_eq(event_count(buf_str(&out->out), "type", "summary", NULL), 1);
	out = apply_rig_run(&r, 3, "events", "nosuch", NULL);
	cr_expect_str_eq(buf_str(&out->err), "fcvm: error: there is no set 'nosuch'\n");
	apply_rig_finish(&r);
	out = apply_rig_run(&r, 0, "events", NULL);
	cr_expect_str_eq(buf_str(&out->out), "");
	out = apply_rig_run(&r, 3, "events", "-f", NULL);
	cr_expect_str_eq(buf_str(&out->err),
			 "fcvm: error: events -f follows one set, and there are 0\n"
			 "hint: for example: fcvm events -f hello\n");
}

Test(events, what_is_not_as_it_was_left_is_drift)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 2, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	auto_free char *name = xasprintf("%s.web-1", r.name);
	apply_rig_run(&r, 0, "stop", name, NULL);
	const struct run_result *out = apply_rig_run(&r, 0, "apply", r.spec, "--json", NULL);
	cr_expect_eq(event_count(buf_str(&out->out), "type", "drift", "resource", "clone/web-1",
				 "action", "replace", "reason", "stopped by hand", NULL),
		     1, "%s", buf_str(&out->out));
	cr_expect_eq(event_count(buf_str(&out->out), "type", "drift", NULL), 1);
	apply_rig_finish(&r);
}

/* Asks until there is one. */
static struct json_object *await_event(struct apply_rig *r, const char *resource, const char *state)
{
	const uint64_t deadline_ms = deadline_in(30000);
	struct json_object *o = NULL;

	while (!o) {
		const struct run_result *out = apply_rig_run(r, 0, "events", NULL);

		o = event_last(buf_str(&out->out), "type", "state", "resource", resource, "state",
			       state, NULL);
		cr_assert(o || now_ms() < deadline_ms, "no %s of %s: %s", state, resource,
			  buf_str(&out->out));
	}
	return o;
}

APPLY_TEST(events, what_happens_while_nobody_looks_is_kept)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 2, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	/* What apply made, apply tells of. */
	const struct run_result *out = apply_rig_run(&r, 0, "events", NULL);
	cr_expect_eq(
		event_count(buf_str(&out->out), "type", "state", "resource", "clone/web-0", NULL),
		0, "%s", buf_str(&out->out));
	pid_t vmm = (pid_t)apply_rig_number(&r, "web-1", "pid");
	cr_assert_gt(vmm, 0);
	cr_assert_eq(kill(vmm, SIGKILL), 0);
	auto_json struct json_object *o = await_event(&r, "clone/web-1", "failed");
	cr_expect_str_eq(json_opt_str(o, "ended", ""), "crashed");
	cr_expect_str_eq(json_opt_str(o, "health", ""), "none");
	cr_expect_neq(json_opt_str(o, "error", "")[0], '\0');
	cr_expect_neq(json_opt_str(o, "t", "")[0], '\0');
	cr_expect_eq(json_opt_u64(o, "restarts", 9), 0);
	out = apply_rig_run(&r, 0, "events", NULL);
	cr_expect_eq(
		event_count(buf_str(&out->out), "type", "state", "resource", "clone/web-0", NULL),
		0);
	apply_rig_finish(&r);
}

APPLY_TEST(events, a_restart_is_told_step_by_step)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	apply_rig_spec(&r, 64, 1, "    restart: on-failure\n");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_assert_eq(kill((pid_t)apply_rig_number(&r, "web-0", "pid"), SIGKILL), 0);
	auto_json struct json_object *failed = await_event(&r, "clone/web-0", "failed");
	auto_json struct json_object *ready = await_event(&r, "clone/web-0", "ready");
	cr_expect_eq(json_opt_u64(failed, "restarts", 9), 0);
	cr_expect_eq(json_opt_u64(ready, "restarts", 9), 1);
	cr_expect_null(json_opt_str(ready, "ended", NULL));
	const struct run_result *out = apply_rig_run(&r, 0, "events", NULL);
	const char *text = buf_str(&out->out);
	const char *const once[] = {"failed", "creating", "ready"};
	for (size_t i = 0; i < ARRAY_SIZE(once); i++)
		cr_expect_eq(event_count(text, "type", "state", "resource", "clone/web-0", "state",
					 once[i], NULL),
			     1, "%s: %s", once[i], text);
	cr_expect_eq(json_opt_u64(failed, "seq", 9), 0);
	cr_expect_eq(event_count(text, "type", "state", "resource", "clone/web-0", NULL),
		     json_opt_u64(ready, "seq", 0) + 1, "none is missing: %s", text);
	apply_rig_finish(&r);
}

Test(events, a_file_that_cannot_be_written_is_no_run_that_was_cut_off)
{
	auto_apply_rig struct apply_rig r;
	const struct run_result *out;

	apply_rig_make(&r, 1, false);
	out = apply_rig_run(&r, 1, "apply", r.spec, "--events", "/nonexistent/x", NULL);
	cr_expect_str_eq(buf_str(&out->err),
			 "fcvm: error: cannot write events to '/nonexistent/x': "
			 "No such file or directory\n");
	out = apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_null(strstr(buf_str(&out->err), "cut off"), "%s", buf_str(&out->err));
	apply_rig_finish(&r);
}
