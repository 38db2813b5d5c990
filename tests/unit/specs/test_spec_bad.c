/* test_spec_bad.c - tests/data/spec-bad: each file says in its head what fcvm must say about it.
 *
 *   # row: ROW        a row of the field tables it rejects
 *   # set: PATH=VALUE an argument of --set
 *   # expect: L:C: error: PATH: SENTENCE
 *   # hint: SENTENCE  follows the expectation it belongs to
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <string.h>

#include "cleanup.h"
#include "fields.h"
#include "file.h"
#include "helper.h"
#include "map.h"
#include "parse.h"
#include "strv.h"
#include "xalloc.h"

#define DIR_BAD "tests/data/spec-bad"

struct bad {
	struct strv rows, sets;
	struct buf text;   /* the file */
	struct buf wanted; /* whole output, built from the head and the file's own lines */
};

static void bad_free(struct bad *b)
{
	strv_free(&b->rows);
	strv_free(&b->sets);
	buf_free(&b->text);
	buf_free(&b->wanted);
}
#define auto_bad __attribute__((cleanup(bad_free)))

/* The line of the file, and a caret below the column, as every problem shows them. */
static void add_source(struct bad *b, uint64_t line, uint64_t col)
{
	const char *p = buf_str(&b->text);

	for (uint64_t i = 1; i < line && p; i++) {
		p = strchr(p, '\n');
		p = p ? p + 1 : NULL;
	}
	if (!p)
		return;
	size_t len = strcspn(p, "\n");

	buf_add(&b->wanted, p, len);
	buf_add_char(&b->wanted, '\n');
	for (uint64_t i = 1; i < col; i++)
		buf_add_char(&b->wanted, ' ');
	buf_add_str(&b->wanted, "^\n");
}

static void add_expectation(struct bad *b, const char *name, const char *line, size_t len)
{
	size_t line_len = strcspn(line, ":"), col_len = strcspn(line + line_len + 1, ":");
	auto_free char *line_text = xstrndup(line, line_len);
	auto_free char *col_text = xstrndup(line + line_len + 1, col_len);
	uint64_t at_line, at_col;

	buf_addf(&b->wanted, "%s:%.*s\n", name, (int)len, line);
	cr_assert_eq(parse_u64(line_text, 1, 1000, &at_line, NULL), 0, "%s: %s", name, line_text);
	cr_assert_eq(parse_u64(col_text, 1, 1000, &at_col, NULL), 0, "%s: %s", name, col_text);
	add_source(b, at_line, at_col);
}

static void read_head(struct bad *b, const char *name)
{
	for (const char *line = buf_str(&b->text); strncmp(line, "# ", 2) == 0;) {
		size_t len = strcspn(line, "\n");

		if (strncmp(line, "# row: ", 7) == 0)
			strv_add_take(&b->rows, xstrndup(line + 7, len - 7));
		else if (strncmp(line, "# set: ", 7) == 0)
			strv_add_take(&b->sets, xstrndup(line + 7, len - 7));
		else if (strncmp(line, "# expect: ", 10) == 0)
			add_expectation(b, name, line + 10, len - 10);
		else if (strncmp(line, "# hint: ", 8) == 0)
			buf_addf(&b->wanted, "%.*s\n", (int)len - 2, line + 2);
		else
			cr_assert_fail("%s: unknown head line %.*s", name, (int)len, line);
		line += len + 1;
	}
}

static void load(struct bad *b, const char *name)
{
	auto_free char *path = path_join(DIR_BAD, name);
	struct err err = {0};

	b->text.max = b->wanted.max = 2u << 20;
	cr_assert_eq(file_read(path, 2u << 20, &b->text, &err), 0, "%s", err.msg);
	read_head(b, name);
}

static void each_file(void (*visit)(struct bad *b, const char *name, void *arg), void *arg)
{
	auto_closedir DIR *dir = opendir(DIR_BAD);
	struct dirent *e;

	cr_assert_not_null(dir, "run from the top of the source tree");
	while ((e = readdir(dir))) {
		auto_bad struct bad b = {.text = {0}};

		if (!strstr(e->d_name, ".yaml"))
			continue;
		load(&b, e->d_name);
		visit(&b, e->d_name, arg);
	}
}

static void compare(struct bad *b, const char *name, void *arg)
{
	auto_free char *said = spec_says(name, buf_str(&b->text), b->text.len, &b->sets);
	size_t *n = arg;

	cr_expect_gt(b->wanted.len, 0, "%s expects nothing", name);
	cr_expect_str_eq(said, buf_str(&b->wanted), "%s says:\n%s\nwanted:\n%s", name, said,
			 buf_str(&b->wanted));
	(*n)++;
}

Test(spec_bad, each_file_is_rejected_with_exactly_what_its_head_says)
{
	size_t n = 0;

	each_file(compare, &n);
	cr_expect_geq(n, 60, "only %zu files", n);
}

static void collect_rows(struct bad *b, const char *name, void *arg)
{
	struct map *rows = arg;

	(void)name;
	for (size_t i = 0; i < b->rows.n; i++)
		(void)map_add(rows, b->rows.v[i], rows);
}

static void row_is_rejected_somewhere(const char *path, const struct field *f, void *arg)
{
	struct map *rows = arg;

	(void)f;
	cr_expect(map_has(rows, path), "no spec in " DIR_BAD " says '# row: %s'", path);
	map_set(rows, path, NULL);
}

Test(spec_bad, each_row_of_the_field_tables_is_rejected_by_some_file)
{
	auto_map struct map rows = {0};
	const char *key;
	void *value;

	each_file(collect_rows, &rows);
	fields_visit(row_is_rejected_somewhere, &rows);
	for (size_t pos = 0; map_next(&rows, &pos, &key, &value);)
		cr_expect_null(value, "'# row: %s' is no row of the field tables", key);
}
