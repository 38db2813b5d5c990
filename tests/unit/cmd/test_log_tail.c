#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "log_tail.h"
#include "run.h"
#include "xalloc.h"

struct line_case {
	const char *line;
	bool good, to_stderr, full;
	const char *text;
};

static const struct line_case lines[] = {
	{"2026-01-02T03:04:05.000000000Z stdout F hello there", true, false, true, "hello there"},
	{"2026-01-02T03:04:05.000000000Z stderr P cut", true, true, false, "cut"},
	{"T stdout F ", true, false, true, ""},
	{"T stdout F", false, false, false, NULL},
	{"T std F x", false, false, false, NULL},
	{"T stdout FP x", false, false, false, NULL},
	{"", false, false, false, NULL},
	{"no structure at all", false, false, false, NULL},
};

Test(log_tail, a_line_is_time_stream_mark_and_text)
{
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		const struct line_case *c = &lines[i];
		bool to_stderr = false, full = false;
		const char *text = NULL;
		size_t len = 0;
		bool good =
			log_tail_parse(c->line, strlen(c->line), &to_stderr, &text, &len, &full);

		cr_assert_eq(good, c->good, "'%s'", c->line);
		if (!good)
			continue;
		cr_expect_eq(to_stderr, c->to_stderr);
		cr_expect_eq(full, c->full);
		cr_expect_eq(len, strlen(c->text));
		cr_expect_eq(memcmp(text, c->text, len), 0);
	}
}

static void append(const char *dir, const char *text)
{
	auto_free char *path = xasprintf("%s/logs/main.log", dir);
	auto_close int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* What the tail writes to stdout now. */
static char *pumped(struct log_tail *t)
{
	int fds[2];
	char text[4096];
	struct err err = {0};

	cr_assert_eq(pipe(fds), 0);
	cr_assert_eq(log_tail_pump(t, fds[1], fds[1], &err), 0, "%s", err.msg);
	close(fds[1]);
	ssize_t n = read(fds[0], text, sizeof(text));
	close(fds[0]);
	return xstrndup(text, n > 0 ? (size_t)n : 0);
}

static void expect_pumped(struct log_tail *t, const char *want)
{
	auto_free char *got = pumped(t);

	cr_expect_str_eq(got, want);
}

Test(log_tail, it_follows_growth_rotation_and_a_file_that_comes_later)
{
	auto_tmpdir char *dir = tmpdir_new("tail");
	auto_free char *logs = path_join(dir, "logs");
	auto_free char *path = path_join(logs, "main.log");
	auto_free char *old = path_join(logs, "main.log.1");
	auto_log_tail struct log_tail *t = NULL;

	cr_assert_eq(log_tail_open(dir, NULL, true, &t, NULL), 0);
	expect_pumped(t, "");
	cr_assert_eq(file_mkdir_p(logs, 0700, NULL), 0);
	append(dir, "T stdout F one\nT stdout P t");
	expect_pumped(t, "one\n");
	append(dir, "w\nT stdout F o\n");
	expect_pumped(t, "two\n");
	append(dir, "T stdout F last\n");
	cr_assert_eq(rename(path, old), 0);
	append(dir, "T stderr F first\n");
	expect_pumped(t, "last\nfirst\n");
}

Test(log_tail, from_old_begins_with_what_was_rotated_out)
{
	auto_tmpdir char *dir = tmpdir_new("tail");
	auto_free char *logs = path_join(dir, "logs");
	auto_free char *path = path_join(logs, "main.log");
	auto_free char *old = path_join(logs, "main.log.1");
	auto_log_tail struct log_tail *t = NULL;

	cr_assert_eq(file_mkdir_p(logs, 0700, NULL), 0);
	append(dir, "T stdout F old\n");
	cr_assert_eq(rename(path, old), 0);
	append(dir, "T stdout F new\n");
	cr_assert_eq(log_tail_open(dir, NULL, true, &t, NULL), 0);
	expect_pumped(t, "old\nnew\n");
	expect_pumped(t, "");
}
