#include "json_scan.h"

#include <string.h>

static size_t skip_blank(struct json_span v, size_t at)
{
	while (at < v.len && strchr(" \t\r\n", v.at[at]) && v.at[at])
		at++;
	return at;
}

/* Past the string that starts at `at`; v.len when it does not end. */
static size_t skip_string(struct json_span v, size_t at)
{
	for (at++; at < v.len; at++) {
		if (v.at[at] == '\\')
			at++;
		else if (v.at[at] == '"')
			return at + 1;
	}
	return v.len;
}

static size_t skip_nested(struct json_span v, size_t at)
{
	int depth = 0;

	while (at < v.len) {
		char c = v.at[at];

		if (c == '"') {
			at = skip_string(v, at);
			continue;
		}
		if (c == '{' || c == '[')
			depth++;
		else if (c == '}' || c == ']')
			depth--;
		at++;
		if (depth == 0 || depth > JSON_SCAN_DEPTH)
			return at;
	}
	return v.len;
}

static size_t skip_value(struct json_span v, size_t at)
{
	if (at >= v.len)
		return v.len;
	if (v.at[at] == '"')
		return skip_string(v, at);
	if (v.at[at] == '{' || v.at[at] == '[')
		return skip_nested(v, at);
	while (at < v.len && !strchr(",]} \t\r\n", v.at[at]))
		at++;
	return at;
}

bool json_scan_next(struct json_span v, size_t *pos, struct json_span *ret_key,
		    struct json_span *ret_item)
{
	bool object = v.len > 0 && v.at[0] == '{';
	size_t at = *pos ? *pos : 1;

	if (v.len < 2 || (!object && v.at[0] != '['))
		return false;
	at = skip_blank(v, at);
	if (at < v.len && v.at[at] == ',')
		at = skip_blank(v, at + 1);
	if (at >= v.len || v.at[at] == '}' || v.at[at] == ']')
		return false;
	*ret_key = (struct json_span){v.at + at, 0};
	if (object) {
		size_t end = skip_string(v, at);

		if (v.at[at] != '"' || end >= v.len)
			return false;
		*ret_key = (struct json_span){v.at + at + 1, end - at - 2};
		at = skip_blank(v, end);
		if (at >= v.len || v.at[at] != ':')
			return false;
		at = skip_blank(v, at + 1);
	}
	size_t end = skip_value(v, at);
	*ret_item = (struct json_span){v.at + at, end - at};
	*pos = end;
	return end > at;
}

bool json_span_is(struct json_span span, const char *text)
{
	return span.len == strlen(text) && memcmp(span.at, text, span.len) == 0;
}

static bool find_member(struct json_span v, struct json_span key, struct json_span *ret)
{
	struct json_span k, item;
	size_t pos = 0;

	while (json_scan_next(v, &pos, &k, &item)) {
		if (k.len != key.len || memcmp(k.at, key.at, k.len) != 0)
			continue;
		*ret = item;
		return true;
	}
	return false;
}

bool json_scan_find(struct json_span value, const char *path, struct json_span *ret)
{
	struct json_span v = value;

	v.at += skip_blank(v, 0);
	v.len -= (size_t)(v.at - value.at);
	while (*path) {
		size_t n = strcspn(path, ".");

		if (!find_member(v, (struct json_span){path, n}, &v))
			return false;
		path += n + (path[n] == '.');
	}
	*ret = v;
	return true;
}

static bool hex4(const char *at, size_t len, uint32_t *ret)
{
	uint32_t v = 0;

	if (len < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		const char *digits = "0123456789abcdef";
		const char *d = at[i] ? strchr(digits, at[i] | 0x20) : NULL;

		if (!d)
			return false;
		v = v << 4 | (uint32_t)(d - digits);
	}
	*ret = v;
	return true;
}

static void put_utf8(struct buf *out, uint32_t c)
{
	if (c < 0x80) {
		buf_add_char(out, (char)c);
	} else if (c < 0x800) {
		buf_add_char(out, (char)(0xc0 | c >> 6));
		buf_add_char(out, (char)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		buf_add_char(out, (char)(0xe0 | c >> 12));
		buf_add_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
		buf_add_char(out, (char)(0x80 | (c & 0x3f)));
	} else {
		buf_add_char(out, (char)(0xf0 | c >> 18));
		buf_add_char(out, (char)(0x80 | (c >> 12 & 0x3f)));
		buf_add_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
		buf_add_char(out, (char)(0x80 | (c & 0x3f)));
	}
}

/* \uXXXX, or a pair of them, at `at`; the bytes used, 0 when malformed. */
static size_t unescape_u(const char *at, size_t len, struct buf *out)
{
	uint32_t c, low;

	if (len < 6 || !hex4(at + 2, len - 2, &c) || c == 0)
		return 0;
	if (c < 0xd800 || c > 0xdbff) {
		put_utf8(out, c);
		return 6;
	}
	if (len < 12 || at[6] != '\\' || at[7] != 'u' || !hex4(at + 8, len - 8, &low))
		return 0;
	put_utf8(out, 0x10000 + ((c & 0x3ff) << 10 | (low & 0x3ff)));
	return 12;
}

static size_t unescape(const char *at, size_t len, struct buf *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";

	if (len < 2)
		return 0;
	if (at[1] == 'u')
		return unescape_u(at, len, out);
	const char *found = at[1] ? strchr(from, at[1]) : NULL;
	if (!found)
		return 0;
	buf_add_char(out, to[found - from]);
	return 2;
}

bool json_scan_str(struct json_span v, struct buf *out)
{
	if (v.len < 2 || v.at[0] != '"' || v.at[v.len - 1] != '"')
		return false;
	for (size_t at = 1; at < v.len - 1;) {
		size_t used = 1;

		if (v.at[at] == '\\')
			used = unescape(v.at + at, v.len - 1 - at, out);
		else
			buf_add_char(out, v.at[at]);
		if (used == 0)
			return false;
		at += used;
	}
	return buf_ok(out);
}

bool json_scan_u64(struct json_span v, uint64_t *ret)
{
	uint64_t n = 0;

	if (v.len == 0 || v.len > 18)
		return false;
	for (size_t i = 0; i < v.len; i++) {
		if (v.at[i] < '0' || v.at[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(v.at[i] - '0');
	}
	*ret = n;
	return true;
}

void json_put_str(struct buf *out, const char *text)
{
	buf_add_char(out, '"');
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			buf_addf(out, "\\%c", c);
		else if (c < 0x20)
			buf_addf(out, "\\u%04x", c);
		else
			buf_add_char(out, (char)c);
	}
	buf_add_char(out, '"');
}
