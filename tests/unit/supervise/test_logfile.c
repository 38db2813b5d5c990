#include "logfile.h"

#include <criterion/criterion.h>
#include <string.h>

#include "cleanup.h"
#include "file.h"
#include "run.h"

static void add(struct logfile *f, const char *text, bool is_stderr, bool partial)
{
	const struct logfile_line line = {.unix_ns = UINT64_C(1767323045123456789),
					  .is_stderr = is_stderr,
					  .partial = partial,
					  .text = text,
					  .len = strlen(text)};

	logfile_add(f, &line);
}

static char *content(const char *dir, const char *name)
{
	auto_free char *path = path_join(dir, name);
	auto_buf struct buf text = BUF_INIT(1u << 20);

	if (file_read(path, text.max - 1, &text, NULL) < 0)
		return NULL;
	return buf_detach(&text);
}

Test(logfile, times_have_nanoseconds)
{
	char at[LOG_TIME_SIZE];

	logfile_time(UINT64_C(1767323045123456789), at);
	cr_expect_str_eq(at, "2026-01-02T03:04:05.123456789Z");
	logfile_time(0, at);
	cr_expect_str_eq(at, "1970-01-01T00:00:00.000000000Z");
}

Test(logfile, a_line_says_when_where_and_whether_it_goes_on)
{
	auto_tmpdir char *dir = tmpdir_new("logfile");
	auto_free char *path = path_join(dir, "main.log");
	struct logfile f;

	logfile_init(&f, path, 1u << 20);
	add(&f, "hello", false, false);
	add(&f, "", true, false);
	add(&f, "part", true, true);
	add(&f, "two\nlines", false, false);
	logfile_free(&f);
	auto_free char *text = content(dir, "main.log");

	cr_expect_str_eq(text, "2026-01-02T03:04:05.123456789Z stdout F hello\n"
			       "2026-01-02T03:04:05.123456789Z stderr F \n"
			       "2026-01-02T03:04:05.123456789Z stderr P part\n"
			       "2026-01-02T03:04:05.123456789Z stdout F two lines\n");
}

Test(logfile, two_files_hold_the_newest_lines_and_no_more)
{
	auto_tmpdir char *dir = tmpdir_new("logfile");
	auto_free char *path = path_join(dir, "main.log");
	char number[32];
	struct logfile f;

	logfile_init(&f, path, 1000);
	for (int i = 0; i < 100; i++) {
		(void)snprintf(number, sizeof(number), "line %d", i);
		add(&f, number, false, false);
		logfile_flush(&f);
	}
	logfile_free(&f);
	auto_free char *now = content(dir, "main.log"), *before = content(dir, "main.log.1");

	cr_assert(now && before);
	cr_expect_leq(strlen(now), 1000);
	cr_expect_leq(strlen(before), 1000);
	cr_expect(strstr(now, "line 99\n"));
	cr_expect_null(strstr(before, "line 0\n"));
}

Test(logfile, an_existing_file_is_continued_and_counts)
{
	auto_tmpdir char *dir = tmpdir_new("logfile");
	auto_free char *path = path_join(dir, "main.log");
	struct logfile f;

	for (int i = 0; i < 2; i++) {
		logfile_init(&f, path, 60);
		add(&f, i ? "two" : "one", false, false);
		logfile_free(&f);
	}
	auto_free char *now = content(dir, "main.log"), *before = content(dir, "main.log.1");

	cr_assert(now && before);
	cr_expect(strstr(before, " one\n"));
	cr_expect(strstr(now, " two\n"));
}
