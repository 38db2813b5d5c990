#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cleanup.h"
#include "exec.h"
#include "io.h"
#include "xalloc.h"

/* A step that does not end by itself this long after its deadline is killed. */
#define KILL_SLACK_MS 10000u

static void unlink_running(struct running *r)
{
	struct running **at = &r->e->running;

	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	r->e->n_running--;
	loop_remove(r->e->loop, &r->pipe);
	loop_remove(r->e->loop, &r->timer);
}

/* What a child that ended without a result can still be said to have done. */
static void explain_death(struct running *r, int status)
{
	r->result.ok = false;
	if (r->late)
		(void)err_set(&r->result.err, ERR_NOT_READY, -ETIMEDOUT,
			      "killed: it did not end at its deadline");
	else if (r->e->out->interrupted || r->e->out->timed_out)
		(void)err_set(&r->result.err, ERR_INTERRUPTED, -EINTR, "killed");
	else
		(void)err_set(&r->result.err, ERR_FAILED, -EIO,
			      "its process ended without a result (status %d)", status);
}

static void finish(struct running *r)
{
	struct err err = {0};
	int status = -1;

	unlink_running(r);
	if (step_reap(&r->child, &status, &err) < 0)
		exec_break(r->e, &err);
	if (!r->has_result)
		explain_death(r, status);
	exec_ended(r->e, r->step, &r->result, r->started_ms);
	step_result_clear(&r->result);
	buf_free(&r->in);
	free(r);
}

static void take_line(struct running *r, const char *line, size_t len)
{
	struct step_result result = {0};
	auto_free char *say = NULL;
	struct err err = {0};
	int what = step_parse_line(line, len, &say, &result, &err);

	if (what == 1) {
		tell_say(r->e, r->step, say, r->started_ms);
	} else if (what == 2 && !r->has_result) {
		r->result = result;
		r->has_result = true;
	} else {
		step_result_clear(&result);
	}
}

static void take_lines(struct running *r)
{
	for (;;) {
		const char *end = r->in.len ? memchr(r->in.data, '\n', r->in.len) : NULL;

		if (!end)
			return;
		size_t len = (size_t)(end - r->in.data);
		take_line(r, r->in.data, len);
		buf_consume(&r->in, len + 1);
	}
}

static void on_pipe(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct running *r = src->data;
	char chunk[16384];
	ssize_t n = read(r->child.out, chunk, sizeof(chunk));

	(void)loop, (void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		finish(r);
		return;
	}
	buf_add(&r->in, chunk, (size_t)n);
	take_lines(r);
	if (!buf_ok(&r->in)) /* our own child gone mad */
		step_kill(&r->child);
}

static void on_late(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct running *r = src->data;

	(void)loop, (void)events;
	r->late = true;
	step_kill(&r->child);
}

void running_kill_all(struct exec *e)
{
	for (struct running *r = e->running; r; r = r->next)
		step_kill(&r->child);
}

static bool is_last_user(const struct exec *e, size_t step)
{
	const struct node *n = exec_node(e, step);

	for (size_t i = 0; i < n->n_needs; i++) {
		const struct node *need = &e->x->g->nodes[n->needs[i]];

		if (e->x->g->ops[need->kind]->one_user && e->using[n->needs[i]] > 1)
			return false;
	}
	return true;
}

static int fork_step(struct exec *e, struct running *r, struct err *err)
{
	struct resource_ctx ctx = *e->x->ctx;
	struct step_input in = {
		.ctx = &ctx,
		.g = e->x->g,
		.seen = e->x->seen,
		.step = &e->x->plan->steps[r->step],
		.journal = e->x->journal,
		.lock_fd = e->x->lock_fd,
	};

	ctx.started_ms = r->started_ms;
	/* Its own time only: when the run's is over, the step is killed, which is no failure of it.
	 */
	ctx.deadline_ms = r->started_ms + exec_ops(e, r->step)->deadline_ms(exec_node(e, r->step));
	ctx.last_user = is_last_user(e, r->step);
	int rc = step_start(&in, &r->child, err);
	if (rc < 0)
		return rc;
	rc = loop_add(e->loop, &r->pipe, r->child.out, EPOLLIN, on_pipe, r, err);
	if (rc >= 0)
		rc = loop_timer(e->loop, &r->timer, ctx.deadline_ms - r->started_ms + KILL_SLACK_MS,
				0, on_late, r, err);
	return rc;
}

int running_start(struct exec *e, size_t step, struct err *err)
{
	struct running *r = xcalloc(1, sizeof(*r));
	int rc;

	*r = (struct running){
		.e = e,
		.next = e->running,
		.step = step,
		.in = BUF_INIT(STEP_LINE_MAX),
		.started_ms = now_ms(),
		.child = {.pid = -1, .pidfd = -1, .out = -1},
	};
	rc = fork_step(e, r, err);
	if (rc < 0 && r->child.pid < 0) {
		free(r);
		return rc;
	}
	e->running = r;
	e->n_running++;
	if (rc < 0) {
		int status;

		step_kill(&r->child);
		unlink_running(r);
		(void)step_reap(&r->child, &status, NULL);
		free(r);
		return rc;
	}
	tell_start(e, step, r->started_ms);
	return 0;
}
