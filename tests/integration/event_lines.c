#include "event_lines.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <string.h>

#include "cleanup.h"

static bool has_all(struct json_object *o, va_list pairs)
{
	bool all = true;
	const char *key;
	va_list ap;

	va_copy(ap, pairs);
	while ((key = va_arg(ap, const char *)))
		all &= strcmp(json_opt_str(o, key, ""), va_arg(ap, const char *)) == 0;
	va_end(ap);
	return all;
}

static size_t look(const char *lines, va_list pairs, struct json_object **ret_last)
{
	size_t n = 0, len;

	for (; *lines; lines += len + 1) {
		auto_json struct json_object *o = NULL;

		len = strcspn(lines, "\n");
		cr_assert_eq(lines[len], '\n', "no whole line: %s", lines);
		cr_assert_eq(json_parse(lines, len, &o, NULL), 0, "%.*s", (int)len, lines);
		cr_assert(json_object_is_type(o, json_type_object), "%.*s", (int)len, lines);
		if (!has_all(o, pairs))
			continue;
		n++;
		if (ret_last) {
			json_put_p(ret_last);
			*ret_last = json_object_get(o);
		}
	}
	return n;
}

size_t event_count(const char *lines, ...)
{
	va_list pairs;

	va_start(pairs, lines);
	size_t n = look(lines, pairs, NULL);
	va_end(pairs);
	return n;
}

struct json_object *event_last(const char *lines, ...)
{
	struct json_object *last = NULL;
	va_list pairs;

	va_start(pairs, lines);
	(void)look(lines, pairs, &last);
	va_end(pairs);
	return last;
}
