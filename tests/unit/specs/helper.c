#include "helper.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "parse.h"

char *spec_says(const char *name, const char *text, size_t len, const struct strv *sets)
{
	auto_fleet struct fleet *fleet = NULL;
	struct fleet_options options = {.sets = sets};
	struct buf out = BUF_INIT(1u << 20);
	struct err err = {0};
	int r = fleet_parse(name, text, len, &options, &fleet, &out, &err);

	cr_assert_eq(r < 0, fleet == NULL, "a fleet exactly on success");
	if (r < 0) {
		cr_assert_gt(out.len, 0, "a refused spec says why");
		cr_assert_eq(err.class, ERR_SPEC);
		cr_assert_eq(r, -EINVAL);
		return buf_detach(&out);
	}
	r = fleet_refuse_unavailable(fleet, &out, &err);
	if (r < 0)
		cr_assert_eq(err.class, ERR_SPEC);
	return buf_detach(&out);
}

char *spec_says_str(const char *text, const char *sets)
{
	auto_strv struct strv list = {0};

	cr_assert_eq(parse_words(sets ? sets : "", &list, NULL), 0);
	return spec_says("t.yaml", text, strlen(text), &list);
}

struct fleet *spec_parse(const char *text)
{
	struct fleet *fleet = NULL;
	auto_buf struct buf out = BUF_INIT(1u << 20);
	struct err err = {0};

	cr_assert_eq(fleet_parse("/dir/t.yaml", text, strlen(text), NULL, &fleet, &out, &err), 0,
		     "%s", buf_str(&out));
	return fleet;
}

char *spec_first_lines(const char *text, const char *sets)
{
	char *all = spec_says_str(text, sets);
	struct buf out = BUF_INIT(1u << 20);

	for (const char *line = all; *line;) {
		size_t len = strcspn(line, "\n");

		if (strncmp(line, "t.yaml:", 7) == 0 || strncmp(line, "and ", 4) == 0) {
			size_t skip = *line == 't' ? 7 : 0;

			buf_add(&out, line + skip, len - skip);
			buf_add_char(&out, '\n');
		}
		line += len + (line[len] == '\n');
	}
	free(all);
	return buf_detach(&out);
}
