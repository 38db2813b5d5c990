/* specdoc.c - docs/spec.md from the field tables. */
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "explain.h"
#include "fields.h"

/* A table cell: `|` would end it. */
static void add_cell(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '|')
			buf_add_char(out, '\\');
		buf_add_char(out, *text);
	}
	buf_add_str(out, " | ");
}

static void add_row(const char *path, const struct field *f, void *arg)
{
	static const char *const shapes[] = {
		[FIELD_ONE] = "", [FIELD_LIST] = "list of ", [FIELD_EACH] = "map of "};
	struct buf *out = arg;
	enum field_class class = f->class;
	auto_buf struct buf limits = BUF_INIT(200), type = BUF_INIT(100), doc = BUF_INIT(600);

	if (f->type == FIELD_MISPLACED)
		return;
	if (!strchr(path, '.'))
		buf_addf(out,
			 "\n## %s\n\n| field | type | default | values | change | what it is |\n"
			 "|---|---|---|---|---|---|\n",
			 path);
	(void)fields_at(path, &class);
	fields_limits(f, &limits);
	buf_addf(&type, "%s%s", shapes[f->shape], fields_type_name(f));
	buf_addf(&doc, "%s%s", f->doc,
		 f->by != BY_MAIN && f->type != FIELD_MAP ? " *Not in this version.*" : "");
	buf_addf(out, "| `%s` | ", path);
	add_cell(out, buf_str(&type));
	add_cell(out, f->flags & FIELD_REQUIRED ? "required" : f->dflt ? f->dflt : "");
	add_cell(out, buf_str(&limits));
	add_cell(out, fields_class_name(class));
	add_cell(out, buf_str(&doc));
	out->len--; /* the blank after the last bar */
	out->data[out->len] = '\0';
	buf_add_char(out, '\n');
}

void explain_spec_markdown(struct buf *out)
{
	buf_add_str(
		out,
		"# The fleet spec, field by field\n\n"
		"Generated from the field tables in `specs/fields*.c` by `make docs`; do not edit.\n"
		"`fcvm explain FIELD` prints the same.\n\n"
		"- Entries are maps by name; capital letters (`B`, `F`) stand for names you choose.\n"
		"- Keys that begin with `x-` are ignored at every level: a place for anchors.\n"
		"- Sizes are `512MiB`, `4GiB`, `500MB`; durations `500ms`, `30s`, `5m`, `1h`.\n"
		"- `{{ }}` are templates: `index`, `name`, `clone`, `fleet`, `vars.NAME`, whole\n"
		"  numbers, texts in quotes, `+ - * / %`, `pad(n, width)`, `hash8(text)`,\n"
		"  `lower(text)`. Put quotes around the whole value.\n"
		"- YAML anchors, aliases and `<<` work, within limits: 1 MiB, 32 levels, 10000\n"
		"  values after expansion. Duplicate keys, tags and second documents are errors.\n"
		"- *Not in this version*: checked by `validate`, refused by `plan` and `apply`.\n");
	fields_visit(add_row, out);
}
