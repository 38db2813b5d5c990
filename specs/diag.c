#include "diag.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "xalloc.h"

#define KEEP_MAX 20000          /* problems remembered; more are only counted */
#define SENTENCE_MAX 1024       /* bytes of one problem's text */
#define SOURCE_COLUMN_MAX 10000 /* further right nobody looks, and counting takes its time */
#define WINDOW 160              /* code points of a source line that are shown */

struct kept {
	enum diag_level level;
	enum err_class class;
	struct place at;
	size_t seq;
	char *text; /* "PATH: SENTENCE" */
	char *hint;
};

struct diag {
	char *name;
	char *text;
	size_t len;
	const char **lines; /* start of each line */
	size_t n_lines, cap_lines;
	struct kept *kept;
	size_t n, cap;
	size_t n_dropped, n_errors;
};

static void index_lines(struct diag *d)
{
	const char *end = d->text + d->len;

	for (const char *p = d->text; p && p <= end;) {
		d->lines = xgrow(d->lines, &d->cap_lines, d->n_lines + 1, sizeof(*d->lines));
		d->lines[d->n_lines++] = p;
		p = memchr(p, '\n', (size_t)(end - p));
		if (p)
			p++;
	}
}

struct diag *diag_new(const char *name, const char *text, size_t len)
{
	struct diag *d = xcalloc(1, sizeof(*d));

	d->name = xstrdup(name);
	d->text = xmalloc(len + 1);
	memcpy(d->text, text, len);
	d->text[len] = '\0';
	d->len = len;
	index_lines(d);
	return d;
}

static void forget(struct diag *d)
{
	for (size_t i = 0; i < d->n; i++) {
		free(d->kept[i].text);
		free(d->kept[i].hint);
	}
	d->n = d->n_dropped = d->n_errors = 0;
}

void diag_free(struct diag *d)
{
	if (!d)
		return;
	forget(d);
	free(d->kept);
	free(d->lines);
	free(d->text);
	free(d->name);
	free(d);
}

void diag_free_p(struct diag **d)
{
	diag_free(*d);
	*d = NULL;
}

/* Length of the code point at p, 0 when it is broken or must not reach a terminal. */
static size_t printable_length(const char *p, const char *end)
{
	const unsigned char *u = (const unsigned char *)p;
	size_t n = *u < 0x80 ? 1 : *u >= 0xf0 ? 4 : *u >= 0xe0 ? 3 : *u >= 0xc2 ? 2 : 0;

	if (n == 0 || n > (size_t)(end - p) || *u > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((u[i] & 0xc0) != 0x80)
			return 0;
	}
	if (n == 1)
		return *u >= 0x20 && *u != 0x7f;
	if (n == 2 && u[0] == 0xc2 && u[1] < 0xa0) /* C1 controls */
		return 0;
	return n;
}

/* Bytes to step over for one code point, broken ones byte by byte. */
static size_t step(const char *p, const char *end)
{
	size_t n = 1;

	while (p + n < end && ((unsigned char)p[n] & 0xc0) == 0x80 && n < 4)
		n++;
	return ((unsigned char)*p & 0xc0) == 0xc0 ? n : 1;
}

static void add_clean(struct buf *out, const char *p, const char *end)
{
	while (p < end) {
		size_t n = printable_length(p, end);

		if (n)
			buf_add(out, p, n);
		else
			buf_add_char(out, *p == '\t' ? '\t' : '?');
		p += n ? n : step(p, end);
	}
}

bool diag_is_clean(const char *text)
{
	const char *end = text + strlen(text);

	while (text < end) {
		size_t n = printable_length(text, end);

		if (!n)
			return false;
		text += n;
	}
	return true;
}

static char *clean_copy(const char *s)
{
	struct buf out = BUF_INIT((size_t)4 * SENTENCE_MAX);

	add_clean(&out, s, s + strlen(s));
	return buf_detach(&out);
}

static char *sentence(const struct diag_problem *problem, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

static char *sentence(const struct diag_problem *problem, const char *fmt, va_list ap)
{
	auto_buf struct buf raw = BUF_INIT(SENTENCE_MAX);

	if (problem->path)
		buf_addf(&raw, "%s: ", problem->path);
	buf_vaddf(&raw, fmt, ap);
	return clean_copy(buf_str(&raw));
}

void diag_add(struct diag *d, const struct diag_problem *problem, const char *fmt, ...)
{
	va_list ap;

	if (problem->level == DIAG_ERROR)
		d->n_errors++;
	if (d->n >= KEEP_MAX) {
		d->n_dropped++;
		return;
	}
	d->kept = xgrow(d->kept, &d->cap, d->n + 1, sizeof(*d->kept));
	struct kept *k = &d->kept[d->n];

	va_start(ap, fmt);
	*k = (struct kept){
		.level = problem->level, .class = problem->class, .at = problem->at, .seq = d->n};
	k->text = sentence(problem, fmt, ap);
	va_end(ap);
	if (problem->hint)
		k->hint = clean_copy(problem->hint);
	d->n++;
}

size_t diag_errors(const struct diag *d)
{
	return d->n_errors;
}

const char *diag_name(const struct diag *d)
{
	return d->name;
}

enum err_class diag_class(const struct diag *d)
{
	const struct kept *first = NULL;

	for (size_t i = 0; i < d->n; i++) {
		const struct kept *k = &d->kept[i];

		if (k->level == DIAG_ERROR && (!first || k->class == ERR_SPEC))
			first = k;
		if (first && first->class == ERR_SPEC)
			break;
	}
	return first ? first->class : ERR_SPEC;
}

static int by_place(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;

	if (x->at.line != y->at.line)
		return x->at.line < y->at.line ? -1 : 1;
	if (x->at.col != y->at.col)
		return x->at.col < y->at.col ? -1 : 1;
	return x->seq < y->seq ? -1 : 1;
}

/* The line and its end without the line break; false when the place is not in the text. */
static bool find_line(const struct diag *d, uint32_t line, const char **ret, const char **ret_end)
{
	if (line == 0 || line > d->n_lines)
		return false;
	const char *p = d->lines[line - 1];
	const char *end = line < d->n_lines ? d->lines[line] - 1 : d->text + d->len;

	if (end > p && end[-1] == '\r')
		end--;
	*ret = p;
	*ret_end = end;
	return true;
}

static const char *skip_points(const char *p, const char *end, size_t n)
{
	while (n-- > 0 && p < end)
		p += step(p, end);
	return p;
}

/* The source line and a caret below the column; a long line is cut to a window around it. */
static void add_source(const struct diag *d, struct place at, struct buf *out)
{
	const char *p, *end;

	if (!find_line(d, at.line, &p, &end) || at.col == 0)
		return;
	size_t col = at.col - 1;
	bool fits = skip_points(p, end, WINDOW) == end;
	size_t first = fits || col < WINDOW / 2 ? 0 : col - WINDOW / 2;
	const char *from = skip_points(p, end, first);
	const char *to = skip_points(from, end, WINDOW);
	const char *mark = skip_points(from, to, col - first);

	if (from > p)
		buf_add_str(out, "...");
	add_clean(out, from, to);
	buf_add_str(out, to < end ? "...\n" : "\n");
	if (from > p)
		buf_add_str(out, "   ");
	for (const char *q = from; q < mark; q += step(q, mark))
		buf_add_char(out, *q == '\t' ? '\t' : ' ');
	buf_add_str(out, "^\n");
}

static void add_problem(const struct diag *d, const struct kept *k, struct buf *out)
{
	static const char *const level_names[] = {"error", "warning"};
	auto_free char *name = clean_copy(d->name);

	/* What is built in or comes from a default has no line: the file's first stands for it. */
	buf_addf(out, "%s:%u:%u: %s: %s\n", name, k->at.line ? k->at.line : 1,
		 k->at.line && k->at.col ? k->at.col : 1, level_names[k->level], k->text);
	add_source(d, k->at, out);
	if (k->hint)
		buf_addf(out, "hint: %s\n", k->hint);
}

static void sort(struct diag *d)
{
	if (d->n > 1)
		qsort(d->kept, d->n, sizeof(*d->kept), by_place);
}

const char *diag_first(struct diag *d, const char **ret_hint)
{
	sort(d);
	for (size_t i = 0; i < d->n; i++) {
		if (d->kept[i].level != DIAG_ERROR)
			continue;
		*ret_hint = d->kept[i].hint;
		return d->kept[i].text;
	}
	return NULL;
}

void diag_print(struct diag *d, struct buf *out)
{
	sort(d);
	for (size_t i = 0; i < d->n && i < DIAG_PRINT_MAX; i++)
		add_problem(d, &d->kept[i], out);
	if (d->n + d->n_dropped > DIAG_PRINT_MAX)
		buf_addf(out, "and %zu more\n", d->n + d->n_dropped - DIAG_PRINT_MAX);
	forget(d);
}

const char *diag_source(const struct diag *d, struct place at)
{
	const char *p, *end;

	if (at.col == 0 || at.col > SOURCE_COLUMN_MAX || !find_line(d, at.line, &p, &end))
		return "";
	return skip_points(p, end, at.col - 1);
}

bool diag_line_has(const struct diag *d, uint32_t line, const char *needle)
{
	const char *p, *end;

	return find_line(d, line, &p, &end) &&
	       memmem(p, (size_t)(end - p), needle, strlen(needle)) != NULL;
}

struct place diag_place(const struct diag *d, size_t offset)
{
	struct place at = {1, 1};
	size_t line = 0;

	if (offset > d->len)
		offset = d->len;
	while (line + 1 < d->n_lines && d->lines[line + 1] <= d->text + offset)
		line++;
	at.line = (uint32_t)line + 1;
	for (const char *p = d->lines[line]; p < d->text + offset; p += step(p, d->text + offset))
		at.col++;
	return at;
}
