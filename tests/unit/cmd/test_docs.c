#include "commands.h"

#include "cleanup.h"
#include "xalloc.h"

#include <criterion/criterion.h>
#include <string.h>

static void page(const char *name, struct buf *out)
{
	auto_free char *word = xstrdup(name);
	char docs[] = "docs", *argv[] = {docs, word, NULL};
	struct command_ctx ctx = {.help = out};
	struct err err = {0};
	int status = 0;

	cr_assert_eq(cmd_internal_docs(&ctx, 2, argv, &status, &err), 0, "%s", err.msg);
}

Test(docs, every_exit_status_of_a_failure_is_in_the_table)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);

	page("commands", &text);
	for (int class = ERR_FAILED; class <= ERR_INTERRUPTED; class ++) {
		struct err err = {.class = (enum err_class) class, .code = -1};
		auto_free char *row = xasprintf("\n| %d | ", err_exit_status(&err));

		cr_expect_not_null(strstr(buf_str(&text), row), "%s", row);
	}
}

Test(docs, every_command_has_its_options_and_an_example)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);

	page("commands", &text);
	for (size_t i = 0; i < commands_n; i++) {
		auto_free char *usage = xasprintf("\nusage: fcvm %s", commands[i].name);
		auto_free char *example = xasprintf("\nexample: fcvm %s\n", commands[i].example);

		if ((commands[i].flags & COMMAND_INTERNAL) || commands[i].run == cmd_help)
			continue;
		cr_expect_not_null(strstr(buf_str(&text), usage), "%s", usage);
		cr_expect_not_null(strstr(buf_str(&text), example), "%s", example);
	}
}

Test(docs, the_spec_page_explains_the_count_of_a_fleet)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);

	page("spec", &text);
	cr_expect_not_null(strstr(buf_str(&text), "| `fleets.F.count` | "));
}

Test(docs, another_page_is_refused)
{
	char docs[] = "docs", word[] = "poem", *argv[] = {docs, word, NULL};
	struct command_ctx ctx = {.help = NULL};
	struct err err = {0};
	int status = 0;

	cr_expect_lt(cmd_internal_docs(&ctx, 2, argv, &status, &err), 0);
	cr_expect_str_eq(err.msg, "'internal docs' needs one of spec, commands");
	cr_expect_eq(err.class, ERR_SPEC);
}
