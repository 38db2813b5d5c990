#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "step.h"

Test(step, a_line_is_progress_or_the_result)
{
	struct step_result res = {0};
	auto_free char *say = NULL;
	struct err err = {0};

	const char *line = "{\"say\":\"booting\"}";
	cr_expect_eq(step_parse_line(line, strlen(line), &say, &res, &err), 1);
	cr_expect_str_eq(say, "booting");
	line = "{\"ok\":true,\"record\":{\"key\":\"k\"}}";
	cr_expect_eq(step_parse_line(line, strlen(line), &say, &res, &err), 2);
	cr_expect(res.ok);
	cr_expect_str_eq(json_opt_str(res.record, "key", ""), "k");
	step_result_clear(&res);
	line = "{\"ok\":false,\"class\":2,\"code\":-12,\"msg\":\"no room\",\"hint\":\"buy some\"}";
	cr_expect_eq(step_parse_line(line, strlen(line), &say, &res, &err), 2);
	cr_expect_not(res.ok);
	cr_expect_eq(res.err.class, ERR_HOST);
	cr_expect_eq(res.err.code, -ENOMEM);
	cr_expect_str_eq(res.err.msg, "no room");
	cr_expect_str_eq(res.err.hint, "buy some");
	step_result_clear(&res);
}

Test(step, hostile_lines_are_errors_or_failures_and_never_success)
{
	static const char *const lines[] = {
		"",
		"{",
		"[]",
		"{}",
		"7",
		"null",
		"\"ok\"",
		"{\"ok\":1}",
		"{\"ok\":null}",
		"{\"ok\":false,\"class\":99,\"code\":5}",
		"{\"ok\":\"true\"}",
		"{\"say\":7}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct step_result res = {0};
		auto_free char *say = NULL;
		struct err err = {0};
		int r = step_parse_line(lines[i], strlen(lines[i]), &say, &res, &err);

		cr_expect_not(r == 2 && res.ok, "'%s'", lines[i]);
		cr_expect_neq(r, 1, "'%s'", lines[i]);
		if (r == 2)
			cr_expect_lt(res.err.code, 0, "'%s'", lines[i]);
		step_result_clear(&res);
	}
}
