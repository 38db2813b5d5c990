#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "strv.h"
#include "template.h"
#include "vars.h"

static struct template *compile(const char *text, struct vars *vars, struct err *err,
				size_t *ret_offset)
{
	struct template_scope scope = {.names = TEMPLATE_INDEX | TEMPLATE_CLONE | TEMPLATE_FLEET,
				       .vars = vars,
				       .set_name = "shop"};
	struct template *t = NULL;

	*ret_offset = 0;
	(void)template_compile(text, &scope, &t, ret_offset, err);
	return t;
}

static void fill(struct vars *vars)
{
	(void)vars_add(vars, "tag", "1.10", true);
	(void)vars_add(vars, "shards", "8", true);
	(void)vars_add(vars, "quoted", "8", false);
	(void)vars_add(vars, "minus", "-3", true);
	(void)vars_add(vars, "zeros", "007", true);
	(void)vars_add(vars, "on", "true", true);
}

struct good_case {
	const char *text, *result, *canonical;
};

Test(template, expressions_have_their_values)
{
	static const struct good_case cases[] = {
		{"plain", "plain", "plain"},
		{"", "", ""},
		{"{{index}}", "7", "{{index}}"},
		{"n-{{ index }}-x", "n-7-x", "n-{{index}}-x"},
		{"{{index + 1}}", "8", "{{index+1}}"},
		{"{{1 + 2 * 3}}", "7", "7"},
		{"{{(1 + 2) * 3}}", "9", "9"},
		{"{{7 - 2 - 1}}", "4", "4"},
		{"{{7 / 2}}{{7 % 2}}", "31", "31"},
		{"{{-index}}", "-7", "{{-index}}"},
		{"{{vars.minus - -3}}", "0", "0"},
		{"{{index * vars.shards}}", "56", "{{index*8}}"},
		{"{{index + vars.minus}}", "4", "{{index+(-3)}}"},
		{"{{vars.tag}}", "1.10", "1.10"},
		{"{{vars.zeros}}", "007", "007"},
		{"{{vars.on}}", "true", "true"},
		{"{{name}}/{{fleet}}/{{clone}}", "shop/web/web-7", "shop/{{fleet}}/{{clone}}"},
		{"{{pad(index, 3)}}", "007", "{{pad(index,3)}}"},
		{"{{pad(1234, 3)}}", "1234", "1234"},
		{"{{hash8('')}}", "e3b0c442", "e3b0c442"},
		{"{{hash8(index)}}", "7902699b", "{{hash8(index)}}"},
		{"{{lower(\"ABC\")}}{{lower('x\\'Y')}}", "abcx'y", "abcx'y"},
		{"{{lower(vars.tag)}}", "1.10", "1.10"},
		{"{{ '{{' }}", "{{", "{{\"{{\"}}"},
		{"$HOME ${X} }} { }", "$HOME ${X} }} { }", "$HOME ${X} }} { }"},
	};
	auto_free struct vars *vars = calloc(1, sizeof(*vars));
	const struct template_values values = {.index = 7, .clone = "web-7", .fleet = "web"};

	fill(vars);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *result = NULL;
		struct err err = {0};
		size_t offset;
		auto_template struct template *t = compile(cases[i].text, vars, &err, &offset);

		cr_assert_not_null(t, "%s: %s", cases[i].text, err.msg);
		cr_assert_eq(template_expand(t, &values, &result, &err), 0, "%s: %s", cases[i].text,
			     err.msg);
		cr_expect_str_eq(result, cases[i].result, "%s: %s", cases[i].text, result);
		cr_expect_str_eq(template_text(t), cases[i].canonical, "%s: %s", cases[i].text,
				 template_text(t));
	}
	vars_free(vars);
}

struct bad_case {
	const char *text;
	size_t offset;
	const char *message;
};

Test(template, mistakes_are_found_where_they_are)
{
	static const struct bad_case cases[] = {
		{"a{{indx}}", 3, "unknown name 'indx' in the template; did you mean 'index'?"},
		{"{{zzzzzzzz}}", 2, "unknown name 'zzzzzzzz' in the template"},
		{"{{job}}", 2, "'job' has no value here"},
		{"{{vars.nope}}", 2,
		 "no variable 'nope' in vars; there are: tag, shards, quoted, minus, zeros, on"},
		{"{{index", 0, "'{{' has no '}}'"},
		{"{{index}", 7, "expected '}}' or an operator, got '}'"},
		{"{{index 2}}", 8, "expected '}}' or an operator, got '2'"},
		{"{{}}", 2, "the expression ends too early"},
		{"{{1 + }}", 6, "the expression ends too early"},
		{"{{(1}}", 4, "expected ')'"},
		{"{{&}}", 2, "expected a name, a number, a text or '(', got '&'"},
		{"{{'a' + 1}}", 6, "'+' wants two numbers, not text"},
		{"{{vars.quoted * 2}}", 14, "'*' wants two numbers, not text"},
		{"{{-clone}}", 2, "'-' wants a number, not text"},
		{"{{'abc}}", 2, "the text has no closing '"},
		{"{{1 / 0}}", 0, "the template divides by zero"},
		{"{{9223372036854775807 + 1}}", 0, "a number in the template is too large"},
		{"{{9223372036854775808}}", 2, "the number is too large"},
		{"{{pad(1)}}", 7, "pad() takes 2 values"},
		{"{{pad('a', 1)}}", 2, "pad(n, width) takes two numbers"},
		{"{{pad(1, 0)}}", 0, "pad(n, width): expected a width of 1 to 20, got 0"},
		{"{{lower('a', 'b')}}", 11, "expected ')' after the 1 value of lower()"},
		{"{{upper('a')}}", 2, "unknown function 'upper'; there are pad, hash8 and lower"},
		{"{{((((((((((((((((((1))))))))))))))))))}}", 18,
		 "the expression is nested too deeply"},
		{"{{------------------1}}", 18, "the expression is nested too deeply"},
	};
	auto_free struct vars *vars = calloc(1, sizeof(*vars));

	fill(vars);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {0};
		size_t offset;
		auto_template struct template *t = compile(cases[i].text, vars, &err, &offset);

		cr_expect_null(t, "%s", cases[i].text);
		cr_expect_str_eq(err.msg, cases[i].message, "%s: %s", cases[i].text, err.msg);
		cr_expect_eq(offset, cases[i].offset, "%s: %zu", cases[i].text, offset);
	}
	vars_free(vars);
}

Test(template, a_division_by_the_index_fails_for_that_clone_only)
{
	struct err err = {0};
	size_t offset;
	auto_template struct template *t = compile("{{10 / (index - 2)}}", NULL, &err, &offset);
	auto_template struct template *safe = compile("{{index / 2}}", NULL, &err, &offset);
	struct template_values values = {.index = 2};
	auto_free char *text = NULL;

	cr_expect(template_is_fragile(t));
	cr_expect_not(template_is_fragile(safe));
	cr_expect_eq(template_expand(t, &values, &text, &err), -EDOM);
	cr_expect_str_eq(err.msg, "the template divides by zero");
	cr_expect_null(text);
	values.index = 3;
	cr_expect_eq(template_expand(t, &values, &text, &err), 0);
	cr_expect_str_eq(text, "10");
}

Test(template, growth_is_bounded)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);
	struct vars vars = {0};
	struct err err = {0};
	size_t offset;

	for (int i = 0; i < 1000; i++)
		buf_add_str(&text, "{{index}}");
	auto_template struct template *many = compile(buf_str(&text), NULL, &err, &offset);

	cr_expect_null(many);
	cr_expect_str_eq(err.msg, "the template is too long");
	buf_reset(&text);
	for (int i = 0; i < 60000; i++)
		buf_add_char(&text, 'x');
	(void)vars_add(&vars, "big", buf_str(&text), false);
	auto_template struct template *big =
		compile("{{vars.big}}{{index}}{{vars.big}}", &vars, &err, &offset);
	auto_free char *result = NULL;

	cr_assert_not_null(big);
	cr_expect_eq(template_expand(big, &(struct template_values){0}, &result, &err), -EMSGSIZE);
	cr_expect_str_eq(err.msg, "more than 65536 bytes after expansion");
	vars_free(&vars);
}
