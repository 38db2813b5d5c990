#include "parse.h"

#include "cleanup.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

Test(parse_u64, takes_digits_only_and_within_the_range)
{
	static const struct {
		const char *text;
		uint64_t min, max, want;
		int code;
		const char *msg;
	} cases[] = {
		{"0", 0, 10, 0, 0, ""},
		{"10", 0, 10, 10, 0, ""},
		{"007", 0, 10, 7, 0, ""},
		{"18446744073709551615", 0, UINT64_MAX, UINT64_MAX, 0, ""},
		{"11", 0, 10, 0, -ERANGE, "expected 0 to 10, got '11'"},
		{"2", 3, 10, 0, -ERANGE, "expected 3 to 10, got '2'"},
		{"many", 0, 100000, 0, -EINVAL, "expected 0 to 100000, got 'many'"},
		{"", 0, 10, 0, -EINVAL, "expected 0 to 10, got ''"},
		{"-1", 0, 10, 0, -EINVAL, "expected 0 to 10, got '-1'"},
		{"+1", 0, 10, 0, -EINVAL, "expected 0 to 10, got '+1'"},
		{" 1", 0, 10, 0, -EINVAL, "expected 0 to 10, got ' 1'"},
		{"1 ", 0, 10, 0, -EINVAL, "expected 0 to 10, got '1 '"},
		{"0x10", 0, 99, 0, -EINVAL, "expected 0 to 99, got '0x10'"},
		{"1.0", 0, 99, 0, -EINVAL, "expected 0 to 99, got '1.0'"},
		{"18446744073709551616", 0, UINT64_MAX, 0, -ERANGE,
		 "expected a whole number, got '18446744073709551616'"},
		{"x", 0, UINT64_MAX, 0, -EINVAL, "expected a whole number, got 'x'"},
		{"0", 1, UINT64_MAX, 0, -ERANGE, "expected 1 or more, got '0'"},
		{"a\nb\x1b[31m", 0, 9, 0, -EINVAL, "expected 0 to 9, got 'a?b?[31m'"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {0};
		uint64_t got = 77;
		int r = parse_u64(cases[i].text, cases[i].min, cases[i].max, &got, &err);

		cr_expect_eq(r, cases[i].code, "'%s'", cases[i].text);
		cr_expect_eq(got, r < 0 ? 77 : cases[i].want, "'%s'", cases[i].text);
		cr_expect_str_eq(err.msg, cases[i].msg);
		cr_expect_eq(err.class, r < 0 ? ERR_SPEC : ERR_FAILED);
	}
}

Test(parse_u64, long_texts_are_cut_in_the_message)
{
	char text[300];
	struct err err = {0};
	uint64_t v;

	memset(text, '9', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	cr_expect_eq(parse_u64(text, 0, 5, &v, &err), -ERANGE);
	cr_expect_str_eq(err.msg, "expected 0 to 5, got '9999999999999999999999999999999999999999"
				  "99999999999999999999...'");
}

Test(parse_i64, reaches_both_ends_and_not_beyond)
{
	static const struct {
		const char *text;
		int64_t min, max, want;
		int code;
		const char *msg;
	} cases[] = {
		{"-9223372036854775808", INT64_MIN, INT64_MAX, INT64_MIN, 0, ""},
		{"9223372036854775807", INT64_MIN, INT64_MAX, INT64_MAX, 0, ""},
		{"-0", -1, 1, 0, 0, ""},
		{"-5", -5, 5, -5, 0, ""},
		{"9223372036854775808", INT64_MIN, INT64_MAX, 0, -ERANGE,
		 "expected -9223372036854775808 to 9223372036854775807, got '9223372036854775808'"},
		{"-9223372036854775809", INT64_MIN, INT64_MAX, 0, -ERANGE,
		 "expected -9223372036854775808 to 9223372036854775807, got "
		 "'-9223372036854775809'"},
		{"-6", -5, 5, 0, -ERANGE, "expected -5 to 5, got '-6'"},
		{"--5", -5, 5, 0, -EINVAL, "expected -5 to 5, got '--5'"},
		{"-", -5, 5, 0, -EINVAL, "expected -5 to 5, got '-'"},
		{"", -5, 5, 0, -EINVAL, "expected -5 to 5, got ''"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {0};
		int64_t got = 77;
		int r = parse_i64(cases[i].text, cases[i].min, cases[i].max, &got, &err);

		cr_expect_eq(r, cases[i].code, "'%s'", cases[i].text);
		cr_expect_eq(got, r < 0 ? 77 : cases[i].want, "'%s'", cases[i].text);
		cr_expect_str_eq(err.msg, cases[i].msg);
	}
}

Test(parse_decimal, takes_plain_decimals_only)
{
	static const struct {
		const char *text;
		double want;
		int code;
		const char *msg;
	} cases[] = {
		{"1", 1, 0, ""},
		{"1.5", 1.5, 0, ""},
		{"0.25", 0.25, 0, ""},
		{"16.000", 16, 0, ""},
		{"0.05", 0.05, 0, ""},
		{"16.1", 0, -ERANGE, "expected 0 to 16, got '16.1'"},
		{"99999999999999999999", 0, -ERANGE,
		 "expected 0 to 16, got '99999999999999999999'"},
		{"1.", 0, -EINVAL, "expected 0 to 16, got '1.'"},
		{".5", 0, -EINVAL, "expected 0 to 16, got '.5'"},
		{"1e3", 0, -EINVAL, "expected 0 to 16, got '1e3'"},
		{"nan", 0, -EINVAL, "expected 0 to 16, got 'nan'"},
		{"inf", 0, -EINVAL, "expected 0 to 16, got 'inf'"},
		{"0x1", 0, -EINVAL, "expected 0 to 16, got '0x1'"},
		{"1,5", 0, -EINVAL, "expected 0 to 16, got '1,5'"},
		{"-1", 0, -EINVAL, "expected 0 to 16, got '-1'"},
		{"1.0000000001", 0, -EINVAL, "expected 0 to 16, got '1.0000000001'"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {0};
		double got = 77;
		int r = parse_decimal(cases[i].text, 0, 16, &got, &err);

		cr_expect_eq(r, cases[i].code, "'%s'", cases[i].text);
		cr_expect_float_eq(got, r < 0 ? 77 : cases[i].want, 1e-12, "'%s'", cases[i].text);
		cr_expect_str_eq(err.msg, cases[i].msg);
	}
}

Test(parse_size, knows_binary_and_decimal_units_and_bare_mebibytes)
{
	static const struct {
		const char *text;
		uint64_t want;
		bool bare;
		int code;
		const char *msg;
	} cases[] = {
		{"512MiB", 512ull << 20, false, 0, ""},
		{"4GiB", 4ull << 30, false, 0, ""},
		{"64KiB", 64ull << 10, false, 0, ""},
		{"1TiB", 1ull << 40, false, 0, ""},
		{"1GB", 1000000000, false, 0, ""},
		{"500MB", 500000000, false, 0, ""},
		{"2KB", 2000, false, 0, ""},
		{"512", 512ull << 20, true, 0, ""},
		{"0", 0, true, 0, ""},
		{"", 0, false, -EINVAL, "expected a size such as 512MiB or 4GiB, got ''"},
		{"MiB", 0, false, -EINVAL, "expected a size such as 512MiB or 4GiB, got 'MiB'"},
		{"512M", 0, false, -EINVAL, "expected a size such as 512MiB or 4GiB, got '512M'"},
		{"512mib", 0, false, -EINVAL,
		 "expected a size such as 512MiB or 4GiB, got '512mib'"},
		{"1.5GiB", 0, false, -EINVAL,
		 "expected a size such as 512MiB or 4GiB, got '1.5GiB'"},
		{"512 MiB", 0, false, -EINVAL,
		 "expected a size such as 512MiB or 4GiB, got '512 MiB'"},
		{"-1MiB", 0, false, -EINVAL, "expected a size such as 512MiB or 4GiB, got '-1MiB'"},
		{"17179869184GiB", 0, false, -ERANGE,
		 "expected a size below 16 EiB, got '17179869184GiB'"},
		{"99999999999999999999KB", 0, false, -ERANGE,
		 "expected a size below 16 EiB, got '99999999999999999999KB'"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {0};
		uint64_t got = 77;
		bool bare = false;
		int r = parse_size(cases[i].text, &got, &bare, &err);

		cr_expect_eq(r, cases[i].code, "'%s'", cases[i].text);
		cr_expect_eq(got, r < 0 ? 77 : cases[i].want, "'%s'", cases[i].text);
		cr_expect_eq(bare, cases[i].bare, "'%s'", cases[i].text);
		cr_expect_str_eq(err.msg, cases[i].msg);
	}
}

Test(parse_duration, wants_a_unit_on_everything_but_zero)
{
	static const struct {
		const char *text;
		uint64_t want;
		int code;
		const char *msg;
	} cases[] = {
		{"500ms", 500, 0, ""},
		{"2s", 2000, 0, ""},
		{"3m", 180000, 0, ""},
		{"1h", 3600000, 0, ""},
		{"0", 0, 0, ""},
		{"0s", 0, 0, ""},
		{"8760h", 31536000000, 0, ""},
		{"30", 0, -EINVAL, "expected a duration with a unit (ms, s, m, h), got '30'"},
		{"", 0, -EINVAL, "expected a duration such as 500ms, 30s, 5m or 1h, got ''"},
		{"s", 0, -EINVAL, "expected a duration such as 500ms, 30s, 5m or 1h, got 's'"},
		{"1d", 0, -EINVAL, "expected a duration such as 500ms, 30s, 5m or 1h, got '1d'"},
		{"1m30s", 0, -EINVAL,
		 "expected a duration such as 500ms, 30s, 5m or 1h, got '1m30s'"},
		{"-1s", 0, -EINVAL, "expected a duration such as 500ms, 30s, 5m or 1h, got '-1s'"},
		{"8761h", 0, -ERANGE, "expected at most 8760h, got '8761h'"},
		{"99999999999999999999ms", 0, -ERANGE,
		 "expected at most 8760h, got '99999999999999999999ms'"},
		{"18446744073709551615h", 0, -ERANGE,
		 "expected at most 8760h, got '18446744073709551615h'"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {0};
		uint64_t got = 77;
		int r = parse_duration_ms(cases[i].text, &got, &err);

		cr_expect_eq(r, cases[i].code, "'%s'", cases[i].text);
		cr_expect_eq(got, r < 0 ? 77 : cases[i].want, "'%s'", cases[i].text);
		cr_expect_str_eq(err.msg, cases[i].msg);
	}
}

Test(parse_is_name, accepts_what_is_also_a_host_name)
{
	static const char *const good[] = {
		"a", "7", "web-0", "a--b",
		"a23456789012345678901234567890123456789012345678901234567890123"};
	static const char *const bad[] = {
		"",         "-a",
		"a-",       "-",
		"A",        "a_b",
		"a.b",      "a/b",
		"..",       "a b",
		"\xc3\xa4", "a234567890123456789012345678901234567890123456789012345678901234"};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		cr_expect(parse_is_name(good[i]), "'%s'", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect_not(parse_is_name(bad[i]), "'%s'", bad[i]);
}

Test(parse_words, splits_like_a_shell_without_expanding)
{
	static const struct {
		const char *text;
		size_t n;
		const char *words[4];
	} cases[] = {
		{"", 0, {0}},
		{" \t\n", 0, {0}},
		{"a b  c", 3, {"a", "b", "c"}},
		{"'a b' c", 2, {"a b", "c"}},
		{"a'b c'd", 1, {"ab cd"}},
		{"\"a \\\" b\" ''", 2, {"a \" b", ""}},
		{"a\\ b", 1, {"a b"}},
		{"'a\\n'", 1, {"a\\n"}},
		{"\"a\\n\"", 1, {"a\\n"}},
		{"$HOME `id` *", 3, {"$HOME", "`id`", "*"}},
		{"\"it's\"", 1, {"it's"}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_strv struct strv got = {0};
		struct err err = {0};

		cr_expect_eq(parse_words(cases[i].text, &got, &err), 0, "%s", err.msg);
		cr_assert_eq(got.n, cases[i].n, "<%s>: %zu words", cases[i].text, got.n);
		for (size_t j = 0; j < got.n; j++)
			cr_expect_str_eq(got.v[j], cases[i].words[j]);
	}
}

Test(parse_words, names_what_is_not_closed_and_leaves_the_list_alone)
{
	static const struct {
		const char *text, *msg;
	} cases[] = {
		{"a 'b", "expected a closing '"},
		{"a \"b", "expected a closing \""},
		{"a\\", "expected a character after the backslash at the end"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_strv struct strv got = {0};
		struct err err = {0};

		strv_add(&got, "kept");
		cr_expect_eq(parse_words(cases[i].text, &got, &err), -EINVAL);
		cr_expect_str_eq(err.msg, cases[i].msg);
		cr_expect_eq(got.n, 1);
	}
}

Test(format, sizes_read_well)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{0, "0 B"},
		{1023, "1023 B"},
		{1024, "1 KiB"},
		{512ull << 20, "512 MiB"},
		{3ull << 29, "1.5 GiB"},
		{(1ull << 20) - 1, "1 MiB"},
		{(1ull << 30) + (1ull << 20), "1 GiB"},
		{UINT64_MAX, "16 EiB"},
	};
	char text[32];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		cr_expect_str_eq(format_size(cases[i].bytes, text, sizeof(text)), cases[i].text);
}

Test(format, durations_read_well)
{
	static const struct {
		uint64_t ms;
		const char *text;
	} cases[] = {
		{0, "0ms"},        {850, "850ms"},    {999, "999ms"},     {1000, "1s"},
		{1049, "1s"},      {1500, "1.5s"},    {59999, "59.9s"},   {60000, "1m0s"},
		{192000, "3m12s"}, {3600000, "1h0m"}, {5460000, "1h31m"}, {90000000, "25h0m"},
	};
	char text[32];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		cr_expect_str_eq(format_duration_ms(cases[i].ms, text, sizeof(text)),
				 cases[i].text);
}

Test(format, a_small_buffer_is_not_overrun)
{
	char text[4];

	cr_expect_str_eq(format_size(512ull << 20, text, sizeof(text)), "512");
	cr_expect_str_eq(format_duration_ms(850, text, sizeof(text)), "850");
}
