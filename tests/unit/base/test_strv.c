#include "strv.h"

#include "cleanup.h"
#include "xalloc.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(strv, serves_as_argv_after_every_addition)
{
	auto_strv struct strv l = {0};

	cr_expect_null(l.v);
	for (size_t i = 0; i < 50; i++) {
		strv_addf(&l, "item-%zu", i);
		cr_expect_eq(l.n, i + 1);
		cr_expect_null(l.v[l.n]);
	}
	cr_expect_str_eq(l.v[0], "item-0");
	cr_expect_str_eq(l.v[49], "item-49");
}

Test(strv, copies_or_takes_what_it_is_given)
{
	auto_strv struct strv l = {0};
	char word[] = "one";

	strv_add(&l, word);
	word[0] = 'X';
	strv_add_take(&l, xstrdup("two"));
	cr_expect_str_eq(l.v[0], "one");
	cr_expect_str_eq(l.v[1], "two");
	cr_expect(strv_has(&l, "two"));
	cr_expect_not(strv_has(&l, "three"));
}

Test(strv, a_list_added_to_itself_doubles)
{
	auto_strv struct strv l = {0};

	strv_add_all(&l, &l);
	cr_expect_eq(l.n, 0);
	strv_add(&l, "a");
	strv_add(&l, "b");
	strv_add_all(&l, &l);
	cr_expect_eq(l.n, 4);
	cr_expect_str_eq(l.v[3], "b");
}

Test(strv, sorts_by_byte_value_and_an_empty_list_too)
{
	auto_strv struct strv l = {0};

	strv_sort(&l);
	strv_add(&l, "b");
	strv_add(&l, "B");
	strv_add(&l, "a");
	strv_sort(&l);
	cr_expect_str_eq(l.v[0], "B");
	cr_expect_str_eq(l.v[1], "a");
	cr_expect_str_eq(l.v[2], "b");
	cr_expect_null(l.v[3]);
}

Test(strv, freeing_twice_is_fine)
{
	struct strv l = {0};

	strv_add(&l, "a");
	strv_free(&l);
	strv_free(&l);
	cr_expect_eq(l.n, 0);
}

Test(strv, the_nearest_word_is_offered_only_when_it_is_near)
{
	static const char *const known[] = {"apply", "plan", "destroy", "ps", "snapshot create"};
	char longer[200];
	static const struct {
		const char *word, *nearest;
	} cases[] = {
		{"aply", "apply"},      /* one missing */
		{"applyy", "apply"},    /* one too many */
		{"paly", NULL},         /* swap and more: too far */
		{"plna", "plan"},       /* neighbours swapped count one */
		{"destory", "destroy"}, /* same, longer */
		{"dstry", NULL},        /* two missing of five */
		{"dxxtrxyz", NULL},     /* three wrong of eight */
		{"px", "ps"},           /* short words may differ by one */
		{"xy", NULL},           {"", NULL}, {"snapshot craete", "snapshot create"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *got = strv_nearest(cases[i].word, known, ARRAY_SIZE(known));
		cr_expect(got == cases[i].nearest ||
				  (got && cases[i].nearest && !strcmp(got, cases[i].nearest)),
			  "'%s': got '%s'", cases[i].word, got ? got : "(none)");
	}
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	cr_expect_null(strv_nearest(longer, known, ARRAY_SIZE(known)));
	const char *const one[] = {longer};
	cr_expect_null(strv_nearest("a", one, 1));
	cr_expect_null(strv_nearest("a", known, 0));
}
