#include "parse.h"

#include "buf.h"
#include "cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What was given, safe to show: control characters replaced, long texts cut. */
#define SHOWN_SIZE 64
static const char *shown(const char *s, char ret[SHOWN_SIZE])
{
	size_t i = 0;

	for (; i < SHOWN_SIZE - 4 && s[i]; i++) {
		unsigned char c = (unsigned char)s[i];
		ret[i] = (char)(c < ' ' || c == 0x7f ? '?' : c);
	}
	(void)snprintf(ret + i, SHOWN_SIZE - i, "%s", s[i] ? "..." : "");
	return ret;
}

/* Digits at *s; false when there is none. Beyond 64 bits sets *ret_over. */
static bool take_digits(const char **s, uint64_t *ret, bool *ret_over)
{
	const char *at = *s;
	uint64_t v = 0;

	for (; *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*at - '0'), &v))
			*ret_over = true;
	if (at == *s)
		return false;
	*s = at;
	*ret = v;
	return true;
}

static int bad_u64(const char *s, uint64_t min, uint64_t max, int code, struct err *err)
{
	char text[SHOWN_SIZE];

	(void)shown(s, text);
	if (max == UINT64_MAX && !min)
		return err_set(err, ERR_SPEC, code, "expected a whole number, got '%s'", text);
	if (max == UINT64_MAX)
		return err_set(err, ERR_SPEC, code, "expected %" PRIu64 " or more, got '%s'", min,
			       text);
	return err_set(err, ERR_SPEC, code, "expected %" PRIu64 " to %" PRIu64 ", got '%s'", min,
		       max, text);
}

int parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret, struct err *err)
{
	const char *at = s;
	uint64_t v = 0;
	bool over = false;

	if (!take_digits(&at, &v, &over) || *at)
		return bad_u64(s, min, max, -EINVAL, err);
	if (over || v < min || v > max)
		return bad_u64(s, min, max, -ERANGE, err);
	*ret = v;
	return 0;
}

int parse_i64(const char *s, int64_t min, int64_t max, int64_t *ret, struct err *err)
{
	const bool negative = *s == '-';
	const char *at = s + negative;
	char text[SHOWN_SIZE];
	uint64_t v = 0;
	bool over = false;
	int code = 0;
	int64_t value = 0;

	if (!take_digits(&at, &v, &over) || *at)
		code = -EINVAL;
	else if (over || v > (uint64_t)INT64_MAX + negative)
		code = -ERANGE;
	else
		value = negative ? (int64_t)(0 - v) : (int64_t)v;
	if (!code && (value < min || value > max))
		code = -ERANGE;
	if (code)
		return err_set(err, ERR_SPEC, code, "expected %" PRId64 " to %" PRId64 ", got '%s'",
			       min, max, shown(s, text));
	*ret = value;
	return 0;
}

/* By hand: strtod takes hex, exponents, "nan" and the locale's comma. */
int parse_decimal(const char *s, double min, double max, double *ret, struct err *err)
{
	char text[SHOWN_SIZE];
	const char *at = s;
	uint64_t whole = 0, fraction = 0;
	double v = 0, scale = 1;
	bool over = false;
	bool ok = take_digits(&at, &whole, &over);

	if (ok && *at == '.') {
		const char *start = ++at;
		ok = take_digits(&at, &fraction, &over) && at - start <= 9;
		for (; ok && start < at; start++)
			scale *= 10;
	}
	if (!ok || *at)
		return err_set(err, ERR_SPEC, -EINVAL, "expected %g to %g, got '%s'", min, max,
			       shown(s, text));
	v = (double)whole + (double)fraction / scale;
	if (over || v < min || v > max)
		return err_set(err, ERR_SPEC, -ERANGE, "expected %g to %g, got '%s'", min, max,
			       shown(s, text));
	*ret = v;
	return 0;
}

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit *find_unit(const struct unit *units, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(units[i].name, name))
			return &units[i];
	return NULL;
}

int parse_size(const char *s, uint64_t *ret_bytes, bool *ret_bare, struct err *err)
{
	static const struct unit units[] = {
		{"", 1ull << 20},    {"KiB", 1ull << 10}, {"MiB", 1ull << 20},
		{"GiB", 1ull << 30}, {"TiB", 1ull << 40}, {"KB", 1000},
		{"MB", 1000000},     {"GB", 1000000000},  {"TB", 1000000000000},
	};
	char text[SHOWN_SIZE];
	const char *at = s;
	uint64_t v = 0;
	bool over = false;
	const struct unit *unit =
		take_digits(&at, &v, &over) ? find_unit(units, ARRAY_SIZE(units), at) : NULL;

	if (!unit)
		return err_set(err, ERR_SPEC, -EINVAL,
			       "expected a size such as 512MiB or 4GiB, got '%s'", shown(s, text));
	if (over || __builtin_mul_overflow(v, unit->factor, &v))
		return err_set(err, ERR_SPEC, -ERANGE, "expected a size below 16 EiB, got '%s'",
			       shown(s, text));
	*ret_bytes = v;
	if (ret_bare)
		*ret_bare = !*at;
	return 0;
}

int parse_duration_ms(const char *s, uint64_t *ret_ms, struct err *err)
{
	static const struct unit units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
	char text[SHOWN_SIZE];
	const char *at = s;
	uint64_t v = 0;
	bool over = false;
	bool digits = take_digits(&at, &v, &over);
	const struct unit *unit = digits ? find_unit(units, ARRAY_SIZE(units), at) : NULL;

	if (digits && !*at && !v && !over) {
		*ret_ms = 0;
		return 0;
	}
	if (digits && !*at)
		return err_set(err, ERR_SPEC, -EINVAL,
			       "expected a duration with a unit (ms, s, m, h), got '%s'",
			       shown(s, text));
	if (!unit)
		return err_set(err, ERR_SPEC, -EINVAL,
			       "expected a duration such as 500ms, 30s, 5m or 1h, got '%s'",
			       shown(s, text));
	/* Deadlines are sums of these: the limit keeps every sum far from the end of 64 bits. */
	const uint64_t max = 365ull * 24 * 3600000;
	if (over || __builtin_mul_overflow(v, unit->factor, &v) || v > max)
		return err_set(err, ERR_SPEC, -ERANGE, "expected at most 8760h, got '%s'",
			       shown(s, text));
	*ret_ms = v;
	return 0;
}

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool parse_is_name(const char *s)
{
	size_t len = strnlen(s, 64);

	if (!len || len > 63 || !is_name_char(s[0]) || !is_name_char(s[len - 1]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_name_char(s[i]) && s[i] != '-')
			return false;
	return true;
}

/* One word at *s into w. Inside "..", a backslash takes only '"' and itself, as in sh. */
static int take_word(const char **s, struct buf *w, struct err *err)
{
	char quote = 0;
	const char *at = *s;

	for (; *at && (quote || !strchr(" \t\n\r", *at)); at++) {
		bool escapes = !quote || (quote == '"' && (at[1] == '"' || at[1] == '\\'));

		if (quote && *at == quote)
			quote = 0;
		else if (!quote && (*at == '\'' || *at == '"'))
			quote = *at;
		else if (*at == '\\' && escapes) {
			if (!*++at)
				return err_set(err, ERR_SPEC, -EINVAL,
					       "expected a character after the backslash at the "
					       "end");
			buf_add_char(w, *at);
		} else
			buf_add_char(w, *at);
	}
	if (quote)
		return err_set(err, ERR_SPEC, -EINVAL, "expected a closing %c", quote);
	*s = at;
	return 0;
}

int parse_words(const char *s, struct strv *ret, struct err *err)
{
	auto_strv struct strv words = {0};

	for (;;) {
		auto_buf struct buf w = BUF_INIT(SIZE_MAX);

		s += strspn(s, " \t\n\r");
		if (!*s)
			break;
		int r = take_word(&s, &w, err);
		if (r < 0)
			return r;
		strv_add_take(&words, buf_detach(&w));
	}
	strv_add_all(ret, &words);
	return 0;
}

char *format_size(uint64_t bytes, char *ret, size_t size)
{
	static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	size_t i = 0;
	uint64_t unit = 1;

	while (i + 1 < ARRAY_SIZE(names) && bytes / unit >= 1024) {
		unit <<= 10;
		i++;
	}
	uint64_t whole = bytes / unit;
	uint64_t tenths = ((bytes % unit) * 10 + unit / 2) / unit;
	whole += tenths / 10;
	tenths %= 10;
	/* Rounding up may have reached the next unit. */
	if (whole == 1024 && i + 1 < ARRAY_SIZE(names)) {
		whole = 1;
		i++;
	}
	if (tenths)
		(void)snprintf(ret, size, "%" PRIu64 ".%" PRIu64 " %s", whole, tenths, names[i]);
	else
		(void)snprintf(ret, size, "%" PRIu64 " %s", whole, names[i]);
	return ret;
}

char *format_duration_ms(uint64_t ms, char *ret, size_t size)
{
	uint64_t s = ms / 1000;

	if (ms < 1000)
		(void)snprintf(ret, size, "%" PRIu64 "ms", ms);
	else if (s < 60 && ms % 1000 >= 100)
		(void)snprintf(ret, size, "%" PRIu64 ".%" PRIu64 "s", s, ms % 1000 / 100);
	else if (s < 60)
		(void)snprintf(ret, size, "%" PRIu64 "s", s);
	else if (s < 3600)
		(void)snprintf(ret, size, "%" PRIu64 "m%" PRIu64 "s", s / 60, s % 60);
	else
		(void)snprintf(ret, size, "%" PRIu64 "h%" PRIu64 "m", s / 3600, s / 60 % 60);
	return ret;
}
