#include "err.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

Test(err, set_writes_class_code_and_sentence_and_clears_the_hint)
{
	struct err err = {.hint = "old"};

	cr_expect_eq(err_set(&err, ERR_SPEC, -EINVAL, "count: got '%s'", "many"), -EINVAL);
	cr_expect_eq(err.class, ERR_SPEC);
	cr_expect_eq(err.code, -EINVAL);
	cr_expect_str_eq(err.msg, "count: got 'many'");
	cr_expect_str_eq(err.hint, "");
}

Test(err, sys_adds_the_reason_of_errno)
{
	struct err err = {0};

	errno = ENOENT;
	cr_expect_eq(err_sys(&err, "cannot open '%s'", "x"), -ENOENT);
	cr_expect_str_eq(err.msg, "cannot open 'x': No such file or directory");
	cr_expect_eq(err.class, ERR_FAILED);
	cr_expect_eq(err_sys_code(&err, -EBUSY, "cannot stop"), -EBUSY);
	cr_expect_str_eq(err.msg, "cannot stop: Device or resource busy");
}

Test(err, wrap_puts_words_before_and_keeps_class_code_and_hint)
{
	struct err err = {0};

	err_set(&err, ERR_BUSY, -EBUSY, "held");
	err_hint(&err, "wait");
	cr_expect_eq(err_wrap(&err, "lock '%s'", "a"), -EBUSY);
	cr_expect_str_eq(err.msg, "lock 'a': held");
	cr_expect_str_eq(err.hint, "wait");
	cr_expect_eq(err.class, ERR_BUSY);
}

Test(err, arguments_may_point_into_the_error_itself)
{
	struct err err = {0};

	err_set(&err, ERR_SPEC, -EINVAL, "inner");
	err_set(&err, ERR_SPEC, -EINVAL, "outer: %s", err.msg);
	cr_expect_str_eq(err.msg, "outer: inner");
	err_wrap(&err, "%s again", err.msg);
	cr_expect_str_eq(err.msg, "outer: inner again: outer: inner");
	err_hint(&err, "see %s", err.msg);
	cr_expect_str_eq(err.hint, "see outer: inner again: outer: inner");
}

Test(err, long_sentences_are_cut_and_stay_terminated)
{
	char text[4096];
	struct err err = {0};

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	err_set(&err, ERR_FAILED, -EIO, "%s", text);
	cr_expect_eq(strlen(err.msg), sizeof(err.msg) - 1);
	err_hint(&err, "%s", text);
	cr_expect_eq(strlen(err.hint), sizeof(err.hint) - 1);
	err_wrap(&err, "%s", text);
	cr_expect_eq(strlen(err.msg), sizeof(err.msg) - 1);
}

Test(err, a_null_error_drops_the_sentence_and_keeps_the_code)
{
	errno = EPERM;
	cr_expect_eq(err_sys(NULL, "x"), -EPERM);
	cr_expect_eq(err_set(NULL, ERR_HOST, -EPERM, "x"), -EPERM);
	cr_expect_eq(err_sys_code(NULL, -ESRCH, "x"), -ESRCH);
	cr_expect_eq(err_wrap(NULL, "x"), -ESRCH, "wrapping does not lose it either");
	cr_expect_eq(err_hint(NULL, "x"), -ESRCH);
}

Test(err, every_class_has_the_exit_status_of_the_table)
{
	static const struct {
		enum err_class class;
		int status;
	} cases[] = {
		{ERR_FAILED, 1},    {ERR_SPEC, 3},          {ERR_HOST, 4},     {ERR_INCOMPLETE, 5},
		{ERR_NOT_READY, 6}, {ERR_BUSY, 7},          {ERR_CLEANUP, 10}, {ERR_TIMEOUT, 124},
		{ERR_GUEST, 1},     {ERR_INTERRUPTED, 130},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = {.class = cases[i].class};
		cr_expect_eq(err_exit_status(&err), cases[i].status, "class %d", cases[i].class);
	}
}
