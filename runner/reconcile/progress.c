#include "progress.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "buf.h"
#include "cleanup.h"
#include "io.h"
#include "parse.h"
#include "plan_print.h"
#include "xalloc.h"

#define ROWS_MAX 40 /* of the live table; what is finished gives way first */
#define ROW_BYTES_MAX 4096
#define SAY_MAX 48
#define BAR_WIDTH 20
#define SYMBOL_COLUMNS 4 /* "  ✓ " */

enum row_state { ROW_WAITS, ROW_RUNS, ROW_DONE, ROW_FAILED };

/* One line of the table: a step, or all clones of a fleet with the same verb. */
struct row {
	const void *group; /* clones: their spec; NULL: a step of its own */
	enum resource_kind kind;
	enum verb verb;
	char *label;
	const char *action;
	char *say;
	size_t total, running, done, failed;
	uint64_t started_ms, ended_ms;
};

struct progress {
	struct progress_spec spec;
	struct row *rows;
	size_t n, cap;
	size_t *row_of;        /* per step */
	size_t columns, lines; /* the table may take, as of the last drawing */
	size_t drawn;          /* lines on the screen that are ours */
	uint64_t *started_ms;  /* per step, plain output */
};

static const char *action_of(const struct step *s)
{
	static const char *const hidden[] = {
		[VERB_CREATE] = "create",   [VERB_UPDATE] = "update", [VERB_RELEASE] = "reap",
		[VERB_DESTROY] = "destroy", [VERB_PRUNE] = "tidy",    [VERB_YIELD] = "yield",
	};

	return s->action == CHANGE_REPLACE ? "replace" : hidden[s->verb];
}

static char *label_of(const struct graph *g, const struct node *n, bool group)
{
	const struct fleet_spec *f = n->spec;

	if (!group)
		return resource_address(n->kind, n->name);
	/* What is taken away is known by its record alone, of whatever fleet. */
	return f ? xasprintf("%s/%s-*", g->ops[n->kind]->kind, f->name)
		 : xasprintf("%s/*", g->ops[n->kind]->kind);
}

static size_t find_row(struct progress *p, const struct node *n, const struct step *s, bool group)
{
	/* Groups are few and the newest is the likeliest. */
	for (size_t i = p->n; group && i-- > 0;)
		if (p->rows[i].total && p->rows[i].group == n->spec && p->rows[i].kind == n->kind &&
		    p->rows[i].verb == s->verb)
			return i;
	p->rows = xgrow(p->rows, &p->cap, p->n + 1, sizeof(*p->rows));
	p->rows[p->n] = (struct row){
		.group = group ? n->spec : NULL,
		.kind = n->kind,
		.verb = s->verb,
		.label = label_of(p->spec.g, n, group),
		.action = action_of(s),
	};
	return p->n++;
}

struct progress *progress_new(const struct progress_spec *spec)
{
	struct progress *p = xcalloc(1, sizeof(*p));
	size_t clones = 0;

	p->spec = *spec;
	p->row_of = xcalloc(spec->plan->n + 1, sizeof(*p->row_of));
	p->started_ms = xcalloc(spec->plan->n + 1, sizeof(*p->started_ms));
	if (!spec->terminal)
		return p;
	for (size_t i = 0; i < spec->plan->n; i++)
		clones += spec->g->nodes[spec->plan->steps[i].node].kind == RESOURCE_CLONE;
	for (size_t i = 0; i < spec->plan->n; i++) {
		const struct step *s = &spec->plan->steps[i];
		const struct node *n = &spec->g->nodes[s->node];
		bool group = n->kind == RESOURCE_CLONE && clones > 1;

		p->row_of[i] = find_row(p, n, s, group);
		p->rows[p->row_of[i]].total++;
	}
	return p;
}

void progress_free_p(struct progress **pp)
{
	struct progress *p = *pp;

	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++) {
		free(p->rows[i].label);
		free(p->rows[i].say);
	}
	free(p->rows);
	free(p->row_of);
	free(p->started_ms);
	free(p);
	*pp = NULL;
}

static void put(const struct progress *p, const struct buf *b)
{
	(void)io_write_full(p->spec.fd, buf_str(b), b->len, 0, NULL);
}

/* --- plain lines --- */

static void plain(struct progress *p, size_t step, const char *text)
{
	const struct step *s = &p->spec.plan->steps[step];
	const struct node *n = &p->spec.g->nodes[s->node];
	auto_free char *address = resource_address(n->kind, n->name);
	auto_buf struct buf b = BUF_INIT(4096);

	buf_addf(&b, "%s: %s: %s\n", address, action_of(s), text);
	put(p, &b);
}

/* --- the table --- */

static enum row_state state_of(const struct row *r)
{
	if (r->running)
		return ROW_RUNS;
	if (r->failed)
		return ROW_FAILED;
	return r->done == r->total ? ROW_DONE : ROW_WAITS;
}

static void add_symbol(const struct progress *p, const struct row *r, struct buf *b)
{
	static const char *const symbols[] = {"·", "▸", "✓", "✗"};
	static const char *const colors[] = {"\033[2m", "\033[36m", "\033[32m", "\033[31m"};
	enum row_state state = state_of(r);

	buf_addf(b, "  %s%s%s ", p->spec.color ? colors[state] : "", symbols[state],
		 p->spec.color ? "\033[0m" : "");
}

static void add_bar(const struct row *r, struct buf *b)
{
	size_t full = (r->done + r->failed) * BAR_WIDTH / r->total;

	buf_add_char(b, '[');
	for (size_t i = 0; i < BAR_WIDTH; i++)
		buf_add_char(b, i < full ? '#' : '-');
	buf_addf(b, "] %zu/%zu ", r->done + r->failed, r->total);
	if (r->failed)
		buf_addf(b, "%zu failed ", r->failed);
}

/* A line that wraps would be two when the table is drawn over. */
static void add_cut(const char *text, size_t columns, struct buf *b)
{
	size_t n = 0;

	for (const char *at = text; *at; at++) {
		n += ((unsigned char)*at & 0xc0) != 0x80;
		if (n > columns)
			return;
		buf_add_char(b, *at);
	}
}

static void add_row(const struct progress *p, const struct row *r, int widest, uint64_t now_ms,
		    struct buf *b)
{
	auto_buf struct buf text = BUF_INIT(ROW_BYTES_MAX);
	uint64_t end_ms = r->running || !r->ended_ms ? now_ms : r->ended_ms;
	char took[32] = "";

	buf_addf(&text, "%-*s  %-7s ", widest, r->label, r->action);
	if (r->total > 1)
		add_bar(r, &text);
	if (r->started_ms)
		format_duration_ms(end_ms - r->started_ms, took, sizeof(took));
	buf_addf(&text, "%7s  %.*s", took, SAY_MAX,
		 r->say && state_of(r) != ROW_DONE ? r->say : "");
	add_symbol(p, r, b);
	add_cut(buf_str(&text), p->columns - SYMBOL_COLUMNS, b);
	buf_add_str(b, "\033[K\n");
}

static bool is_shown(const struct progress *p, size_t row)
{
	return p->n <= p->lines || state_of(&p->rows[row]) == ROW_RUNS ||
	       state_of(&p->rows[row]) == ROW_FAILED;
}

/* Drawn over is only what is still on the screen: the line below the table counts, too. */
static void measure(struct progress *p)
{
	struct winsize size = {0};

	p->columns = SIZE_MAX;
	p->lines = ROWS_MAX;
	if (ioctl(p->spec.fd, TIOCGWINSZ, &size) < 0)
		return;
	if (size.ws_col > SYMBOL_COLUMNS)
		p->columns = size.ws_col;
	if (size.ws_row > 1 && size.ws_row - 1u < ROWS_MAX)
		p->lines = size.ws_row - 1u;
}

static void draw(struct progress *p, uint64_t now_ms)
{
	auto_buf struct buf b = BUF_INIT(256u << 10);
	size_t lines = 0;
	int widest = 0;

	measure(p);
	if (p->drawn)
		buf_addf(&b, "\033[%zuA\r", p->drawn);
	for (size_t i = 0; i < p->n; i++)
		if ((int)strlen(p->rows[i].label) > widest)
			widest = (int)strlen(p->rows[i].label);
	for (size_t i = 0; i < p->n && lines < p->lines; i++) {
		if (!is_shown(p, i))
			continue;
		add_row(p, &p->rows[i], widest, now_ms, &b);
		lines++;
	}
	/* Fewer lines than before: what is below is old. */
	buf_add_str(&b, "\033[J");
	p->drawn = lines;
	put(p, &b);
}

static void set_say(struct row *r, const char *text)
{
	free(r->say);
	r->say = xstrdup(text);
}

void progress_start(struct progress *p, size_t step, uint64_t now_ms)
{
	p->started_ms[step] = now_ms;
	if (p->spec.quiet)
		return;
	if (!p->spec.terminal) {
		auto_free char *why = plan_reason_text(p->spec.g, &p->spec.plan->steps[step]);

		plain(p, step, *why ? why : "begins");
		return;
	}
	struct row *r = &p->rows[p->row_of[step]];
	r->running++;
	if (!r->started_ms)
		r->started_ms = now_ms;
	draw(p, now_ms);
}

void progress_say(struct progress *p, size_t step, const char *text)
{
	if (p->spec.quiet)
		return;
	if (p->spec.terminal)
		set_say(&p->rows[p->row_of[step]], text);
	else
		plain(p, step, text);
}

void progress_end(struct progress *p, size_t step, uint64_t now_ms, const char *error)
{
	char took[32];

	if (p->spec.quiet)
		return;
	format_duration_ms(now_ms - p->started_ms[step], took, sizeof(took));
	if (!p->spec.terminal) {
		auto_free char *text = error ? xasprintf("failed after %s: %s", took, error)
					     : xasprintf("done in %s", took);
		plain(p, step, text);
		return;
	}
	struct row *r = &p->rows[p->row_of[step]];
	r->running--;
	if (error) {
		r->failed++;
		set_say(r, error);
	} else {
		r->done++;
	}
	r->ended_ms = now_ms;
	draw(p, now_ms);
}

void progress_note(struct progress *p, const char *text)
{
	auto_buf struct buf b = BUF_INIT(4096);

	if (p->spec.quiet)
		return;
	buf_addf(&b, "%s\n", text);
	put(p, &b);
	p->drawn = 0;
}

void progress_tick(struct progress *p, uint64_t now_ms)
{
	if (p->spec.terminal && !p->spec.quiet)
		draw(p, now_ms);
}
