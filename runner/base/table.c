#include "table.h"

#include "strv.h"
#include "xalloc.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct table {
	struct strv cells; /* the headings are the first row */
	bool *right;
	size_t n;
};

void table_free_p(struct table **t)
{
	if (!*t)
		return;
	strv_free(&(*t)->cells);
	free((*t)->right);
	free(*t);
	*t = NULL;
}

struct table *table_new(const char *const *headings, size_t n)
{
	struct table *t = xcalloc(1, sizeof(*t));

	t->n = n;
	t->right = xcalloc(n, sizeof(*t->right));
	for (size_t i = 0; i < n; i++) {
		t->right[i] = headings[i][0] == '>';
		strv_add(&t->cells, headings[i] + t->right[i]);
	}
	return t;
}

void table_cell(struct table *t, const char *text)
{
	strv_add(&t->cells, text ? text : "-");
}

void table_cellf(struct table *t, const char *fmt, ...)
{
	struct buf b = BUF_INIT(SIZE_MAX);
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&b, fmt, ap);
	va_end(ap);
	strv_add_take(&t->cells, buf_detach(&b));
}

/* Code points: every byte that does not continue one. */
static size_t width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void add_blanks(struct buf *out, size_t n)
{
	while (n--)
		buf_add_char(out, ' ');
}

void table_print(const struct table *t, struct buf *out)
{
	size_t *widths = xcalloc(t->n, sizeof(*widths));

	for (size_t i = 0; i < t->cells.n; i++) {
		size_t w = width(t->cells.v[i]);
		if (w > widths[i % t->n])
			widths[i % t->n] = w;
	}
	for (size_t i = 0; i < t->cells.n; i++) {
		const char *cell = t->cells.v[i];
		size_t column = i % t->n;
		bool last = column + 1 == t->n || i + 1 == t->cells.n;
		size_t pad = widths[column] - width(cell);

		if (t->right[column])
			add_blanks(out, pad);
		buf_add_str(out, cell);
		if (last) {
			buf_add_char(out, '\n');
			continue;
		}
		add_blanks(out, (t->right[column] ? 0 : pad) + 2);
	}
	free(widths);
}
