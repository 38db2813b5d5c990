#include "utf8.h"

#include <criterion/criterion.h>

#include "cleanup.h"

Test(utf8, characters_stay_and_every_other_byte_becomes_a_question_mark)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"", ""},
		{"plain\n\x7f", "plain\n\x7f"},
		{"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x92\xa9",
		 "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x92\xa9"},
		{"\xed\x9f\xbf \xee\x80\x80 \xf4\x8f\xbf\xbf",
		 "\xed\x9f\xbf \xee\x80\x80 \xf4\x8f\xbf\xbf"},
		{"\xff\xfe", "??"},
		{"\x80", "?"},
		{"cut \xe2\x82", "cut ??"},
		{"cut \xf0\x9f\x92", "cut ???"},
		{"\xc0\xaf", "??"},            /* overlong */
		{"\xe0\x9f\xbf", "???"},       /* overlong */
		{"\xf0\x8f\xbf\xbf", "????"},  /* overlong */
		{"\xed\xa0\x80", "???"},       /* surrogate */
		{"\xf4\x90\x80\x80", "????"},  /* above U+10FFFF */
		{"\xc3\xc3\xa9", "?\xc3\xa9"}, /* the next one starts */
		{"\xe2\x82z", "??z"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *got = utf8_clean(cases[i].text);

		cr_expect_str_eq(got, cases[i].want, "%zu", i);
	}
}
