#include "explain.h"

#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "fields.h"
#include "strv.h"
#include "xalloc.h"

struct walk {
	const struct field *field;       /* NULL: the top of the spec */
	const struct field_group *group; /* below it, NULL for a leaf */
	bool at_entries;                 /* the name of an entry may follow */
	enum field_class class;          /* never more than that of the maps around it */
	struct buf path;                 /* as the tables write it */
};

/* fleets.web.count: "web" stands where the tables write F. At the end of the path it could as well
 * be a mistyped field: then only a name that is near to none is taken for an entry. */
static bool is_entry_name(const struct walk *w, const char *key, bool last)
{
	if (!w->at_entries)
		return false;
	return !last || !w->group || strcmp(key, w->field->entry) == 0 ||
	       !fields_nearest(w->group, key);
}

/* One key down; the name of an entry may be given or left out. */
static bool step(struct walk *w, const char *key, bool last)
{
	const struct field *f = w->group ? fields_find(w->group, key) : NULL;

	if (!f || f->type == FIELD_MISPLACED) {
		bool entry = is_entry_name(w, key, last);

		w->at_entries = false;
		return entry;
	}
	buf_addf(&w->path, "%s%s", w->path.len ? "." : "", key);
	w->field = f;
	w->group = f->group;
	w->class = f->class < w->class ? f->class : w->class;
	w->at_entries = f->shape == FIELD_EACH;
	if (w->at_entries && !last)
		buf_addf(&w->path, ".%s", f->entry);
	return true;
}

struct nearest {
	struct strv paths;
};

static void collect(const char *path, const struct field *f, void *arg)
{
	struct nearest *n = arg;

	if (f->type != FIELD_MISPLACED)
		strv_add(&n->paths, path);
}

/* Paths with and without entry names are both candidates: "fleets.coutn" is near "fleets.count". */
static char *find_nearest(const char *field)
{
	struct nearest n = {{0}};

	fields_visit(collect, &n);
	size_t count = n.paths.n;

	for (size_t i = 0; i < count; i++) {
		auto_buf struct buf bare = BUF_INIT(300);

		for (const char *p = n.paths.v[i]; *p; p++) {
			if (p[0] == '.' && ((p[1] >= 'A' && p[1] <= 'Z') || p[1] == '*') &&
			    (p[2] == '.' || p[2] == '\0'))
				p++;
			else
				buf_add_char(&bare, *p);
		}
		strv_add(&n.paths, buf_str(&bare));
	}
	const char *near = strv_nearest(field, (const char *const *)n.paths.v, n.paths.n);
	char *copy = near ? xstrdup(near) : NULL;

	strv_free(&n.paths);
	return copy;
}

static int fail_unknown(const char *field, const char *key, const struct field_group *group,
			struct err *err)
{
	const char *sibling = group ? fields_nearest(group, key) : NULL;
	auto_free char *near = find_nearest(field);
	int r = err_set(err, ERR_SPEC, -ENOENT, "no field '%.100s'", field);

	if (near)
		return err_hint(err, "did you mean '%s'?", near);
	if (sibling)
		return err_hint(err, "did you mean '%s'?", sibling);
	(void)err_hint(err,
		       "fcvm explain lists the top fields, fcvm explain fleets those of fleets");
	return r;
}

static void add_type(const struct field *f, struct buf *out)
{
	static const char *const before[] = {
		[FIELD_ONE] = "", [FIELD_LIST] = "list of ", [FIELD_EACH] = "map of name to "};

	buf_addf(out, "%s%s", before[f->shape], fields_type_name(f));
}

static void add_available(const struct field *f, struct buf *out)
{
	auto_buf struct buf list = BUF_INIT(200);

	if (f->by != BY_MAIN && f->type != FIELD_MAP) {
		buf_add_str(out, "AVAILABLE:  not in this version\n");
	} else if (f->only) {
		fields_list_choices(f->only, &list);
		buf_addf(out, "AVAILABLE:  in this version: %s\n", buf_str(&list));
	}
}

static void add_facts(const struct field *f, enum field_class class, struct buf *out)
{
	auto_buf struct buf limits = BUF_INIT(200);

	buf_add_str(out, "TYPE:       ");
	add_type(f, out);
	buf_add_char(out, '\n');
	if (f->flags & FIELD_REQUIRED)
		buf_add_str(out, "REQUIRED:   yes\n");
	if (f->dflt)
		buf_addf(out, "DEFAULT:    %s\n", f->dflt);
	fields_limits(f, &limits);
	if (limits.len)
		buf_addf(out, "VALUES:     %s\n", buf_str(&limits));
	buf_addf(out, "CHANGE:     %s\n", fields_class_name(class));
	add_available(f, out);
}

static void add_members(const struct field_group *group, struct buf *out)
{
	size_t width = 0;

	for (size_t i = 0; i < group->n; i++) {
		size_t len = strlen(group->fields[i].key);

		width = len > width ? len : width;
	}
	buf_add_str(out, "\nFIELDS:\n");
	for (size_t i = 0; i < group->n; i++) {
		const struct field *f = &group->fields[i];

		if (f->type != FIELD_MISPLACED)
			buf_addf(out, "  %-*s  %s%s\n", (int)width, f->key, f->doc,
				 f->flags & FIELD_REQUIRED ? " (required)" : "");
	}
}

int explain_field(const char *field, struct buf *out, struct err *err)
{
	struct walk w = {.group = &fields_top, .class = CLASS_CASCADE};
	auto_free char *copy = xstrdup(field);
	char *rest = *copy ? copy : NULL;

	w.path.max = 400;
	for (char *key; (key = strsep(&rest, "."));) {
		if (step(&w, key, !rest))
			continue;
		buf_free(&w.path);
		return fail_unknown(field, key, w.group, err);
	}
	if (w.field) {
		buf_addf(out, "FIELD:      %s\n", buf_str(&w.path));
		add_facts(w.field, w.class, out);
		buf_addf(out, "\n%s\n", w.field->doc);
	} else {
		buf_add_str(out, "A fleet set: what should run, as data.\n");
	}
	if (w.group)
		add_members(w.group, out);
	buf_free(&w.path);
	return 0;
}
