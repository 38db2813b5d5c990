#include "execute.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cleanup.h"
#include "exec.h"
#include "io.h"
#include "observe.h"
#include "xalloc.h"

#define TICK_MS 200u

static void queue_push(struct queue *q, size_t step)
{
	if (q->head > 0 && q->head + q->n == q->cap) {
		memmove(q->v, q->v + q->head, q->n * sizeof(*q->v));
		q->head = 0;
	}
	q->v = xgrow(q->v, &q->cap, q->head + q->n + 1, sizeof(*q->v));
	q->v[q->head + q->n++] = step;
}

static size_t queue_pop(struct queue *q)
{
	q->n--;
	return q->v[q->head++];
}

char *exec_address(const struct exec *e, size_t step)
{
	const struct node *n = exec_node(e, step);

	return resource_address(n->kind, n->name);
}

void exec_break(struct exec *e, const struct err *err)
{
	if (e->machinery == 0) {
		e->machinery = err->code < 0 ? err->code : -EIO;
		e->machinery_err = *err;
	}
	e->draining = true;
}

static void set_ready(struct exec *e, size_t step)
{
	e->state[step] = STEP_READY;
	queue_push(&e->ready[exec_ops(e, step)->permit], step);
}

static const char *verb_name(enum verb verb)
{
	static const char *const names[] = {
		[VERB_CREATE] = "create",   [VERB_UPDATE] = "update", [VERB_RELEASE] = "release",
		[VERB_DESTROY] = "destroy", [VERB_PRUNE] = "prune",   [VERB_YIELD] = "yield",
	};

	return names[verb];
}

static bool is_making(const struct step *s)
{
	return s->verb == VERB_CREATE || s->verb == VERB_UPDATE;
}

/* Steps that need the same one-user node take turns. */
static bool must_wait(const struct exec *e, size_t step)
{
	const struct node *n = exec_node(e, step);

	for (size_t i = 0; is_making(&e->x->plan->steps[step]) && i < n->n_needs; i++)
		if (e->x->g->ops[e->x->g->nodes[n->needs[i]].kind]->one_user &&
		    e->busy[n->needs[i]] > 0)
			return true;
	return false;
}

static void count_needs(struct exec *e, size_t step, size_t *counts, int by)
{
	const struct node *n = exec_node(e, step);

	for (size_t i = 0; is_making(&e->x->plan->steps[step]) && i < n->n_needs; i++)
		counts[n->needs[i]] += (size_t)by;
}

static void start(struct exec *e, size_t step)
{
	const struct step *s = &e->x->plan->steps[step];
	auto_free char *address = exec_address(e, step);
	struct err err = {0};
	int r = 0;

	/* Needs are made by now, so what stood on bytes not yet built has its digest. */
	if (is_making(s) && !e->x->g->nodes[s->node].digest[0])
		observe_digest(e->x->ctx, e->x->g, e->x->seen, s->node);
	if (e->x->journal)
		r = journal_add(e->x->journal, "intent", address, verb_name(s->verb), &err);
	if (r >= 0)
		r = running_start(e, step, &err);
	if (r < 0) {
		exec_break(e, &err);
		return;
	}
	e->state[step] = STEP_RUNNING;
	e->used[exec_ops(e, step)->permit]++;
	count_needs(e, step, e->busy, 1);
}

static bool is_full(const struct exec *e, int permit)
{
	uint32_t all = e->x->parallelism;

	return e->draining || e->used[permit] >= e->x->permits[permit] ||
	       (all && e->n_running >= all);
}

/* Starts whatever may run. Each queued step is looked at once a call. */
static void pump(struct exec *e)
{
	for (int p = 0; p < PERMITS; p++) {
		struct queue *q = &e->ready[p];

		for (size_t left = q->n; left > 0 && !is_full(e, p); left--) {
			size_t step = queue_pop(q);

			if (must_wait(e, step))
				queue_push(q, step);
			else
				start(e, step);
		}
	}
}

static void release_dependents(struct exec *e, size_t step)
{
	const struct step *s = &e->x->plan->steps[step];

	for (size_t i = 0; i < s->n_edges; i++) {
		size_t next = e->x->plan->edges[s->first_edge + i];

		if (--e->waits[next] == 0 && e->state[next] == STEP_WAITING)
			set_ready(e, next);
	}
}

/* Part of another step: people are told of that one only. */
static bool is_unlisted(const struct exec *e, size_t step)
{
	return e->x->plan->steps[step].action == CHANGE_NONE;
}

static void mark_not_tried(struct exec *e, size_t step)
{
	e->state[step] = STEP_NOT_TRIED;
	e->out->not_tried++;
	e->out->unlisted_not_tried += is_unlisted(e, step);
	count_needs(e, step, e->using, -1);
}

/* Whatever waits for it, directly or not, is not tried. */
static void give_up_dependents(struct exec *e, size_t step)
{
	struct queue todo = {0};

	queue_push(&todo, step);
	while (todo.n > 0) {
		const struct step *s = &e->x->plan->steps[queue_pop(&todo)];

		for (size_t i = 0; i < s->n_edges; i++) {
			size_t next = e->x->plan->edges[s->first_edge + i];

			if (e->state[next] != STEP_WAITING)
				continue;
			mark_not_tried(e, next);
			queue_push(&todo, next);
		}
	}
	free(todo.v);
}

/* What the step made is what later steps find. */
static void take_record(struct exec *e, size_t step, struct json_object *record)
{
	struct node *n = &e->x->g->nodes[e->x->plan->steps[step].node];
	struct seen *seen = &e->x->seen[e->x->plan->steps[step].node];

	seen_clear(seen);
	if (!record)
		return;
	seen->record = json_object_get(record);
	seen->exists = seen->healthy = true;
	snprintf(n->digest, sizeof(n->digest), "%s", json_opt_str(record, "digest", ""));
	snprintf(n->key, sizeof(n->key), "%s", json_opt_str(record, "key", ""));
	snprintf(seen->digest, sizeof(seen->digest), "%s", n->digest);
	snprintf(seen->content, sizeof(seen->content), "%s", json_opt_str(record, "content", ""));
}

static void note_failure(struct exec *e, size_t step, const struct err *why)
{
	struct execute_result *out = e->out;
	auto_free char *address = exec_address(e, step);

	if (why->class == ERR_INTERRUPTED) { /* we killed it */
		out->killed++;
		return;
	}
	if (out->failed++ == 0) {
		out->first = *why;
		(void)err_wrap(&out->first, "%s", address);
	}
	out->of_class[why->class] = true;
	if (e->x->fail_fast)
		e->draining = true;
}

void exec_ended(struct exec *e, size_t step, const struct step_result *result, uint64_t started_ms)
{
	auto_free char *address = exec_address(e, step);
	struct err err = {0};

	e->used[exec_ops(e, step)->permit]--;
	count_needs(e, step, e->busy, -1);
	count_needs(e, step, e->using, -1);
	if (e->x->journal && journal_add(e->x->journal, result->ok ? "done" : "failed", address,
					 result->ok ? NULL : result->err.msg, &err) < 0)
		exec_break(e, &err);
	tell_end(e, step, result, started_ms);
	if (result->ok) {
		e->state[step] = STEP_DONE;
		e->out->done++;
		e->out->unlisted_done += is_unlisted(e, step);
		/* Who yields has its own step before it, with what was observed. */
		if (e->x->plan->steps[step].verb != VERB_YIELD)
			take_record(e, step, result->record);
		release_dependents(e, step);
	} else {
		e->state[step] = STEP_FAILED;
		note_failure(e, step, &result->err);
		give_up_dependents(e, step);
	}
}

/* --- what ends a run from outside --- */

static void on_signal(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct exec *e = src->data;
	struct signalfd_siginfo info;

	(void)loop, (void)events;
	if (read(src->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (!e->out->interrupted) {
		e->out->interrupted = e->draining = true;
		tell_note(e, "interrupted: what runs is let end, nothing new starts; once more "
			     "kills it");
		return;
	}
	running_kill_all(e);
}

static void on_deadline(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct exec *e = src->data;

	(void)loop, (void)events;
	e->out->timed_out = e->draining = true;
	tell_note(e, "timeout: what runs is killed, nothing new starts");
	running_kill_all(e);
}

static void on_tick(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct exec *e = src->data;
	uint64_t ticks;

	(void)loop, (void)events;
	(void)!read(src->fd, &ticks, sizeof(ticks));
	if (e->x->progress)
		progress_tick(e->x->progress, now_ms());
}

static int run_loop(struct exec *e, struct err *err)
{
	int r = 0;

	for (;;) {
		pump(e);
		if (e->n_running == 0)
			return 0;
		r = loop_once(e->loop, -1, err);
		if (r < 0) {
			running_kill_all(e);
			return r;
		}
	}
}

static void prepare(struct exec *e)
{
	const struct plan *p = e->x->plan;

	e->state = xcalloc(p->n + 1, 1);
	e->waits = xcalloc(p->n + 1, sizeof(*e->waits));
	e->using = xcalloc(e->x->g->n + 1, sizeof(*e->using));
	e->busy = xcalloc(e->x->g->n + 1, sizeof(*e->busy));
	for (size_t i = 0; i < p->n; i++) {
		e->waits[i] = p->steps[i].n_waits;
		count_needs(e, i, e->using, 1);
		if (e->waits[i] == 0)
			set_ready(e, i);
	}
}

static void finish(struct exec *e)
{
	for (size_t i = 0; i < e->x->plan->n; i++)
		if (e->state[i] == STEP_WAITING || e->state[i] == STEP_READY)
			mark_not_tried(e, i);
	for (int p = 0; p < PERMITS; p++)
		free(e->ready[p].v);
	free(e->state);
	free(e->waits);
	free(e->using);
	free(e->busy);
}

int execute_plan(struct execute *x, struct execute_result *ret, struct err *err)
{
	struct exec e = {.x = x, .out = ret};
	struct loop_source signals = {.fd = -1}, deadline = {.fd = -1}, tick = {.fd = -1};
	auto_loop struct loop *loop = NULL;
	sigset_t set, old;
	int r = loop_new(&loop, err);

	*ret = (struct execute_result){0};
	if (r < 0)
		return r;
	e.loop = loop;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &set, &old);
	r = loop_signals(loop, &signals, &set, on_signal, &e, err);
	if (r >= 0)
		r = loop_timer(loop, &tick, TICK_MS, TICK_MS, on_tick, &e, err);
	if (r >= 0 && x->deadline_ms)
		r = loop_timer(loop, &deadline, (uint64_t)deadline_left(x->deadline_ms), 0,
			       on_deadline, &e, err);
	if (r >= 0) {
		prepare(&e);
		r = run_loop(&e, err);
		finish(&e);
	}
	loop_remove(loop, &signals);
	loop_remove(loop, &tick);
	loop_remove(loop, &deadline);
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	if (r >= 0 && e.machinery < 0) {
		*err = e.machinery_err;
		return e.machinery;
	}
	return r;
}
