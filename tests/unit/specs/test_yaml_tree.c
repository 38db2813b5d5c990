#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "helper.h"
#include "yaml_tree.h"

static struct ytree *parse(const char *text)
{
	auto_diag struct diag *diag = diag_new("t.yaml", text, strlen(text));
	struct ytree *t = calloc(1, sizeof(*t));
	auto_buf struct buf out = BUF_INIT(100000);

	cr_assert_eq(ytree_parse(t, text, strlen(text), diag), 0);
	diag_print(diag, &out);
	cr_assert_str_eq(buf_str(&out), "");
	return t;
}

static void drop(struct ytree *t)
{
	ytree_free(t);
	free(t);
}

Test(yaml_tree, nodes_know_their_place_in_code_points)
{
	struct ytree *t = parse("a: 1\n\"ключ\": [é, \"x\"]\n");
	const struct ynode *list = ynode_get(t->root, "ключ");

	cr_assert_not_null(list);
	cr_expect_eq(ynode_pair(t->root, "ключ")->key_at.line, 2);
	cr_expect_eq(ynode_pair(t->root, "ключ")->key_at.col, 1);
	cr_expect_eq(list->at.col, 9);
	cr_expect_eq(list->items[0]->at.col, 10);
	cr_expect_eq(list->items[1]->at.col, 13);
	cr_expect(list->items[0]->plain);
	cr_expect_not(list->items[1]->plain);
	drop(t);
}

Test(yaml_tree, merging_lets_the_map_and_earlier_sources_win)
{
	struct ytree *t = parse("a: &a { x: 1, y: 2 }\n"
				"b: &b { y: 3, z: 4 }\n"
				"c: { <<: [*a, *b], x: 9 }\n"
				"d: { x: 8, <<: *b }\n"
				"e: { \"<<\": text }\n");
	const struct ynode *c = ynode_get(t->root, "c"), *d = ynode_get(t->root, "d");

	cr_expect_str_eq(ynode_get(c, "x")->text, "9");
	cr_expect_str_eq(ynode_get(c, "y")->text, "2");
	cr_expect_str_eq(ynode_get(c, "z")->text, "4");
	cr_expect_eq(c->n, 3);
	cr_expect_str_eq(ynode_get(d, "y")->text, "3");
	cr_expect_eq(ynode_get(d, "y")->at.line, 2, "where it is written");
	cr_expect_str_eq(ynode_get(ynode_get(t->root, "e"), "<<")->text, "text");
	drop(t);
}

Test(yaml_tree, an_alias_is_a_copy_and_may_be_a_key)
{
	struct ytree *t = parse("a: &k key\nb: { *k : &v [1], c: *v }\nd: &k other\ne: *k\n");
	const struct ynode *b = ynode_get(t->root, "b");

	cr_expect_neq(ynode_get(b, "key"), ynode_get(b, "c"));
	cr_expect_str_eq(ynode_get(b, "c")->items[0]->text, "1");
	cr_expect_str_eq(ynode_get(t->root, "e")->text, "other", "the latest anchor");
	drop(t);
}

Test(yaml_tree, nothing_null_and_reset_are_told_apart)
{
	struct ytree *t = parse("a:\nb: null\nc: ~\nd: \"null\"\ne: !reset [1]\nf: ''\n");

	cr_expect(ynode_is_empty(ynode_get(t->root, "a")));
	cr_expect_not(ynode_is_null(ynode_get(t->root, "a")));
	cr_expect(ynode_is_null(ynode_get(t->root, "b")));
	cr_expect(ynode_is_null(ynode_get(t->root, "c")));
	cr_expect_not(ynode_is_null(ynode_get(t->root, "d")));
	cr_expect(ynode_is_null(ynode_get(t->root, "e")));
	cr_expect_not(ynode_is_empty(ynode_get(t->root, "f")));
	cr_expect(ynode_is_null(ynode_get(t->root, "absent")));
	drop(t);
}

static char *says(struct buf *text)
{
	struct strv none = {0};

	cr_assert(buf_ok(text));
	return spec_says("t.yaml", buf_str(text), text->len, &none);
}

static void add_repeated(struct buf *b, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_add_str(b, s);
}

Test(hostile, a_file_beyond_the_limit_is_not_read)
{
	auto_buf struct buf text = BUF_INIT(4u << 20);

	add_repeated(&text, "a: b\n", (1u << 20) / 5 + 1);
	auto_free char *said = says(&text);

	cr_expect_str_eq(said, "t.yaml:1:1: error: yaml: the file is larger than 1048576 bytes "
			       "(1 MiB)\na: b\n^\n");
}

Test(hostile, four_hundred_kilobytes_of_brackets_hit_the_depth)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);

	add_repeated(&text, "[", 400000);
	auto_free char *said = says(&text);

	cr_expect_eq(strncmp(said,
			     "t.yaml:1:33: error: [0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]"
			     "[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]: nested deeper than "
			     "32 levels\n[[[[",
			     strlen("t.yaml:1:33")),
		     0, "%.200s", said);
	cr_expect_not_null(strstr(said, ": nested deeper than 32 levels\n"));
	cr_expect_lt(strlen(said), 1000);
}

Test(hostile, block_nesting_hits_the_depth)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);

	add_repeated(&text, "- ", 200000);
	auto_free char *said = says(&text);

	cr_expect_not_null(strstr(said, ": nested deeper than 32 levels\n"), "%.200s", said);
}

Test(hostile, many_values_hit_the_node_cap)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);

	for (int i = 0; i < 60000; i++)
		buf_addf(&text, "k%d: v\n", i);
	auto_free char *said = says(&text);

	cr_expect_eq(strncmp(said,
			     "t.yaml:5000:8: error: k4999: more than 10000 values, aliases "
			     "expanded\n",
			     70),
		     0, "%.200s", said);
}

/* Nine aliases of nine aliases of ...: 10^9 values from half a kilobyte. */
Test(hostile, a_billion_laughs_hit_the_node_cap)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);

	buf_add_str(&text, "x-0: &l0 [lol]\n");
	for (int i = 1; i < 10; i++) {
		buf_addf(&text, "x-%d: &l%d [", i, i);
		for (int k = 0; k < 10; k++)
			buf_addf(&text, "%s*l%d", k ? ", " : "", i - 1);
		buf_add_str(&text, "]\n");
	}
	auto_free char *said = says(&text);

	cr_expect_not_null(strstr(said, ": more than 10000 values, aliases expanded\n"), "%s",
			   said);
	cr_expect_eq(strncmp(said, "t.yaml:5:", 9), 0, "%s", said);
}

Test(hostile, aliases_of_one_long_text_hit_the_text_cap)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);

	buf_add_str(&text, "x-a: &a ");
	add_repeated(&text, "y", 500000);
	buf_add_str(&text, "\nx-b: [");
	add_repeated(&text, "*a, ", 4000);
	buf_add_str(&text, "]\n");
	auto_free char *said = says(&text);

	cr_expect_not_null(strstr(said, ": error: x-b[15]: more than 8388608 bytes of text, "
					"aliases expanded\n"),
			   "%.300s", said);
}

Test(hostile, merge_cycles_are_named)
{
	static const struct {
		const char *text, *said;
	} cases[] = {
		{"a: &a { <<: *a }\n", "1:13: error: a.<<: alias '*a' stands inside its own "
				       "anchor: a cycle\n"},
		{"a: &a { b: { <<: [*a] } }\n", "1:19: error: a.b.<<[0]: alias '*a' stands inside "
						"its own anchor: a cycle\n"},
		{"a: &a { <<: &b { <<: *a } }\nc: *b\n",
		 "1:22: error: a.<<.<<: alias '*a' stands inside its own anchor: a cycle\n"},
		{"&r a: b\n", "1:1: error: yaml: a key takes no tag and no anchor\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *said = spec_first_lines(cases[i].text, NULL);

		cr_expect_not_null(strstr(said, cases[i].said), "%s", said);
	}
}

Test(hostile, garbage_ends_with_a_message)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);
	uint32_t state = 12345;

	while (text.len < 1u << 20) {
		state = state * 1664525 + 1013904223;
		buf_add_char(&text, (char)(state >> 24));
	}
	auto_free char *said = says(&text);

	static const char wanted[] = "t.yaml:1:1: error: yaml: not UTF-8 text: control characters "
				     "are not allowed\n";

	cr_expect_eq(strncmp(said, wanted, strlen(wanted)), 0, "%.200s", said);
	for (const char *p = said; *p; p++)
		cr_expect((unsigned char)*p >= ' ' || *p == '\n' || *p == '\t');
}

Test(hostile, printable_garbage_ends_with_a_message)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);
	uint32_t state = 4711;

	while (text.len < 1u << 20) {
		state = state * 1664525 + 1013904223;
		buf_add_char(&text, (char)(' ' + (state >> 24) % 95));
	}
	auto_free char *said = says(&text);

	cr_expect_eq(strncmp(said, "t.yaml:1:", 9), 0, "%.200s", said);
	cr_expect_not_null(strstr(said, ": error: "), "%.200s", said);
	cr_expect_lt(strlen(said), 1000, "a line of a megabyte is cut");
}

Test(hostile, directives_hit_their_cap)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);

	for (int i = 0; i < 50000; i++)
		buf_addf(&text, "%%TAG !a%d! x\n", i);
	auto_free char *said = says(&text);

	cr_expect_str_eq(said, "t.yaml:1:1: error: yaml: more than 100 lines begin with '%'\n"
			       "%TAG !a0! x\n^\n");
}

Test(hostile, other_encodings_are_refused)
{
	static const char utf16[] = "\xff\xfe"
				    "a\0:\0 \0b\0\n\0";
	struct strv none = {0};
	auto_free char *said = spec_says("t.yaml", utf16, sizeof(utf16) - 1, &none);

	cr_expect_str_eq(said,
			 "t.yaml:1:1: error: yaml: not UTF-8 text: invalid leading UTF-8 "
			 "octet\n??a?:? ?b?\n^\n",
			 "%s", said);
}

/* Defaults are shared, but what they fill is not: its size is bounded as well. */
Test(hostile, defaults_under_many_entries_hit_the_text_cap)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);

	buf_add_str(&text, SPEC_HEAD "defaults:\n  baseline:\n    image: \"oci:a\"\n"
				     "    command: [");
	for (int i = 0; i < 3000; i++)
		buf_add_str(&text, "abcdefgh, ");
	buf_add_str(&text, "]\n    environment: {");
	for (int i = 0; i < 500; i++)
		buf_addf(&text, "k%d: v, ", i);
	buf_add_str(&text, "}\nbaselines:\n");
	for (int i = 0; i < 2000; i++)
		buf_addf(&text, "  b%d:\n", i);
	auto_free char *said = says(&text);

	cr_expect_not_null(strstr(said, "more than 67108864 bytes of text once defaults are "
					"merged\n"),
			   "%.500s", said);
}

Test(hostile, merging_maps_of_defaults_is_bounded)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);

	buf_add_str(&text, SPEC_HEAD "defaults:\n  baseline:\n    environment: {");
	for (int i = 0; i < 2000; i++)
		buf_addf(&text, "k%d: v, ", i);
	buf_add_str(&text, "}\nbaselines:\n");
	for (int i = 0; i < 700; i++)
		buf_addf(&text, "  b%d: { environment: { a: b } }\n", i);
	auto_free char *said = says(&text);

	cr_expect_not_null(
		strstr(said, "t.yaml:3:1: error: more than 100000 values once defaults "
			     "are merged\n")
			?: strstr(said, "more than 100000 values once defaults are merged\n"),
		"%.500s", said);
}
