#include "imperative.h"

#include "cleanup.h"
#include "digest.h"
#include "io.h"
#include "log.h"
#include "observe.h"
#include "reconcile.h"
#include "record.h"
#include "set.h"
#include "snapshot.h"
#include "vm_dir.h"
#include "vm_verbs.h"
#include "xalloc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SNAPSHOT_MS 600000u

void imperative_vm_free(struct imperative_vm *vm)
{
	free(vm->dir);
	*vm = (struct imperative_vm){0};
}

/* The supervisor first, as our own child; then the plan, whose step finds it in the record. */
static int bring_up(struct session *run, size_t node, struct imperative_vm *ret, struct err *err)
{
	struct need_list needs = graph_needs(&run->graph, run->seen, node);
	struct seen *seen = &run->seen[node];
	struct execute_result result;
	int r = vm_dir_begin(&run->ctx, &needs, &run->graph.nodes[node], seen, &seen->record, err);

	if (r < 0)
		return r;
	auto_free char *dir = xstrdup(json_opt_str(seen->record, "dir", ""));
	r = session_execute(run, &result, err);
	if (r < 0)
		return r;
	/* During the last step: it was let end, and nothing is left undone to tell of it. */
	if (result.interrupted)
		return err_set(err, ERR_INTERRUPTED, -ECANCELED, "interrupted");
	ret->dir = TAKE_PTR(dir);
	memcpy(ret->run, run->ctx.run, sizeof(ret->run));
	return 0;
}

static int up_or_nothing(struct session *run, size_t node, struct imperative_vm *ret,
			 struct err *err)
{
	const struct node *n = &run->graph.nodes[node];
	int r = bring_up(run, node, ret, err);

	if (r < 0) {
		(void)run->graph.ops[n->kind]->destroy(&run->ctx, n, &run->seen[node], NULL);
		(void)journal_close(TAKE_PTR(run->journal), err->msg, NULL);
		return r;
	}
	return journal_close(TAKE_PTR(run->journal), "done", err);
}

static int refuse_taken(const char *name, struct err *err)
{
	(void)err_set(err, ERR_SPEC, -EEXIST, "there is a VM called '%s' already", name);
	return err_hint(err, "fcvm rm " SET_IMPERATIVE ".%s", name);
}

int imperative_boot(const struct host *host, const struct fleet *fleet,
		    const struct reconcile_options *options, struct imperative_vm *ret,
		    struct err *err)
{
	auto_session struct session run = {.set.lock_fd = -1};
	int r = session_open(host, fleet, SET_IMPERATIVE, "podman run", options, &run, err);

	if (r < 0)
		return r;
	run.ctx.foreground = true;
	if ((r = session_observe(&run, NULL, err)) < 0)
		return r;
	size_t node = run.graph.n_wanted - 1; /* the baseline comes after what it needs */
	if (run.seen[node].record)
		return refuse_taken(run.graph.nodes[node].name, err);
	plan_build(&run.ctx, &run.graph, run.seen, false, &run.plan);
	if ((r = reconcile_admit(&run, err)) < 0)
		return r;
	return up_or_nothing(&run, node, ret, err);
}

/* --- a clone: three nodes by hand, the first two as they are --- */

struct stub {
	struct fleet fleet;
	struct network_spec network;
	struct snapshot_spec snapshot;
	struct fleet_spec clones;
	char *snapshot_name, *backend, *restart, *path, *set, *fleet_name, *network_name, *egress;
};

static void stub_free(struct stub *s)
{
	free(s->snapshot_name);
	free(s->backend);
	free(s->restart);
	free(s->path);
	free(s->set);
	free(s->fleet_name);
	free(s->network_name);
	free(s->egress);
	fleet_free_ports(s->clones.ports, s->clones.n_ports);
}

/* What a spec would have said; a snapshot taken by hand has no baseline in one. */
static int stub_make(const struct imperative_clone *what, struct stub *s, struct err *err)
{
	*s = (struct stub){
		.snapshot_name = xstrdup(what->snapshot->name),
		.backend = xstrdup(what->server ? "uffd" : "file"),
		.restart = xstrdup("no"),
		.path = xstrdup("snapshot run"),
		.set = xstrdup(SET_IMPERATIVE),
		.fleet_name = xstrdup(what->name),
		.network_name = xstrdup(what->network),
		.egress = xstrdup("allow"),
	};
	s->fleet = (struct fleet){
		.path = s->path,
		.dir = s->path,
		.name = s->set,
		.policy = {.build = 1, .boot = 2, .restore = 16, .health = 32},
	};
	s->snapshot = (struct snapshot_spec){
		.name = s->snapshot_name,
		.when = WHEN_MANUAL,
		.backend = s->backend,
	};
	s->network = (struct network_spec){
		.name = s->network_name,
		.mode = s->network_name,
		.egress_default = s->egress,
	};
	s->clones = (struct fleet_spec){
		.name = s->fleet_name,
		.from = &s->snapshot,
		.network = &s->network,
		.count = 1,
		.restart = s->restart,
	};
	s->fleet.fleets = &s->clones;
	s->fleet.networks = &s->network;
	s->fleet.n_fleets = s->fleet.n_networks = 1;
	int r = fleet_ports_parse(what->ports, &s->clones.ports, &s->clones.n_ports, err);
	return r < 0 ? err_wrap(err, "--publish") : 0;
}

static void add_need(struct session *run, const struct inventory_item *it, const void *spec,
		     size_t user)
{
	size_t i = graph_add(&run->graph, it->kind, it->name, spec, 0);
	struct seen *seen = &run->seen[i];

	snprintf(run->graph.nodes[i].key, DIGEST_HEX_SIZE, "%s",
		 json_opt_str(it->record, "key", ""));
	*seen = (struct seen){.exists = true, .healthy = true};
	seen->record = json_object_get(it->record);
	graph_need(&run->graph, user, i);
}

static void plan_one(struct session *run, size_t node)
{
	run->plan.steps = xcalloc(1, sizeof(*run->plan.steps));
	run->plan.steps[0] = (struct step){
		.node = node,
		.verb = VERB_CREATE,
		.action = CHANGE_CREATE,
		.caused_by = NO_NODE,
	};
	run->plan.edges = xcalloc(1, sizeof(*run->plan.edges));
	run->plan.n = run->plan.cap = 1;
}

static int clone_taken(struct session *run, const char *name, struct err *err)
{
	auto_json struct json_object *record = NULL;
	int r = record_load(run->set.dir, RESOURCE_CLONE, name, &record, err);

	if (r == -ENOENT)
		r = record_load(run->set.dir, RESOURCE_BASELINE, name, &record, err);
	if (r == -ENOENT)
		return 0;
	return r < 0 ? r : refuse_taken(name, err);
}

static int clone_up(struct session *run, const struct imperative_clone *what,
		    const struct stub *stub, struct imperative_vm *ret, struct err *err)
{
	int r = clone_taken(run, what->name, err);

	if (r < 0)
		return r;
	run->ctx.foreground = true;
	run->ctx.deadline_ms = deadline_in(SNAPSHOT_MS);
	run->graph.ops = resource_table;
	run->seen = xcalloc(3, sizeof(*run->seen));
	size_t node = graph_add(&run->graph, RESOURCE_CLONE, what->name, &stub->clones, 0);
	add_need(run, what->snapshot, &stub->snapshot, node);
	if (what->server)
		add_need(run, what->server, &stub->snapshot, node);
	observe_digest(&run->ctx, &run->graph, run->seen, node);
	plan_one(run, node);
	r = reconcile_admit_host(run, err);
	if (r < 0)
		return r;
	return up_or_nothing(run, node, ret, err);
}

int imperative_clone(const struct host *host, const struct imperative_clone *what,
		     const struct reconcile_options *options, struct imperative_vm *ret,
		     struct err *err)
{
	auto_session struct session run = {.set.lock_fd = -1};
	struct stub stub;
	int r = stub_make(what, &stub, err);

	if (r >= 0)
		r = session_open(host, &stub.fleet, SET_IMPERATIVE, "snapshot run", options, &run,
				 err);
	if (r >= 0)
		r = clone_up(&run, what, &stub, ret, err);
	stub_free(&stub);
	return r;
}

/* --- a snapshot --- */

static void say(void *data, const char *text)
{
	(void)data;
	log_info("%s", text);
}

static void new_key(char ret[DIGEST_HEX_SIZE])
{
	char uuid[37];

	io_uuid(uuid);
	digest_of(uuid, 36, ret);
}

static int take(struct session *run, const struct inventory_item *vm, const char *tag,
		struct err *err)
{
	auto_json struct json_object *before = NULL;
	struct need_list none = {0};
	struct field_list no_fields = {0};
	struct snapshot_take how = {
		.vm_dir = vm->dir,
		.until = UNTIL_BOOTED,
		.ready_timeout_ms = SNAPSHOT_MS,
		.keep_running = true,
	};
	auto_free char *name = xstrdup(tag);
	struct node node = {.kind = RESOURCE_SNAPSHOT, .name = name};
	int r = record_load(run->set.dir, RESOURCE_SNAPSHOT, tag, &before, err);

	if (r < 0 && r != -ENOENT)
		return r;
	if (strcmp(record_state(before), "ready") == 0) {
		(void)err_set(err, ERR_SPEC, -EEXIST, "there is a snapshot '%s' already", tag);
		return err_hint(err, "fcvm snapshot rm %s.%s", run->set.name, tag);
	}
	new_key(node.key);
	(void)snprintf(node.digest, sizeof(node.digest), "%s", node.key);
	auto_json struct json_object *record = record_new(&run->ctx, &node, &no_fields, &none);
	json_add_bool(record, "imperative", true);
	json_add_str(record, "source", vm->full);
	struct seen seen = {.record = before}, made = {.record = record};
	r = snapshot_take(&run->ctx, &how, record, &seen, err);
	/* Nobody will take it again by itself: nothing of it is kept. */
	if (r < 0)
		(void)resource_ops_of(RESOURCE_SNAPSHOT)->destroy(&run->ctx, &node, &made, NULL);
	return r;
}

int imperative_snapshot(const struct host *host, const struct inventory_item *vm, const char *tag,
			const struct reconcile_options *options, struct err *err)
{
	auto_session struct session run = {.set.lock_fd = -1};
	int r = session_open(host, NULL, vm->set, "snapshot create", options, &run, err);

	if (r < 0)
		return r;
	run.ctx.started_ms = now_ms();
	run.ctx.deadline_ms = deadline_in(SNAPSHOT_MS);
	run.ctx.say = say;
	r = take(&run, vm, tag, err);
	(void)journal_close(TAKE_PTR(run.journal), r < 0 ? err->msg : "done", NULL);
	return r;
}

int imperative_remove(const struct host *host, enum resource_kind kind, const char *name,
		      const char *run, struct err *err)
{
	auto_free char *set = xstrdup(SET_IMPERATIVE);
	auto_free char *own = xstrdup(name);
	auto_free char *full = xasprintf(SET_IMPERATIVE ".%s", name);
	struct inventory_item it = {.kind = kind, .set = set, .name = own, .full = full};

	return vm_remove(host, &it, run, err);
}
