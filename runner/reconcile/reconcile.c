/* The loop. Everything fcvm does to a machine goes through the four lines of reconcile_apply()
 * that observe, plan, admit and execute; the files they name are the next to read. */
#include "reconcile.h"

#include <errno.h>
#include <string.h>

#include "admission.h"
#include "cleanup.h"
#include "file.h"
#include "observe.h"
#include "plan_print.h"
#include "xalloc.h"

#define MADE (1u << VERB_CREATE)
#define MADE_OR_CHANGED (MADE | 1u << VERB_UPDATE)
#define TOUCHED (~0u)

/* Which nodes a step with one of these verbs is for; the caller frees. */
static bool *nodes_with(const struct session *run, unsigned int verbs)
{
	bool *nodes = xcalloc(run->graph.n + 1, sizeof(*nodes));

	for (size_t i = 0; i < run->plan.n; i++)
		nodes[run->plan.steps[i].node] |= (verbs >> run->plan.steps[i].verb & 1u) != 0;
	return nodes;
}

int reconcile_admit_host(struct session *run, struct err *err)
{
	auto_free bool *made = nodes_with(run, MADE), *touched = nodes_with(run, TOUCHED);
	auto_free bool *publishing = nodes_with(run, MADE_OR_CHANGED);
	int r = resource_admit_volumes(&run->ctx, run->graph.nodes, run->graph.n, made, err);

	return r < 0 ? r
		     : resource_admit_ports(&run->ctx, run->graph.nodes, run->seen, run->graph.n,
					    publishing, touched, err);
}

static int admit_room(struct session *run, struct err *err)
{
	struct admission need = admission_need(&run->graph, run->seen, &run->plan, admission_used);
	struct admission_host have;
	int r = admission_measure(run->ctx.host->data_dir, &have, err);

	if (r >= 0)
		r = admission_check(&need, &have, &run->ctx.fleet->policy, err);
	return r;
}

/* Refused before anything is started, rather than half-way (reliability: admission). */
int reconcile_admit(struct session *run, struct err *err)
{
	int r = admit_room(run, err);

	return r < 0 ? r : reconcile_admit_host(run, err);
}

static struct plan_view view_of(struct session *run, bool all)
{
	return (struct plan_view){
		.ctx = &run->ctx,
		.g = &run->graph,
		.plan = &run->plan,
		.file = run->options->spec_label,
		.color = run->options->color,
		.all = all,
	};
}

static void tell_notes(const struct session *run)
{
	for (size_t i = 0; run->options->warn && i < run->notes.n; i++)
		run->options->warn(run->options->data, run->notes.v[i]);
}

/* What is not as it was left, whoever did it: a step says so by its reason. */
static void tell_drift(struct session *run)
{
	for (size_t i = 0; i < run->plan.n; i++) {
		const struct step *s = &run->plan.steps[i];
		const struct node *n = &run->graph.nodes[s->node];

		if (s->why.n == 0 || strcmp(s->why.v[0].path, REASON_STATE) != 0)
			continue;
		auto_free char *address = resource_address(n->kind, n->name);
		struct json_object *o = events_new(run->events, "drift");

		json_add_str(o, "resource", address);
		json_add_str(o, "action", plan_action_name(s->action));
		json_add_str(o, "reason", s->why.v[0].old);
		events_emit(run->events, o);
	}
}

static int tell_plan(struct session *run, struct err *err)
{
	const size_t *c = run->plan.count;
	auto_buf struct buf text = BUF_INIT(PLAN_TEXT_MAX);
	struct plan_view view = view_of(run, false);
	struct json_object *o = events_new(run->events, "plan_summary");

	json_add_u64(o, "create", c[CHANGE_CREATE]);
	json_add_u64(o, "update", c[CHANGE_UPDATE]);
	json_add_u64(o, "replace", c[CHANGE_REPLACE]);
	json_add_u64(o, "destroy", c[CHANGE_DESTROY]);
	events_emit(run->events, o);
	tell_drift(run);
	if (!plan_is_empty(&run->plan))
		tell_notes(run);
	if (run->options->json || !run->options->print)
		return 0;
	plan_print_text(&view, &text);
	return run->options->print(run->options->data, buf_str(&text), err);
}

/* A plan may be read on another machine than the one it is for: it warns where apply refuses. */
static void foretell_refusal(struct session *run)
{
	struct err why = {0};

	if (admit_room(run, &why) >= 0 || !run->options->warn)
		return;
	auto_free char *text = xasprintf("apply would be refused here: %s%s%s", why.msg,
					 *why.hint ? "; hint: " : "", why.hint);
	run->options->warn(run->options->data, text);
}

int reconcile_plan(const struct host *host, const struct fleet *fleet,
		   const struct reconcile_options *options, bool destroy, bool all, struct buf *out,
		   bool *ret_changes, struct err *err)
{
	auto_session struct session run = {.set.lock_fd = -1};
	/* What is taken away is what records tell; the spec need not even be resolvable. */
	int r = session_open_readonly(host, destroy ? NULL : fleet, fleet->name, options, &run,
				      err);

	if (r < 0 || (r = session_observe(&run, NULL, err)) < 0)
		return r;
	if (destroy)
		plan_destroy(&run.graph, run.seen, &run.plan);
	else
		plan_build(&run.ctx, &run.graph, run.seen, true, &run.plan);
	struct plan_view view = view_of(&run, all);
	if (options->json)
		plan_print_json(&view, out);
	else
		plan_print_text(&view, out);
	if (!plan_is_empty(&run.plan))
		tell_notes(&run);
	*ret_changes = !plan_is_empty(&run.plan);
	if (destroy)
		return 0;
	foretell_refusal(&run);
	return reconcile_admit_host(&run, err);
}

/* The run is over, and the journal says so: nothing is left half-way that nobody told of. */
static int end_failed(struct session *run, int code, const struct err *err)
{
	(void)journal_close(TAKE_PTR(run->journal), err->msg, NULL);
	return code;
}

int reconcile_apply(const struct host *host, const struct fleet *fleet,
		    const struct reconcile_options *options, bool *ret_changes, struct err *err)
{
	auto_session struct session run = {.set.lock_fd = -1};
	struct execute_result result;
	int r = session_open(host, fleet, fleet->name, "apply", options, &run, err);

	if (r < 0)
		return r;
	if ((r = session_observe(&run, NULL, err)) >= 0) {
		plan_build(&run.ctx, &run.graph, run.seen, true, &run.plan);
		r = tell_plan(&run, err);
	}
	if (r < 0 || (r = reconcile_admit(&run, err)) < 0) {
		session_refuse(&run, err);
		return r;
	}
	if ((r = session_execute(&run, &result, err)) < 0)
		return end_failed(&run, r, err);
	*ret_changes = !plan_is_empty(&run.plan);
	return journal_close(TAKE_PTR(run.journal), "done", err);
}

/* --- destroy: by records, then whatever else stands in the set's directories --- */

static int sweep(struct session *run, struct err *err)
{
	auto_buf struct buf left = BUF_INIT(64u << 10);
	int r = resource_sweep(&run->ctx, &left, err);

	if (r < 0)
		return r;
	if (left.len)
		return err_set(err, ERR_CLEANUP, -EBUSY,
			       "could not remove everything of set '%s':\n%s", run->set.name,
			       buf_str(&left));
	journal_drop_p(&run->journal);
	events_close_p(&run->events);
	return set_remove(&run->set, err);
}

int reconcile_destroy(const struct host *host, const struct fleet *fleet, const char *set_name,
		      const struct reconcile_options *options, struct err *err)
{
	auto_session struct session run = {.set.lock_fd = -1};
	auto_buf struct buf skipped = BUF_INIT(64u << 10);
	auto_free char *dir = host_set_dir(host, set_name);
	struct execute_result result = {0};
	int r = 0;

	if (!file_exists(dir))
		return options->print ? options->print(options->data, "nothing to destroy\n", err)
				      : 0;
	if (fleet && !options->take_over)
		r = set_check_owner(host, set_name, fleet->path, err);
	if (r < 0 || (r = session_open(host, NULL, set_name, "destroy", options, &run, err)) < 0 ||
	    (r = session_observe(&run, &skipped, err)) < 0)
		return r;
	plan_destroy(&run.graph, run.seen, &run.plan);
	if ((r = tell_plan(&run, err)) < 0)
		return r;
	r = session_execute(&run, &result, err);
	if (r < 0) {
		if (err->class == ERR_INCOMPLETE || err->class == ERR_FAILED)
			err->class = ERR_CLEANUP;
		return end_failed(&run, r, err);
	}
	return sweep(&run, err);
}
