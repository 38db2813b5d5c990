#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "diag.h"
#include "helper.h"
#include "xalloc.h"

static void add(struct diag *d, uint32_t line, uint32_t col, const char *hint, const char *text)
{
	struct diag_problem p = {.at = {line, col}, .path = "a.b", .hint = hint};

	diag_add(d, &p, "%s", text);
}

Test(diag, problems_come_in_file_order_with_source_and_caret)
{
	static const char text[] = "one: 1\n\ttwo: 2\r\nthree";
	auto_diag struct diag *d = diag_new("f.yaml", text, strlen(text));
	auto_buf struct buf out = BUF_INIT(10000);

	add(d, 3, 6, NULL, "end");
	add(d, 2, 2, "go on", "second");
	add(d, 1, 4, NULL, "first");
	add(d, 1, 4, NULL, "first again");
	add(d, 0, 0, NULL, "built in");
	diag_print(d, &out);
	cr_expect_str_eq(buf_str(&out),
			 "f.yaml:1:1: error: a.b: built in\n"
			 "f.yaml:1:4: error: a.b: first\none: 1\n   ^\n"
			 "f.yaml:1:4: error: a.b: first again\none: 1\n   ^\n"
			 "f.yaml:2:2: error: a.b: second\n\ttwo: 2\n\t^\nhint: go on\n"
			 "f.yaml:3:6: error: a.b: end\nthree\n     ^\n");
}

Test(diag, warnings_are_no_errors)
{
	auto_diag struct diag *d = diag_new("f.yaml", "x\n", 2);
	auto_buf struct buf out = BUF_INIT(10000);
	struct diag_problem p = {.level = DIAG_WARNING, .at = {1, 1}, .path = "x"};

	diag_add(d, &p, "odd");
	cr_expect_eq(diag_errors(d), 0);
	diag_print(d, &out);
	cr_expect_str_eq(buf_str(&out), "f.yaml:1:1: warning: x: odd\nx\n^\n");
}

Test(diag, what_the_file_holds_never_reaches_the_terminal_raw)
{
	static const char text[] = "a\x1b[2J: \xff\xc2\x9b\xe2\x82\xac\x7f\n";
	auto_diag struct diag *d = diag_new("f\n.yaml", text, strlen(text));
	auto_buf struct buf out = BUF_INIT(10000);

	add(d, 1, 7, "h\ri", "got '\x1b]0;x\x07'\n");
	diag_print(d, &out);
	cr_expect_str_eq(buf_str(&out),
			 "f?.yaml:1:7: error: a.b: got '?]0;x?'?\n"
			 "a?[2J: ??\xe2\x82\xac?\n      ^\nhint: h?i\n",
			 "%s", buf_str(&out));
}

Test(diag, a_long_line_is_cut_around_the_caret)
{
	auto_buf struct buf text = BUF_INIT(10000), out = BUF_INIT(10000);

	for (int i = 0; i < 1000; i++)
		buf_addf(&text, "%d", i % 10);
	auto_diag struct diag *d = diag_new("f", buf_str(&text), text.len);

	add(d, 1, 501, NULL, "here");
	diag_print(d, &out);
	const char *source = strchr(buf_str(&out), '\n') + 1;
	const char *caret = strchr(source, '\n') + 1;

	cr_expect_eq(strcspn(source, "\n"), 166);
	cr_expect_eq(strncmp(source, "...", 3), 0);
	cr_expect_eq(source[strcspn(caret, "^")], '0', "column 501 is a 0");
}

Test(diag, one_hundred_are_printed_and_the_others_counted)
{
	auto_diag struct diag *d = diag_new("f", "x", 1);
	auto_buf struct buf out = BUF_INIT(1u << 20);
	size_t lines = 0;

	for (int i = 0; i < 25000; i++)
		add(d, 0, 0, NULL, "same");
	cr_expect_eq(diag_errors(d), 25000);
	diag_print(d, &out);
	for (const char *p = buf_str(&out); (p = strchr(p, '\n')); p++)
		lines++;
	cr_expect_eq(lines, 101);
	cr_expect_not_null(strstr(buf_str(&out), "\nand 24900 more\n"));
}

Test(diag, all_problems_of_a_spec_come_at_once)
{
	auto_buf struct buf text = BUF_INIT(100000);

	buf_add_str(&text, SPEC_HEAD "labels:\n");
	for (int i = 0; i < 150; i++)
		buf_addf(&text, "  l%d: [x]\n", i);
	auto_free char *said = spec_first_lines(buf_str(&text), NULL);

	cr_expect_eq(strncmp(said, "4:7: error: labels.l0: expected text, got a list\n", 49), 0,
		     "%.100s", said);
	cr_expect_not_null(strstr(said, "error: labels.l99: "));
	cr_expect_null(strstr(said, "error: labels.l100: "));
	cr_expect_not_null(strstr(said, "\nand 50 more\n"));
}

Test(diag, problems_found_later_look_the_same_and_are_counted)
{
	auto_fleet struct fleet *f = spec_parse(SPEC_HEAD SPEC_WEB);
	auto_buf struct buf out = BUF_INIT(10000);
	struct place at = f->baselines[0].at;
	struct err err = {0};

	(void)err_set(&err, ERR_HOST, -ENOMEM, "host has only %d MiB", 3);
	(void)err_hint(&err, "ask for less");
	cr_expect_lt(fleet_refuse(f, at, "baselines.web.memory", &err), 0);
	cr_expect_str_eq(err.msg, "1 problem in '/dir/t.yaml'");
	cr_expect_str_eq(err.hint, "");
	cr_expect_eq(err.class, ERR_HOST);
	(void)err_set(&err, ERR_SPEC, -ENOENT, "no such file");
	cr_expect_lt(fleet_refuse(f, (struct place){2, 1}, "name", &err), 0);
	cr_expect_str_eq(err.msg, "2 problems in '/dir/t.yaml'");
	cr_expect_eq(err.class, ERR_SPEC);
	(void)err_set(&err, ERR_HOST, -EPERM, "not here");
	cr_expect_lt(fleet_refuse(f, (struct place){0}, "kernels.default", &err), 0);
	cr_expect_str_eq(err.msg, "kernels.default: not here", "nobody wrote that");
	cr_expect_eq(fleet_problems(f), 2);
	fleet_print_problems(f, &out);
	cr_expect_str_eq(buf_str(&out),
			 "/dir/t.yaml:2:1: error: name: no such file\nname: t\n^\n"
			 "/dir/t.yaml:4:3: error: baselines.web.memory: host has only 3 MiB\n"
			 "  web: { image: \"oci:web\", healthcheck: { tcp: \":80\" } }\n  ^\n"
			 "hint: ask for less\n");
	cr_expect_eq(fleet_problems(f), 0, "told once");
}

Test(diag, a_spec_of_a_command_line_speaks_its_words)
{
	static const struct fleet_word words[] = {{"memory", "--memory"}, {NULL, NULL}};
	static const struct fleet_options options = {.words = words};
	static const struct {
		const char *web, *said;
	} cases[] = {
		{"{ image: \"oci:web\", memory: foo }",
		 "--memory: expected a size such as 512MiB or 4GiB, got 'foo'"},
		{"{ image: \"oci:web\", cpus: none }",
		 "baselines.web.cpus: expected 1 to 32, got 'none'"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *text = xasprintf("apiVersion: fcvm/v1\nname: default\n"
						 "baselines:\n  web: %s\n",
						 cases[i].web);
		auto_buf struct buf out = BUF_INIT(10000);
		auto_fleet struct fleet *f = NULL;
		struct err err = {0};

		cr_expect_eq(fleet_parse("p", text, strlen(text), &options, &f, &out, &err),
			     -EINVAL);
		cr_expect_str_eq(err.msg, cases[i].said);
		cr_expect_eq(out.len, 0);
	}
}
