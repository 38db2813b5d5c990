#include "json.h"

#include "cleanup.h"
#include "file.h"
#include "run.h"
#include "xalloc.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static struct json_object *parse(const char *text)
{
	struct json_object *o = NULL;
	struct err err = {0};

	cr_assert_eq(json_parse(text, strlen(text), &o, &err), 0, "%s", err.msg);
	return o;
}

Test(json, whole_values_of_every_type_are_taken)
{
	static const char *const good[] = {
		"{}", " [1, 2] \n",         "\"x\"",       "null", "true", "12", "-1.5",
		"0",  "{\"a\":{\"b\":[]}}", "\"\xc3\xa4\""};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		auto_json struct json_object *o = NULL;
		struct err err = {0};
		cr_expect_eq(json_parse(good[i], strlen(good[i]), &o, &err), 0, "<%s>: %s", good[i],
			     err.msg);
	}
}

Test(json, anything_else_is_refused_with_its_place)
{
	static const struct {
		const char *text;
		size_t len;
		const char *msg;
	} cases[] = {
		{"", 0, "invalid JSON at byte 0: unexpected end of data"},
		{"  ", 2, "invalid JSON at byte 2: unexpected end of data"},
		{"{", 1, "invalid JSON at byte 1: unexpected end of data"},
		{"{\"a\":1", 6, "invalid JSON at byte 6: unexpected end of data"},
		{"\"abc", 4, "invalid JSON at byte 4: unexpected end of data"},
		{"{} x", 4, "invalid JSON at byte 3: more text after the value"},
		{"1 2", 3, "invalid JSON at byte 2: more text after the value"},
		{"{}\0{}", 5, "invalid JSON at byte 2: zero byte"},
		{"[1,]", 4, "invalid JSON at byte 3: unexpected character"},
		{"\"\xff\"", 3, "invalid JSON at byte 1: invalid utf-8 string"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct json_object *o = NULL;
		struct err err = {0};

		cr_expect_eq(json_parse(cases[i].text, cases[i].len, &o, &err), -EINVAL, "<%s>",
			     cases[i].text);
		cr_expect_str_eq(err.msg, cases[i].msg);
		cr_expect_null(o);
	}
}

Test(json, depth_and_size_have_a_cap)
{
	auto_free char *deep = xmalloc(400000);
	auto_free char *big = xcalloc(1, JSON_TEXT_MAX + 1);
	struct json_object *o = NULL;
	struct err err = {0};

	memset(deep, '[', 400000);
	cr_expect_eq(json_parse(deep, 400000, &o, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "invalid JSON at byte 32: nesting too deep");
	cr_expect_eq(json_parse(big, JSON_TEXT_MAX + 1, &o, &err), -EFBIG);
	cr_expect_str_eq(err.msg, "JSON text of 16777217 bytes, limit 16777216");
}

Test(json, required_members_name_what_is_missing_or_of_another_type)
{
	auto_json struct json_object *o =
		parse("{\"s\":\"x\",\"n\":5,\"neg\":-1,\"big\":18446744073709551615,\"t\":true,"
		      "\"o\":{},\"a\":[],\"z\":null,\"zero\":\"a\\u0000b\"}");
	struct json_object *v = NULL;
	struct err err = {0};
	const char *s = NULL;
	uint64_t u = 77;
	int64_t i = 77;
	bool b = false;

	cr_expect(json_get_str(o, "s", &s, &err) == 0 && !strcmp(s, "x"));
	cr_expect(json_get_u64(o, "n", &u, &err) == 0 && u == 5);
	cr_expect(json_get_u64(o, "big", &u, &err) == 0 && u == UINT64_MAX);
	cr_expect(json_get_i64(o, "neg", &i, &err) == 0 && i == -1);
	cr_expect(json_get_bool(o, "t", &b, &err) == 0 && b);
	cr_expect(json_get_obj(o, "o", &v, &err) == 0 && v);
	cr_expect(json_get_arr(o, "a", &v, &err) == 0 && v);

	cr_expect_eq(json_get_str(o, "x", &s, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "key 'x' is missing, wanted a string");
	cr_expect_eq(json_get_str(o, "z", &s, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "key 'z' is missing, wanted a string");
	cr_expect_eq(json_get_str(o, "n", &s, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "key 'n': wanted a string, got int");
	cr_expect_eq(json_get_str(o, "zero", &s, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "key 'zero': zero byte in a string");
	cr_expect_eq(json_get_u64(o, "neg", &u, &err), -ERANGE);
	cr_expect_str_eq(err.msg, "key 'neg': wanted 0 or more, got -1");
	cr_expect_eq(json_get_i64(o, "big", &i, &err), -ERANGE);
	cr_expect_str_eq(err.msg, "key 'big': 18446744073709551615 is too large");
	cr_expect_eq(json_get_u64(o, "s", &u, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "key 's': wanted a whole number, got string");
	cr_expect_eq(json_get_bool(o, "n", &b, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "key 'n': wanted true or false, got int");
	cr_expect_eq(json_get_obj(o, "a", &v, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "key 'a': wanted an object, got array");
	cr_expect_eq(json_get_arr(o, "o", &v, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "key 'o': wanted an array, got object");
	cr_expect(u == UINT64_MAX && i == -1, "outputs are untouched on failure");
}

Test(json, what_is_no_object_has_no_members)
{
	auto_json struct json_object *arr = parse("[1]");
	struct err err = {0};
	const char *s;

	cr_expect_eq(json_get_str(arr, "a", &s, &err), -EINVAL);
	cr_expect_eq(json_get_str(NULL, "a", &s, &err), -EINVAL);
	cr_expect_str_eq(json_opt_str(arr, "a", "d"), "d");
	cr_expect_null(json_opt_obj(NULL, "a"));
}

Test(json, optional_members_fall_back_when_absent_null_or_of_another_type)
{
	auto_json struct json_object *o =
		parse("{\"s\":\"x\",\"n\":5,\"neg\":-1,\"f\":false,\"z\":null,\"o\":{\"a\":1}}");

	cr_expect_str_eq(json_opt_str(o, "s", "d"), "x");
	cr_expect_str_eq(json_opt_str(o, "n", "d"), "d");
	cr_expect_str_eq(json_opt_str(o, "z", "d"), "d");
	cr_expect_null(json_opt_str(o, "nope", NULL));
	cr_expect_eq(json_opt_u64(o, "n", 9), 5);
	cr_expect_eq(json_opt_u64(o, "neg", 9), 9);
	cr_expect_eq(json_opt_u64(o, "s", 9), 9);
	cr_expect_eq(json_opt_bool(o, "f", true), false);
	cr_expect_eq(json_opt_bool(o, "n", true), true);
	cr_expect_not_null(json_opt_obj(o, "o"));
	cr_expect_null(json_opt_obj(o, "s"));
}

Test(json, builders_make_one_compact_line)
{
	auto_json struct json_object *o = json_object_new_object();
	auto_strv struct strv l = {0};

	strv_add(&l, "a/b");
	strv_add(&l, "c");
	json_add_str(o, "s", "q\"");
	json_add_str(o, "none", NULL);
	json_add_u64(o, "n", UINT64_MAX);
	json_add_bool(o, "t", true);
	json_add(o, "l", json_strv(&l));
	json_add(o, "z", NULL);
	auto_free char *line = json_line(o);
	cr_expect_str_eq(line, "{\"s\":\"q\\\"\",\"none\":null,\"n\":18446744073709551615,"
			       "\"t\":true,\"l\":[\"a/b\",\"c\"],\"z\":null}");
}

Test(json, lists_of_strings_are_read_whole_or_not_at_all)
{
	auto_json struct json_object *good = parse("[\"a\",\"b\"]");
	auto_json struct json_object *bad = parse("[\"a\",5]");
	auto_json struct json_object *no = parse("{}");
	auto_strv struct strv l = {0};
	struct err err = {0};

	cr_expect_eq(json_to_strv(good, &l, &err), 0);
	cr_expect(l.n == 2 && !strcmp(l.v[1], "b"));
	cr_expect_eq(json_to_strv(bad, &l, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "item 1: wanted a string, got int");
	cr_expect_eq(json_to_strv(no, &l, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "wanted an array of strings, got object");
	cr_expect_eq(l.n, 2);
}

Test(json, is_saved_private_and_loaded_again)
{
	auto_tmpdir char *dir = tmpdir_new("base-json");
	auto_free char *path = path_join(dir, "record.json");
	auto_json struct json_object *o = parse("{\"a\":[1,\"x\"],\"p\":\"/tmp\"}");
	auto_json struct json_object *again = NULL;
	auto_buf struct buf text = BUF_INIT(1000);
	struct stat st;

	cr_assert_eq(json_save(path, o, NULL), 0);
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_mode & 0777, 0600);
	cr_assert_eq(file_read(path, 1000, &text, NULL), 0);
	cr_expect_eq(text.data[text.len - 1], '\n');
	cr_expect_not_null(strstr(text.data, "\"/tmp\""));
	cr_assert_eq(json_load(path, &again, NULL), 0);
	cr_expect(json_object_equal(o, again));
}

Test(json, a_broken_file_is_named)
{
	auto_tmpdir char *dir = tmpdir_new("base-json");
	auto_free char *path = path_join(dir, "record.json");
	auto_free char *want =
		xasprintf("'%s': invalid JSON at byte 1: unexpected end of data", path);
	struct json_object *o = NULL;
	struct err err = {0};

	cr_assert_eq(file_replace(path, "{", 1, 0600, NULL), 0);
	cr_expect_eq(json_load(path, &o, &err), -EINVAL);
	cr_expect_str_eq(err.msg, want);
	auto_free char *missing = path_join(dir, "no.json");
	cr_expect_eq(json_load(missing, &o, &err), -ENOENT);
}

Test(json, a_file_without_an_object_is_refused)
{
	static const char *const texts[] = {"[]", "null", "5", "\"text\""};
	auto_tmpdir char *dir = tmpdir_new("base-json");
	auto_free char *path = path_join(dir, "record.json");
	auto_free char *want = xasprintf("'%s': expected a JSON object", path);

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct json_object *o = NULL;
		struct err err = {0};

		cr_assert_eq(file_replace(path, texts[i], strlen(texts[i]), 0600, NULL), 0);
		cr_expect_eq(json_load(path, &o, &err), -EINVAL, "%s", texts[i]);
		cr_expect_str_eq(err.msg, want);
		cr_expect_null(o);
	}
}

Test(json, putting_forgets_the_object)
{
	struct json_object *o = parse("{}");

	json_put_p(&o);
	cr_expect_null(o);
	json_put_p(&o);
}
