#include "log.h"

#include "buf.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

static void collect(enum log_level level, const char *line, void *data)
{
	buf_addf(data, "%d|%s\n", (int)level, line);
}

Test(log, lines_carry_their_level_and_lesser_ones_are_dropped)
{
	auto_buf struct buf out = BUF_INIT(SIZE_MAX);

	log_set_sink(collect, &out);
	log_setup(LOG_INFO, false);
	log_info("built %d", 3);
	log_warn("slow");
	log_debug("hidden");
	log_msg(LOG_ERROR, "bad");
	cr_expect_str_eq(buf_str(&out),
			 "2|fcvm: info: built 3\n1|fcvm: warn: slow\n0|fcvm: error: bad\n");
}

Test(log, an_error_is_a_line_and_its_hint_another)
{
	auto_buf struct buf out = BUF_INIT(SIZE_MAX);
	struct err err = {0};

	log_set_sink(collect, &out);
	log_setup(LOG_ERROR, false);
	err_set(&err, ERR_SPEC, -EINVAL, "no such field");
	log_err(&err);
	err_hint(&err, "see 'fcvm explain'");
	log_err(&err);
	cr_expect_str_eq(buf_str(&out), "0|fcvm: error: no such field\n"
					"0|fcvm: error: no such field\n"
					"0|hint: see 'fcvm explain'\n");
}

Test(log, guests_cannot_talk_to_the_terminal)
{
	auto_buf struct buf out = BUF_INIT(SIZE_MAX);

	log_set_sink(collect, &out);
	log_setup(LOG_INFO, false);
	log_info("%s", "a\x1b]0;x\x07\r\tb\x7f");
	cr_expect_str_eq(buf_str(&out), "2|fcvm: info: a?]0;x??\tb?\n");
}

Test(log, json_lines_are_escaped_and_timed)
{
	auto_buf struct buf out = BUF_INIT(SIZE_MAX);
	struct err err = {0};

	log_set_sink(collect, &out);
	log_setup(LOG_INFO, true);
	err_set(&err, ERR_SPEC, -EINVAL, "a \"b\" \\ \n\x01");
	err_hint(&err, "h");
	log_err(&err);
	cr_expect_eq(strncmp(buf_str(&out), "0|{\"t\":\"20", 10), 0);
	const char *rest = strstr(buf_str(&out), ",\"level\"");
	cr_assert_not_null(rest);
	cr_expect_str_eq(rest, ",\"level\":\"error\",\"msg\":\"a \\\"b\\\" \\\\ \\u000a\\u0001\","
			       "\"hint\":\"h\"}\n");
}

Test(log, a_huge_message_is_cut_and_still_json)
{
	auto_buf struct buf out = BUF_INIT(SIZE_MAX);
	static char huge[100000];

	memset(huge, 1, sizeof(huge) - 1);
	log_set_sink(collect, &out);
	log_setup(LOG_INFO, true);
	log_info("%s", huge);
	cr_expect_str_eq(out.data + out.len - 3, "\"}\n");
}

Test(log, errno_survives)
{
	auto_buf struct buf out = BUF_INIT(SIZE_MAX);

	log_set_sink(collect, &out);
	errno = EXDEV;
	log_info("x");
	cr_expect_eq(errno, EXDEV);
}

Test(log, levels_are_parsed_by_name)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	enum log_level level = LOG_INFO;
	struct err err = {0};

	for (int i = 0; i < 4; i++) {
		cr_expect_eq(log_parse_level(names[i], &level, NULL), 0);
		cr_expect_eq((int)level, i);
	}
	cr_expect_eq(log_parse_level("loud", &level, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "expected error, warn, info or debug, got 'loud'");
}
