#include "plan_print.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "xalloc.h"

/* A run of at least this many like steps is told in one line. */
#define FOLD_MIN 9
#define VALUE_MAX 60

struct look {
	const char *symbol, *color;
};

static struct look look_of(enum change action)
{
	static const struct look looks[] = {
		[CHANGE_NONE] = {" ", ""},
		[CHANGE_CREATE] = {"+", "\033[32m"},
		[CHANGE_UPDATE] = {"~", "\033[33m"},
		[CHANGE_REPLACE] = {"±", "\033[35m"},
		[CHANGE_DESTROY] = {"-", "\033[31m"},
	};

	return looks[action];
}

static char *address_of(const struct graph *g, size_t node)
{
	return resource_address(g->nodes[node].kind, g->nodes[node].name);
}

static void add_value(struct buf *b, const char *value)
{
	if (strlen(value) > VALUE_MAX)
		buf_addf(b, "'%.*s…'", VALUE_MAX, value);
	else
		buf_addf(b, "'%s'", value);
}

static void add_reason(struct buf *b, const struct reason *r, const char *file)
{
	if (file && r->at.line)
		buf_addf(b, "%s:%u:%u: ", file, r->at.line, r->at.col);
	buf_add_str(b, r->path);
	if (!r->old && !r->new)
		return;
	buf_add_str(b, ": ");
	if (r->old)
		add_value(b, r->old);
	if (r->old && r->new)
		buf_add_str(b, " -> ");
	if (r->new)
		add_value(b, r->new);
	else
		buf_add_str(b, " -> nothing");
	if (r->disturbs)
		buf_addf(b, "; %s", r->disturbs);
}

static bool names_only(const char *name, const struct reason *r)
{
	const char *value = r->old ? r->old : r->new;

	return value && !(r->old && r->new) && strcmp(value, name) == 0;
}

static void add_reasons(struct buf *b, const struct graph *g, const struct step *s,
			const char *file)
{
	/* Where it is asked for, or no longer, is all there is to say of something new or gone. */
	bool first = s->why.n == 1 && names_only(g->nodes[s->node].name, &s->why.v[0]);

	if (s->caused_by != NO_NODE) {
		auto_free char *by = address_of(g, s->caused_by);
		buf_addf(b, "because of %s", by);
	}
	for (size_t i = 0; i < s->why.n; i++) {
		struct reason only_path = s->why.v[i];

		if (first)
			only_path.old = only_path.new = NULL;
		if (i > 0 || s->caused_by != NO_NODE)
			buf_add_str(b, "; ");
		add_reason(b, &only_path, file);
	}
}

char *plan_reason_text(const struct graph *g, const struct step *s)
{
	struct buf b = BUF_INIT(400);

	add_reasons(&b, g, s, NULL);
	return buf_detach(&b);
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/* Like but for the clone's own name, which the reason of a first creation ends in. */
static bool same_reason(const struct step *a, const struct step *b)
{
	if (a->caused_by != b->caused_by || a->why.n != b->why.n)
		return false;
	for (size_t i = 0; i < a->why.n; i++) {
		const struct reason *x = &a->why.v[i], *y = &b->why.v[i];
		bool names = a->action == CHANGE_CREATE || a->action == CHANGE_DESTROY;

		if (strcmp(x->path, y->path) != 0)
			return false;
		if (!names && (!same_text(x->old, y->old) || !same_text(x->new, y->new)))
			return false;
	}
	return true;
}

/* How many listed steps from i on read the same. */
static size_t run_length(const struct plan_view *v, size_t i)
{
	const struct step *first = &v->plan->steps[i];
	size_t n = 1;

	while (i + n < v->plan->n) {
		const struct step *s = &v->plan->steps[i + n];

		if (s->action != first->action ||
		    v->g->nodes[s->node].kind != v->g->nodes[first->node].kind ||
		    v->g->nodes[s->node].spec != v->g->nodes[first->node].spec ||
		    !same_reason(first, s))
			break;
		n++;
	}
	return n;
}

struct line {
	char *address, *reason;
	enum change action;
};

static struct line make_line(const struct plan_view *v, size_t i, size_t run)
{
	const struct step *s = &v->plan->steps[i];
	struct line l = {.action = s->action};
	struct buf reason = BUF_INIT(4000);

	l.address = address_of(v->g, s->node);
	if (run > 1) {
		auto_free char *first = TAKE_PTR(l.address);
		const struct step *last = &v->plan->steps[i + run - 1];

		l.address = xasprintf("%s … %s (%zu)", first, v->g->nodes[last->node].name, run);
	}
	add_reasons(&reason, v->g, s, v->file);
	l.reason = buf_detach(&reason);
	return l;
}

/* Columns on a terminal, not bytes. */
static size_t width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void print_line(const struct plan_view *v, const struct line *l, size_t widest,
		       struct buf *out)
{
	struct look look = look_of(l->action);
	size_t pad = widest - width(l->address);

	buf_addf(out, "  %s%s%s %s%*s  %-7s  %s\n", v->color ? look.color : "", look.symbol,
		 v->color ? "\033[0m" : "", l->address, (int)pad, "", plan_action_name(l->action),
		 l->reason);
}

static void print_lines(const struct plan_view *v, struct buf *out)
{
	struct line *lines = xcalloc(v->plan->n + 1, sizeof(*lines));
	size_t n = 0, widest = 0;

	for (size_t i = 0; i < v->plan->n;) {
		size_t run = run_length(v, i);

		if (run < FOLD_MIN)
			run = 1;
		if (v->plan->steps[i].action != CHANGE_NONE) {
			lines[n] = make_line(v, i, run);
			if (width(lines[n].address) > widest)
				widest = width(lines[n].address);
			n++;
		}
		i += run;
	}
	for (size_t i = 0; i < n; i++) {
		print_line(v, &lines[i], widest, out);
		free(lines[i].address);
		free(lines[i].reason);
	}
	free(lines);
}

void plan_print_text(const struct plan_view *v, struct buf *out)
{
	const size_t *c = v->plan->count;
	const struct resource_choice *choice = v->ctx->choice;

	if (plan_is_empty(v->plan)) {
		buf_add_str(out, "no changes\n");
		return;
	}
	buf_addf(out, "set %s", v->ctx->set);
	if (choice)
		buf_addf(out, ", engine %s (%s): %s%s", choice->engine, choice->tcg ? "tcg" : "kvm",
			 choice->why, choice->tcg ? "; tcg: development and trusted guests" : "");
	buf_add_str(out, "\n\n");
	print_lines(v, out);
	buf_addf(out, "\nplan: %zu to create, %zu to update, %zu to replace, %zu to destroy\n",
		 c[CHANGE_CREATE], c[CHANGE_UPDATE], c[CHANGE_REPLACE], c[CHANGE_DESTROY]);
}

/* --- JSON: one change at a time, so 100,000 of them are text and not objects --- */

/* A string or null, escaped; json-c objects for 100,000 changes cost a second. */
static void add_json(struct buf *out, const char *s)
{
	if (!s) {
		buf_add_str(out, "null");
		return;
	}
	buf_add_char(out, '"');
	while (*s) {
		size_t plain = 0;

		while ((unsigned char)s[plain] >= 0x20 && s[plain] != '"' && s[plain] != '\\')
			plain++;
		buf_add(out, s, plain);
		s += plain;
		if (*s == '"' || *s == '\\')
			buf_addf(out, "\\%c", *s++);
		else if (*s)
			buf_addf(out, "\\u%04x", (unsigned char)*s++);
	}
	buf_add_char(out, '"');
}

static void member(struct buf *out, const char *key, const char *value)
{
	buf_addf(out, "\"%s\":", key);
	add_json(out, value);
	buf_add_char(out, ',');
}

static void reasons_json(const struct reasons *why, struct buf *out)
{
	buf_add_str(out, "\"reasons\":[");
	for (size_t i = 0; i < why->n; i++) {
		const struct reason *r = &why->v[i];

		buf_add_str(out, i ? ",{" : "{");
		member(out, "path", r->path);
		if (r->at.line)
			buf_addf(out, "\"line\":%u,\"col\":%u,", r->at.line, r->at.col);
		else
			buf_add_str(out, "\"line\":null,\"col\":null,");
		member(out, "old", r->old);
		buf_add_str(out, "\"new\":");
		add_json(out, r->new);
		buf_add_char(out, '}');
	}
	buf_add_str(out, "],");
}

static void change_json(const struct plan_view *v, size_t node, const struct step *s,
			struct buf *out)
{
	auto_free char *address = address_of(v->g, node);
	auto_free char *by = s && s->caused_by != NO_NODE ? address_of(v->g, s->caused_by) : NULL;

	buf_add_char(out, '{');
	member(out, "address", address);
	member(out, "kind", v->g->ops[v->g->nodes[node].kind]->kind);
	member(out, "action", plan_action_name(s ? s->action : CHANGE_NONE));
	if (s)
		reasons_json(&s->why, out);
	else
		buf_add_str(out, "\"reasons\":[],");
	buf_add_str(out, "\"caused_by\":");
	add_json(out, by);
	buf_add_char(out, '}');
}

/* Nodes that no listed step touches. */
static void unchanged_json(const struct plan_view *v, const char **sep, struct buf *out)
{
	auto_free bool *listed = xcalloc(v->g->n + 1, sizeof(*listed));

	for (size_t i = 0; i < v->plan->n; i++)
		if (v->plan->steps[i].action != CHANGE_NONE)
			listed[v->plan->steps[i].node] = true;
	for (size_t i = 0; i < v->g->n; i++) {
		if (listed[i])
			continue;
		buf_add_str(out, *sep);
		*sep = ",\n";
		change_json(v, i, NULL, out);
	}
}

void plan_print_json(const struct plan_view *v, struct buf *out)
{
	const struct resource_choice *choice = v->ctx->choice;
	const size_t *c = v->plan->count;
	const char *sep = "\n";

	buf_add_str(out, "{\"format_version\":\"1.0\",");
	member(out, "set", v->ctx->set);
	member(out, "engine", choice ? choice->engine : NULL);
	member(out, "accel", !choice ? NULL : choice->tcg ? "tcg" : "kvm");
	member(out, "engine_reason", choice ? choice->why : NULL);
	buf_add_str(out, "\"changes\":[");
	for (size_t i = 0; i < v->plan->n; i++) {
		const struct step *s = &v->plan->steps[i];

		if (s->action == CHANGE_NONE)
			continue;
		buf_add_str(out, sep);
		sep = ",\n";
		change_json(v, s->node, s, out);
	}
	if (v->all)
		unchanged_json(v, &sep, out);
	buf_addf(out,
		 "],\"summary\":{\"create\":%zu,\"update\":%zu,\"replace\":%zu,\"destroy\":%zu}}\n",
		 c[CHANGE_CREATE], c[CHANGE_UPDATE], c[CHANGE_REPLACE], c[CHANGE_DESTROY]);
}
