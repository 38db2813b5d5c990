#include "rows.h"

#include "cleanup.h"

#include <string.h>

static void add_lines(struct json_object *rows, struct buf *out)
{
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		auto_free char *line = json_line(json_object_array_get_idx(rows, i));

		buf_addf(out, "%s\n", line);
	}
}

bool rows_print(struct json_object *rows, const char *format, struct buf *out)
{
	static const int style = JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE;

	if (strcmp(format, "json") == 0)
		buf_addf(out, "%s\n", json_object_to_json_string_ext(rows, style));
	else if (strcmp(format, "jsonl") == 0)
		add_lines(rows, out);
	else
		return false;
	return true;
}
