#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "journal.h"
#include "json.h"
#include "run.h"

static const char *no_env(const char *name)
{
	(void)name;
	return NULL;
}

static const struct host host = {.unix_ms = io_unix_ms, .getenv = no_env};

static void put(const char *dir, const char *text)
{
	auto_free char *path = path_join(dir, "journal");

	cr_assert_eq(file_replace(path, text, strlen(text), 0600, NULL), 0);
}

static struct journal_last reopen(const char *dir)
{
	struct journal *j = NULL;
	struct journal_last last;
	struct err err = {0};

	cr_assert_eq(journal_open(&host, dir, "0badcafe", "apply", &j, &last, &err), 0, "%s",
		     err.msg);
	cr_assert_eq(journal_close(j, "done", NULL), 0);
	return last;
}

Test(journal, entries_are_json_lines_in_order)
{
	auto_tmpdir char *dir = tmpdir_new("journal");
	auto_free char *path = path_join(dir, "journal");
	auto_buf struct buf text = BUF_INIT(65536);
	struct journal *j = NULL;

	cr_assert_eq(journal_open(&host, dir, "0badcafe", "apply", &j, NULL, NULL), 0);
	cr_assert_eq(journal_add(j, "intent", "clone/web-0", "create", NULL), 0);
	cr_assert_eq(journal_add(j, "done", "clone/web-0", NULL, NULL), 0);
	cr_assert_eq(journal_close(j, "done", NULL), 0);
	cr_assert_eq(file_read(path, 65536, &text, NULL), 0);
	static const char *const ops[] = {"begin", "intent", "done", "end"};
	const char *line = buf_str(&text);
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		auto_json struct json_object *o = NULL;
		size_t len = strcspn(line, "\n");

		cr_assert_eq(json_parse(line, len, &o, NULL), 0);
		cr_expect_str_eq(json_opt_str(o, "op", ""), ops[i]);
		cr_expect_str_eq(json_opt_str(o, "run", ""), "0badcafe");
		cr_expect_eq(strlen(json_opt_str(o, "t", "")), 24);
		line += len + 1;
	}
	cr_expect_eq(*line, '\0');
}

Test(journal, a_run_without_an_end_is_told_with_its_last_intent)
{
	auto_tmpdir char *dir = tmpdir_new("journal");
	struct journal *j = NULL;

	cr_assert_eq(journal_open(&host, dir, "00000001", "apply", &j, NULL, NULL), 0);
	cr_assert_eq(journal_add(j, "intent", "clone/web-0", "create", NULL), 0);
	journal_drop_p(&j);
	struct journal_last last = reopen(dir);
	cr_expect(last.unfinished);
	cr_expect_str_eq(last.run, "00000001");
	cr_expect_str_eq(last.doing, "create clone/web-0");
	last = reopen(dir);
	cr_expect_not(last.unfinished, "the run that found it has ended");
}

Test(journal, torn_and_foreign_lines_are_skipped_and_never_swallow_the_next)
{
	static const char *const texts[] = {
		"{\"op\":\"begin\",\"run\":\"00000001\"}\n{\"op\":\"int",
		"garbage\n[1,2]\n{\"op\":\"begin\",\"run\":\"00000001\"}\n\n\n{}\n{\"op\":7}\n",
		("{\"op\":\"begin\",\"run\":\"0000000123456789\","
		 "\"t\":\"a much longer text than any time\"}\n"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		auto_tmpdir char *dir = tmpdir_new("journal");

		put(dir, texts[i]);
		cr_expect(reopen(dir).unfinished, "text %zu", i);
		cr_expect_not(reopen(dir).unfinished, "text %zu", i);
	}
}

Test(journal, a_large_one_is_turned_over)
{
	auto_tmpdir char *dir = tmpdir_new("journal");
	auto_free char *path = path_join(dir, "journal");
	auto_free char *old = path_join(dir, "journal.1");
	struct stat st;

	put(dir, "");
	cr_assert_eq(truncate(path, JOURNAL_MAX + 1), 0);
	(void)reopen(dir);
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_lt(st.st_size, 4096);
	cr_expect(file_exists(old));
}

Test(journal, a_link_in_its_place_is_refused)
{
	auto_tmpdir char *dir = tmpdir_new("journal");
	auto_free char *path = path_join(dir, "journal");
	struct journal *j = NULL;

	cr_assert_eq(symlink("/etc/passwd", path), 0);
	cr_expect_lt(journal_open(&host, dir, "0badcafe", "apply", &j, NULL, NULL), 0);
}

Test(journal, entries_of_forked_steps_do_not_mix)
{
	auto_tmpdir char *dir = tmpdir_new("journal");
	auto_free char *path = path_join(dir, "journal");
	auto_buf struct buf text = BUF_INIT(1u << 20);
	struct journal *j = NULL;
	size_t lines = 0;

	cr_assert_eq(journal_open(&host, dir, "0badcafe", "apply", &j, NULL, NULL), 0);
	for (int child = 0; child < 4; child++) {
		if (fork() != 0)
			continue;
		for (int i = 0; i < 50; i++)
			(void)journal_add(j, "note", "clone/web-0", "something that takes space",
					  NULL);
		_exit(0);
	}
	while (wait(NULL) > 0)
		;
	cr_assert_eq(journal_close(j, "done", NULL), 0);
	cr_assert_eq(file_read(path, 1u << 20, &text, NULL), 0);
	for (const char *line = buf_str(&text); *line; line += strcspn(line, "\n") + 1) {
		auto_json struct json_object *o = NULL;

		cr_expect_eq(json_parse(line, strcspn(line, "\n"), &o, NULL), 0);
		lines++;
	}
	cr_expect_eq(lines, 202);
}
