#include <criterion/criterion.h>
#include <string.h>

#include "apply_rig.h"
#include "cleanup.h"

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
