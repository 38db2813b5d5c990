/* exec.h - inside the executor: its state, shared by execute.c, running.c and tell.c. */
#ifndef FCVM_RECONCILE_EXEC_H
#define FCVM_RECONCILE_EXEC_H

#include "execute.h"
#include "loop.h"
#include "step.h"

enum step_state { STEP_WAITING, STEP_READY, STEP_RUNNING, STEP_DONE, STEP_FAILED, STEP_NOT_TRIED };

/* First in, first out; grows, never shrinks. */
struct queue {
	size_t *v;
	size_t head, n, cap;
};

struct exec {
	struct execute *x;
	struct execute_result *out;
	struct loop *loop;
	unsigned char *state; /* enum step_state per step */
	size_t *waits;        /* per step: unfinished steps it waits for */
	size_t *using;        /* per node: unfinished making steps that need it */
	size_t *busy;         /* per node: running steps that need it */
	struct queue ready[PERMITS];
	uint32_t used[PERMITS];
	struct running *running; /* list */
	size_t n_running;
	bool draining; /* nothing new starts */
	int machinery; /* negative: what failed is in machinery_err */
	struct err machinery_err;
};

/* A step that runs. */
struct running {
	struct exec *e;
	struct running *next;
	size_t step;
	struct step_child child;
	struct loop_source pipe, timer;
	struct buf in;
	struct step_result result;
	bool has_result, late;
	uint64_t started_ms;
};

static inline const struct node *exec_node(const struct exec *e, size_t step)
{
	return &e->x->g->nodes[e->x->plan->steps[step].node];
}
static inline const struct resource_ops *exec_ops(const struct exec *e, size_t step)
{
	return e->x->g->ops[exec_node(e, step)->kind];
}
char *exec_address(const struct exec *e, size_t step);
/* Stops starting; the machinery itself failed. */
void exec_break(struct exec *e, const struct err *err);
/* The step is over: result, or what went wrong. Lets dependents start or gives them up. */
void exec_ended(struct exec *e, size_t step, const struct step_result *result, uint64_t started_ms);

/* running.c */
int running_start(struct exec *e, size_t step, struct err *err);
void running_kill_all(struct exec *e);

/* tell.c */
void tell_start(struct exec *e, size_t step, uint64_t now_ms);
void tell_say(struct exec *e, size_t step, const char *text, uint64_t started_ms);
void tell_end(struct exec *e, size_t step, const struct step_result *result, uint64_t started_ms);
void tell_note(struct exec *e, const char *text);

#endif
