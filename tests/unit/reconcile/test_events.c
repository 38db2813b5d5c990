#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "eventlog.h"
#include "events.h"
#include "file.h"
#include "io.h"
#include "run.h"
#include "xalloc.h"

Test(events, each_is_one_line_with_a_number_and_a_time_the_first_is_the_version)
{
	static const struct host host = {.unix_ms = io_unix_ms};
	auto_tmpdir char *dir = tmpdir_new("events");
	auto_free char *own = path_join(dir, "events.jsonl");
	auto_free char *other = path_join(dir, "other");
	auto_buf struct buf a = BUF_INIT(65536), b = BUF_INIT(65536);
	struct events *e = NULL;
	struct err err = {0};

	cr_assert_eq(events_open(&host, dir, other, false, &e, &err), 0, "%s", err.msg);
	struct json_object *o = events_new(e, "summary");
	json_add_str(o, "text", "line\nbreak");
	events_emit(e, o);
	events_close_p(&e);
	cr_assert_eq(file_read(own, 65536, &a, &err), 0);
	cr_assert_eq(file_read(other, 65536, &b, &err), 0);
	cr_expect_str_eq(buf_str(&a), buf_str(&b));
	const char *line = buf_str(&a);
	static const char *const types[] = {"version", "summary"};
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		auto_json struct json_object *parsed = NULL;

		cr_assert_eq(json_parse(line, strcspn(line, "\n"), &parsed, NULL), 0);
		cr_expect_str_eq(json_opt_str(parsed, "type", ""), types[i]);
		cr_expect_eq(json_opt_u64(parsed, "seq", 99), i);
		cr_expect_eq(strlen(json_opt_str(parsed, "t", "")), 24);
		line += strcspn(line, "\n") + 1;
	}
	cr_expect_eq(*line, '\0');
}

Test(events, a_file_that_cannot_be_written_is_told_before_anything_happens)
{
	static const struct host host = {.unix_ms = io_unix_ms};
	auto_tmpdir char *dir = tmpdir_new("events");
	struct events *e = NULL;
	struct err err = {0};

	cr_expect_lt(events_open(&host, dir, "/nonexistent/x", false, &e, &err), 0);
	cr_expect_str_eq(err.msg,
			 "cannot write events to '/nonexistent/x': No such file or directory");
}

/* Supervisors do that, too, and who follows has done with the old one. */
Test(events, what_comes_after_its_log_was_turned_over_is_in_the_new_one)
{
	static const struct host host = {.unix_ms = io_unix_ms};
	auto_tmpdir char *dir = tmpdir_new("events");
	auto_free char *own = path_join(dir, EVENTLOG_NAME);
	auto_free char *old = path_join(dir, EVENTLOG_NAME EVENTLOG_OLD);
	auto_free char *asked = path_join(dir, "asked");
	auto_buf struct buf before = BUF_INIT(4096), after = BUF_INIT(4096), all = BUF_INIT(4096);
	auto_events struct events *e = NULL;

	cr_assert_eq(events_open(&host, dir, asked, false, &e, NULL), 0);
	cr_assert_eq(rename(own, old), 0);
	events_emit(e, events_new(e, "summary"));
	cr_assert_eq(file_read(own, 4096, &after, NULL), 0);
	cr_assert_eq(file_read(old, 4096, &before, NULL), 0);
	cr_assert_eq(file_read(asked, 4096, &all, NULL), 0);
	cr_expect(strstr(buf_str(&before), "\"version\""), "%s", buf_str(&before));
	cr_expect_not(strstr(buf_str(&before), "\"summary\""), "%s", buf_str(&before));
	cr_expect(strstr(buf_str(&after), "\"summary\""), "%s", buf_str(&after));
	auto_free char *both = xasprintf("%s%s", buf_str(&before), buf_str(&after));
	cr_expect_str_eq(buf_str(&all), both);
}
