#include "session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "observe.h"
#include "progress.h"
#include "vmgroup.h"
#include "xalloc.h"

static void emit_summary(struct session *run, const struct execute_result *res,
			 const struct err *why)
{
	if (!run->events)
		return;
	struct json_object *o = events_new(run->events, "summary");
	json_add_u64(o, "done", res->done - res->unlisted_done);
	json_add_u64(o, "failed", res->failed + res->killed);
	json_add_u64(o, "not_tried", res->not_tried - res->unlisted_not_tried);
	json_add_u64(o, "elapsed_ms", now_ms() - run->started_ms);
	if (why)
		json_add_str(o, "error", why->msg);
	events_emit(run->events, o);
}

void session_refuse(struct session *run, const struct err *why)
{
	const struct execute_result none = {0};

	emit_summary(run, &none, why);
	(void)journal_close(TAKE_PTR(run->journal), why->msg, NULL);
	if (!run->set.is_new)
		return;
	events_close_p(&run->events);
	(void)set_remove(&run->set, NULL);
}

void session_close(struct session *run)
{
	static const struct err unsaid = {.msg = "ended before its first step"};

	if (run->journal)
		session_refuse(run, &unsaid);
	observe_free(run->seen, run->graph.n);
	plan_free(&run->plan);
	graph_free(&run->graph);
	journal_drop_p(&run->journal);
	events_close_p(&run->events);
	set_close(&run->set);
	strv_free(&run->notes);
	*run = (struct session){.set.lock_fd = -1};
}

static bool has_check(const struct probe_spec *p)
{
	return p->http || p->tcp || p->exec.n > 0;
}

static void note_snapshot(struct session *run, const struct snapshot_spec *s)
{
	if (strcmp(s->backend, "auto") == 0 && !run->choice.uffd)
		strv_addf(&run->notes, "snapshots.%s.memory.backend: auto means file here: %s",
			  s->name, run->choice.uffd_why);
	if (s->when == WHEN_HEALTHY && !has_check(&s->from->container.health))
		strv_addf(&run->notes,
			  "snapshots.%s.when: baseline '%s' has no healthcheck, healthy means "
			  "started",
			  s->name, s->from->name);
}

/* The jail itself needs none of it. */
static void note_limits(struct session *run, const struct fleet *fleet)
{
	auto_free char *mount = vmgroup_mount();
	char missing[64];

	vmgroup_missing(mount, missing, sizeof(missing));
	for (size_t i = 0; *missing && i < fleet->n_baselines; i++)
		if (strcmp(fleet->baselines[i].sandbox, "jailer") == 0)
			strv_addf(
				&run->notes,
				"baselines.%s.sandbox: jailer sets no limits of %s here: cgroup v2 "
				"%s",
				fleet->baselines[i].name, missing,
				mount ? "does not have these controllers" : "is not there");
}

static void make_notes(struct session *run, const struct fleet *fleet)
{
	if (run->choice.no_nic)
		strv_addf(&run->notes, "virtual machines get no network card: %s",
			  run->choice.nic_why);
	if (run->choice.no_nic && resource_uses_auto_network(fleet))
		strv_add(&run->notes, "network: auto means none here");
	for (size_t i = 0; i < fleet->n_snapshots; i++)
		note_snapshot(run, &fleet->snapshots[i]);
	note_limits(run, fleet);
}

static int begin(const struct host *host, const struct fleet *fleet,
		 const struct reconcile_options *options, struct session *run, struct err *err)
{
	char uuid[37];
	int r = 0;

	io_uuid(uuid);
	run->options = options;
	run->started_ms = now_ms();
	run->deadline_ms = options->timeout_ms ? deadline_in(options->timeout_ms) : 0;
	run->ctx = (struct resource_ctx){
		.host = host,
		.fleet = fleet,
		.no_wait = options->no_wait,
	};
	snprintf(run->ctx.run, sizeof(run->ctx.run), "%.8s", uuid);
	if (fleet)
		r = resource_choose(host, options->engine, fleet, &run->choice, err);
	if (r >= 0 && fleet)
		make_notes(run, fleet);
	return r;
}

/* Pointers into the run itself: set once it stands where it stays. */
static void settle(struct session *ret, struct session *run)
{
	*ret = *run;
	*run = (struct session){.set.lock_fd = -1};
	ret->ctx.set = ret->set.name;
	ret->ctx.set_dir = ret->set.dir;
	ret->ctx.choice = ret->ctx.fleet ? &ret->choice : NULL;
}

int session_open_readonly(const struct host *host, const struct fleet *fleet, const char *set_name,
			  const struct reconcile_options *options, struct session *ret,
			  struct err *err)
{
	auto_session struct session run = {.set.lock_fd = -1};
	int r = 0;

	if (fleet && !options->take_over)
		r = set_check_owner(host, set_name, fleet->path, err);
	if (r >= 0)
		r = begin(host, fleet, options, &run, err);
	if (r < 0)
		return r;
	run.set.name = xstrdup(set_name);
	run.set.dir = host_set_dir(host, set_name);
	settle(ret, &run);
	return 0;
}

static void say_unfinished(const struct session *run, const struct journal_last *last)
{
	auto_free char *text = NULL;

	if (!last->unfinished || !run->options->warn)
		return;
	text = xasprintf("the last run (%s) was cut off%s%s; finishing what it left", last->when,
			 last->doing[0] ? " during: " : "", last->doing);
	run->options->warn(run->options->data, text);
}

int session_open(const struct host *host, const struct fleet *fleet, const char *set_name,
		 const char *command, const struct reconcile_options *options, struct session *ret,
		 struct err *err)
{
	auto_session struct session run = {.set.lock_fd = -1};
	struct journal_last last = {0};
	int r = begin(host, fleet, options, &run, err);
	struct set_open how = {
		.name = set_name,
		.spec_path = fleet && strcmp(set_name, SET_IMPERATIVE) != 0 ? fleet->path : NULL,
		.create = fleet != NULL,
		.take_over = options->take_over,
		.wait = !options->no_wait_lock,
		.deadline_ms = run.deadline_ms,
		.say = options->warn,
		.data = options->data,
	};

	/* The journal last: a run that never began was not cut off. */
	if (r < 0 || (r = set_open(host, &how, &run.set, err)) < 0 ||
	    (r = events_open(host, run.set.dir, options->events_path, options->json, &run.events,
			     err)) < 0 ||
	    (r = journal_open(host, run.set.dir, run.ctx.run, command, &run.journal, &last, err)) <
		    0)
		return r;
	/* Ports of the dead would be in the way of the living. */
	if (fleet && (r = resource_sweep_networks(host, err)) < 0)
		return r;
	run.ctx.after_kill = last.unfinished;
	settle(ret, &run);
	say_unfinished(ret, &last);
	return 0;
}

int session_observe(struct session *run, struct buf *skipped, struct err *err)
{
	int r = graph_build(run->ctx.fleet, &run->choice, &run->graph, err);

	return r < 0 ? r : observe_all(&run->ctx, &run->graph, skipped, &run->seen, err);
}

static enum err_class class_of(const struct execute_result *res)
{
	static const enum err_class order[] = {ERR_SPEC, ERR_HOST, ERR_BUSY};

	if (res->interrupted)
		return ERR_INTERRUPTED;
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		if (res->of_class[order[i]])
			return order[i];
	if (res->failed == 0)
		return res->timed_out ? ERR_TIMEOUT : ERR_INCOMPLETE;
	for (int c = 0; c <= ERR_INTERRUPTED; c++)
		if (c != ERR_NOT_READY && res->of_class[c])
			return ERR_INCOMPLETE;
	return ERR_NOT_READY;
}

/* One sentence for what became of the plan; the next apply goes on from here. */
static int judge(const struct execute_result *res, struct err *err)
{
	const char *what = res->interrupted ? "interrupted"
			   : res->timed_out ? "timeout"
					    : "incomplete";

	if (res->failed + res->killed + res->not_tried == 0)
		return 0;
	(void)err_set(err, class_of(res), -ECANCELED,
		      "%s: %zu done, %zu failed, %zu stopped, %zu not tried%s%s", what,
		      res->done - res->unlisted_done, res->failed, res->killed,
		      res->not_tried - res->unlisted_not_tried, res->failed ? "; " : "",
		      res->first.msg);
	if (res->first.hint[0])
		(void)err_hint(err, "%s", res->first.hint);
	return err->code;
}

int session_execute(struct session *run, struct execute_result *ret, struct err *err)
{
	static const struct policy_spec dflt = {.build = 1, .boot = 2, .restore = 16, .health = 32};
	const struct policy_spec *p = run->ctx.fleet ? &run->ctx.fleet->policy : &dflt;
	struct progress_spec spec = {
		.fd = STDERR_FILENO,
		.terminal = run->options->terminal,
		.color = run->options->terminal && run->options->color,
		.quiet = run->options->quiet,
		.g = &run->graph,
		.plan = &run->plan,
	};
	auto_progress struct progress *progress = progress_new(&spec);
	struct execute x = {
		.ctx = &run->ctx,
		.g = &run->graph,
		.seen = run->seen,
		.plan = &run->plan,
		.journal = run->journal,
		.events = run->events,
		.progress = progress,
		.lock_fd = run->set.lock_fd,
		.permits = {p->build, p->boot, p->restore, p->health},
		.parallelism = run->options->parallelism,
		.fail_fast = run->options->fail_fast,
		.deadline_ms = run->deadline_ms,
	};
	int r = execute_plan(&x, ret, err);

	emit_summary(run, ret, NULL);
	return r < 0 ? r : judge(ret, err);
}
