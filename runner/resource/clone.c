#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "io.h"
#include "kinds.h"
#include "record.h"
#include "snapshot.h"
#include "view.h"
#include "vm_dir.h"
#include "vm_net.h"
#include "vm_volumes.h"
#include "vm_yield.h"
#include "xalloc.h"

/* Of a snapshot taken by hand, which has no baseline in any spec. */
#define READY_MS 120000u
/* Restore and identity gates, before hooks and health have their own time. */
#define RESTORE_MS 60000u

static char *clone_path(const struct node *node, struct place *ret_at)
{
	const struct fleet_spec *f = node->spec;

	*ret_at = f->count_at;
	return xasprintf("fleets.%s.count", f->name);
}

static void describe_health(const struct fleet_spec *f, const char *entry, struct field_list *ret)
{
	const struct baseline_spec *b = f->from->from;

	if (f->health.at.line) {
		view_describe_probe(&f->health, entry, CHANGE_UPDATE, CHANGE_UPDATE, ret);
	} else if (b) { /* the target is the snapshot's */
		auto_free char *inherited = xasprintf("baselines.%s", b->name);
		view_describe_probe(&b->container.health, inherited, CHANGE_NONE, CHANGE_UPDATE,
				    ret);
	}
}

static void clone_describe(const struct resource_ctx *ctx, const struct node *node,
			   struct field_list *ret)
{
	const struct fleet_spec *f = node->spec;
	auto_free char *entry = xasprintf("fleets.%s", f->name);
	auto_free char *snapshot = xasprintf("snapshots.%s", f->from->name);
	auto_free char *metadata = NULL;

	vm_net_describe(ctx->choice, node, ret);
	vm_volumes_describe(ctx, node, ret);
	field_list_add(ret, entry, "from", CHANGE_NONE, f->from_at, f->from->name);
	field_list_add(ret, snapshot, "memory.backend", CHANGE_REPLACE, f->from->backend_at,
		       resource_backend(ctx->choice, f->from));
	field_list_add(ret, entry, "restart", CHANGE_UPDATE, f->restart_at, f->restart);
	if (f->metadata_keys.n &&
	    fleet_clone_metadata(ctx->fleet, f, node->index, node->name, &metadata, NULL) >= 0)
		field_list_add(ret, entry, "metadata", CHANGE_UPDATE, f->metadata_at, metadata);
	describe_health(f, entry, ret);
	/* A changed hook runs in clones to come; those that are there have run theirs. */
	view_describe_hooks(f->on_clone, f->n_on_clone, entry, "on_clone", CHANGE_NONE, ret);
}

static bool has_path(const struct reasons *why, const char *path)
{
	for (size_t i = 0; i < why->n; i++)
		if (strcmp(why->v[i].path, path) == 0)
			return true;
	return false;
}

static char *restart_path(const char *fleet)
{
	return xasprintf("fleets.%s.restart", fleet);
}

static bool is_to_run_again(const struct fleet_spec *f, const struct reasons *why)
{
	auto_free char *restart = restart_path(f->name);

	return strcmp(f->restart, "always") == 0 && has_path(why, restart);
}

/* Another snapshot says it all: what each of them has is not what somebody changed. */
static enum change clone_diff(const struct node *node, const struct field_list *want,
			      const struct seen *seen, struct reasons *why)
{
	const struct fleet_spec *f = node->spec;
	enum change c = resource_diff_fields(node, want, seen, why);
	auto_free char *from = xasprintf("fleets.%s.from", f->name);

	if (has_path(why, from))
		reasons_drop(why, "snapshots.");
	/* Its supervisor went with it: what is to run again from now on begins anew. */
	if (c == CHANGE_UPDATE && seen->ended && is_to_run_again(f, why))
		return CHANGE_REPLACE;
	return c;
}

/* As it was told, whatever the spec says now. */
static bool restarts_always(struct json_object *record)
{
	auto_free char *restart = restart_path(json_opt_str(record, "fleet", ""));
	struct json_object *was = json_opt_obj(json_opt_obj(record, "spec"), "update");

	return strcmp(json_opt_str(was, restart, ""), "always") == 0;
}

static int clone_observe(const struct resource_ctx *ctx, const struct node *node, struct seen *seen,
			 struct err *err)
{
	int r = vm_dir_observe(ctx, seen, err);

	(void)node;
	/* It died between two runs: there is work left, and nobody who would begin it. */
	if (r >= 0 && seen->ended && restarts_always(seen->record) &&
	    !vm_dir_is_supervised(ctx, seen->record)) {
		seen->ended = false;
		seen_unhealthy(seen, "its supervisor is gone");
	}
	return r;
}

static uint64_t clone_deadline_ms(const struct node *node)
{
	const struct fleet_spec *f = node->spec;
	uint64_t ms = RESTORE_MS;

	for (size_t i = 0; f && i < f->n_on_clone; i++)
		ms += f->on_clone[i].timeout_ms;
	return ms + (f && f->from->from ? f->from->from->ready_timeout_ms : READY_MS);
}

/* no_wait: comes up without a check, is ready when its gates are passed, and learns its check then.
 */
static int restore_and_check(const struct resource_ctx *ctx, const struct supervisor_call *call,
			     struct restore_request *req, struct json_object **ret_status,
			     struct err *err)
{
	static const struct health_spec none;
	struct update_request check = {.health = req->health};
	bool later = ctx->no_wait && req->health;

	if (later)
		req->health = &none;
	int r = supervisor_restore(call, req, ret_status, err);
	return r < 0 || !later ? r : supervisor_update(call, &check, err);
}

static int restore(const struct resource_ctx *ctx, const struct need_list *needs,
		   const struct node *node, struct json_object *record,
		   struct json_object **ret_status, struct err *err)
{
	const struct fleet_spec *f = node->spec;
	const struct need *snapshot = resource_need(needs, RESOURCE_SNAPSHOT);
	const struct need *server = resource_need(needs, RESOURCE_MEMSERVER);
	struct supervisor_call call = resource_call(ctx, json_opt_str(record, "dir", ""));
	const struct probe_spec *probe = view_clone_probe(f);
	struct health_spec health = probe ? view_health(probe) : (struct health_spec){0};
	auto_free struct hook *hooks = view_hooks(f->on_clone, f->n_on_clone);
	auto_free char *metadata = NULL;
	auto_net_config struct net_config net = {0};
	auto_volume_list struct volume_list volumes = {0};
	int r = fleet_clone_metadata(ctx->fleet, f, node->index, node->name, &metadata, err);

	if (r < 0 || (r = vm_net_config(ctx->choice, node, &net, err)) < 0 ||
	    (r = vm_volumes_make(ctx, node, err)) < 0 ||
	    (r = vm_volumes_list(ctx, node, &volumes, err)) < 0)
		return r;
	struct restore_request req = {
		.snapshot_dir = snapshot_dir(ctx, snapshot->seen->record),
		.backend = server ? "uffd" : "file",
		.memserver = server ? json_opt_str(server->seen->record, "sock", NULL) : NULL,
		.identity = {.hostname = node->name, .metadata = metadata},
		.on_clone = hooks,
		.n_on_clone = f->n_on_clone,
		.health = probe ? &health : NULL,
		.restart = f->restart,
		.gid = (uint32_t)json_opt_u64(snapshot->seen->record, "gid", 0),
		.net = &net,
		/* A snapshot taken by hand knows its own. */
		.volumes = f->from->from ? &volumes : NULL,
	};
	if (!req.snapshot_dir)
		return err_set(err, ERR_FAILED, -ENOENT, "snapshot '%s' has no directory",
			       snapshot->node->name);
	r = resource_note(ctx, err, "restore %s", node->name);
	return r < 0 ? r : restore_and_check(ctx, &call, &req, ret_status, err);
}

/* Its state and disks come from the one, its memory from the other. */
static int check_source(const struct need_list *needs, struct err *err)
{
	const struct need *snapshot = resource_need(needs, RESOURCE_SNAPSHOT);
	const struct need *server = resource_need(needs, RESOURCE_MEMSERVER);

	if (!server || strcmp(json_opt_str(server->seen->record, "snapshot_dir", ""),
			      json_opt_str(snapshot->seen->record, "dir", "")) == 0)
		return 0;
	(void)err_set(err, ERR_FAILED, -EXDEV,
		      "memory server '%s' serves an older snapshot than the '%s' there is",
		      server->node->name, snapshot->node->name);
	return err_hint(err, "fcvm apply makes the server again");
}

static void note_source(struct json_object *record, const struct need_list *needs)
{
	const struct need *snapshot = resource_need(needs, RESOURCE_SNAPSHOT);
	const struct need *server = resource_need(needs, RESOURCE_MEMSERVER);

	json_add_str(record, "snapshot", snapshot->node->name);
	json_add_str(record, "snapshot_dir", json_opt_str(snapshot->seen->record, "dir", NULL));
	if (server)
		json_add_u64(record, "serve_pid", json_opt_u64(server->seen->record, "pid", 0));
	else
		json_add(record, "serve_pid", NULL);
}

static int clone_create(const struct resource_ctx *ctx, const struct need_list *needs,
			const struct node *node, const struct seen *seen, struct json_object **ret,
			struct err *err)
{
	const struct fleet_spec *f = node->spec;
	auto_json struct json_object *status = NULL;
	auto_json struct json_object *record = NULL;
	int r = check_source(needs, err);

	if (r < 0 || (r = vm_dir_begin(ctx, needs, node, seen, &record, err)) < 0)
		return r;
	json_add_str(record, "fleet", f->name);
	r = restore(ctx, needs, node, record, &status, err);
	if (r < 0)
		return r;
	vm_dir_note_ready(ctx, record, status);
	note_source(record, needs);
	r = record_save(ctx->set_dir, record, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(record);
	return 0;
}

static int clone_update(const struct resource_ctx *ctx, const struct need_list *needs,
			const struct node *node, const struct seen *seen, struct json_object **ret,
			struct err *err)
{
	const struct fleet_spec *f = node->spec;
	struct supervisor_call call = resource_call(ctx, json_opt_str(seen->record, "dir", ""));
	const struct probe_spec *probe = view_clone_probe(f);
	struct health_spec health = probe ? view_health(probe) : (struct health_spec){0};
	/* A check that is told anew begins anew: the VM would seem to be starting. */
	bool tell = probe && resource_differs(ctx, node, seen, ".healthcheck.");
	auto_free char *metadata = NULL;
	auto_net_config struct net_config net = {0};
	int r = 0;

	/* Once it did its work nobody supervises it, unless it is to be started again. */
	if (seen->ended && !restarts_always(seen->record))
		return resource_update_record(ctx, needs, node, seen, ret, err);
	r = fleet_clone_metadata(ctx->fleet, f, node->index, node->name, &metadata, err);
	if (r < 0 || (r = vm_net_config(ctx->choice, node, &net, err)) < 0)
		return r;
	struct update_request req = {
		.metadata = metadata,
		.restart = f->restart,
		.health = tell ? &health : NULL,
		.net = &net,
	};
	r = supervisor_update(&call, &req, err);
	if (r < 0)
		return vm_dir_update_ended(ctx, needs, node, seen, r, ret, err);
	return resource_update_record(ctx, needs, node, seen, ret, err);
}

static int clone_destroy(const struct resource_ctx *ctx, const struct node *node,
			 const struct seen *seen, struct err *err)
{
	auto_free char *dir = vm_dir_path(ctx->set_dir, node->name);
	int r = record_mark_removing(ctx->set_dir, seen->record, err);

	if (r >= 0)
		r = vm_dir_remove(ctx, dir, VM_STOP_GRACE_MS, err);
	return r < 0 ? r : record_remove(ctx->set_dir, node->kind, node->name, err);
}

const struct resource_ops resource_clone = {
	.kind = "clone",
	.permit = PERMIT_RESTORE,
	.on_demand = resource_always,
	.path = clone_path,
	.describe = clone_describe,
	.observe = clone_observe,
	.diff = clone_diff,
	.claims = vm_net_claims,
	.deadline_ms = clone_deadline_ms,
	.create = clone_create,
	.update = clone_update,
	.release = resource_release_nothing,
	.prune = resource_prune_nothing,
	.yield = vm_yield,
	.destroy = clone_destroy,
};
