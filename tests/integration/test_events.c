#include <criterion/criterion.h>
#include <string.h>

#include "apply_rig.h"
#include "cleanup.h"
#include "xalloc.h"

TestSuite(events, .fini = apply_rig_cleanup);

static bool says(const struct run_result *out, const char *text)
{
	return strstr(buf_str(&out->out), text) != NULL;
}

Test(events, are_printed_as_they_were_written_oldest_first)
{
	auto_apply_rig struct apply_rig r;
	const struct run_result *out;

	apply_rig_make(&r, 1, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	out = apply_rig_run(&r, 0, "events", NULL);
	cr_expect_eq(strncmp(buf_str(&out->out), "{\"v\":\"1.0\",\"seq\":0,", 19), 0);
	cr_expect(says(out, "\"type\":\"ready\",\"resource\":\"clone/web-0\""));
	out = apply_rig_run(&r, 0, "events", r.name, NULL);
	cr_expect(says(out, "\"type\":\"summary\""));
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
	cr_expect(says(out,
		       "\"type\":\"drift\",\"resource\":\"clone/web-1\",\"action\":\"replace\","
		       "\"reason\":\"stopped by hand\"}\n"),
		  "%s", buf_str(&out->out));
	cr_expect_not(says(out, "\"type\":\"drift\",\"resource\":\"clone/web-0\""));
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
