#include "memserver.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "kinds.h"
#include "ledger.h"
#include "record.h"
#include "snapshot.h"
#include "stray.h"
#include "xalloc.h"

#define PING_MS 2000u /* a server that answers nothing is as good as dead */
#define STOP_MS 10000u
#define SOCK "server.sock"

static char *server_path(const struct node *node, struct place *ret_at)
{
	const struct snapshot_spec *s = node->spec;

	*ret_at = s->implicit ? s->from->at : s->at;
	return s->implicit ? xasprintf("baselines.%s", s->from->name)
			   : xasprintf("snapshots.%s", s->name);
}

/* Everything about it is its snapshot's: the need's key says it all. */
static void server_describe(const struct resource_ctx *ctx, const struct node *node,
			    struct field_list *ret)
{
	(void)ctx, (void)node, (void)ret;
}

static bool answers(const char *dir)
{
	auto_free char *sock = path_join(dir, SOCK);
	auto_json struct json_object *metrics = NULL;

	return memserver_metrics(sock, deadline_in(PING_MS), &metrics, NULL) >= 0;
}

static int server_observe(const struct resource_ctx *ctx, const struct node *node,
			  struct seen *seen, struct err *err)
{
	const char *dir = record_path(seen->record, "dir", ctx->set_dir);
	struct proc_id id;

	(void)node, (void)err;
	if (!seen->record)
		return 0;
	seen->old = record_old_count(seen->record) > 0;
	if (strcmp(record_state(seen->record), "ready") != 0)
		return 0;
	seen->exists = seen->healthy = true;
	if (!dir || !record_get_proc(seen->record, "process", &id) ||
	    !proc_id_alive(&id, ctx->host->boot_id))
		seen_unhealthy(seen, "its process is gone");
	else if (!answers(dir))
		seen_unhealthy(seen, "it does not answer");
	return 0;
}

static uint64_t server_deadline_ms(const struct node *node)
{
	const struct snapshot_spec *s = node->spec;

	return memserver_start_ms(s ? s->from->memory_bytes : 0);
}

static int spawn(const struct resource_ctx *ctx, const struct need *snapshot, const char *dir,
		 struct json_object *record, struct err *err)
{
	const char *from = snapshot_dir(ctx, snapshot->seen->record);
	auto_free char *memory = from ? path_join(from, "memory") : NULL;
	struct memserver_spec spec = {
		.dir = dir,
		.memory = memory,
		.tag = json_opt_str(record, "tag", ""),
		.gid = (gid_t)json_opt_u64(snapshot->seen->record, "gid", 0),
		.foreground = ctx->foreground,
		.deadline_ms = ctx->deadline_ms,
	};
	uint32_t uid = ctx->host->uid;
	struct proc_id id;
	int r = 0;

	if (!memory)
		return err_set(err, ERR_FAILED, -ENOENT, "snapshot '%s' has no directory",
			       snapshot->node->name);
	if (ctx->host->is_root)
		r = ledger_take(ctx->host, "uid", dir, &uid, err);
	if (r < 0 || (r = resource_note(ctx, err, "memory server in %s", dir)) < 0)
		return r;
	spec.uid = uid;
	if ((r = memserver_spawn(ctx->host, &spec, &id, err)) < 0 ||
	    (r = resource_note(ctx, err, "memory server runs as process %d", (int)id.pid)) < 0)
		return r;
	json_add_str(record, "snapshot_dir", from);
	json_add(record, "process", record_proc(&id));
	json_add_u64(record, "pid", (uint64_t)id.pid);
	json_add_u64(record, "ready_ms", now_ms() - ctx->started_ms);
	record_set_state(record, "ready");
	return record_save(ctx->set_dir, record, err);
}

static int server_create(const struct resource_ctx *ctx, const struct need_list *needs,
			 const struct node *node, const struct seen *seen, struct json_object **ret,
			 struct err *err)
{
	static const char *const keep[] = {"dir", "process"};
	auto_free char *file = record_file_name(node->name);
	auto_free char *dir = xasprintf("%s/memservers/%s/%s", ctx->set_dir, file, ctx->run);
	auto_free char *sock = path_join(dir, SOCK);
	auto_field_list struct field_list want = {0};

	server_describe(ctx, node, &want);
	auto_json struct json_object *record = record_new(ctx, node, &want, needs);
	json_add_str(record, "dir", dir);
	json_add_str(record, "sock", sock);
	record_keep_old(record, seen->record, keep, ARRAY_SIZE(keep));
	int r = record_save(ctx->set_dir, record, err);
	if (r >= 0)
		r = file_mkdir_p(dir, 0711, err);
	if (r >= 0)
		r = spawn(ctx, resource_need(needs, RESOURCE_SNAPSHOT), dir, record, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(record);
	return 0;
}

/* Asks, then kills: a stopped or wedged server must not outlive its record. */
static int end_process(const struct resource_ctx *ctx, struct json_object *o, const char *dir,
		       struct err *err)
{
	auto_free char *sock = path_join(dir, SOCK);
	auto_close int pidfd = -1;
	struct proc_id id;

	if (!record_get_proc(o, "process", &id))
		return stray_kill(ctx->host, dir, err);
	if (proc_id_open(&id, ctx->host->boot_id, &pidfd) < 0)
		return 0;
	if (memserver_stop(sock, true, deadline_in(PING_MS), NULL) >= 0 &&
	    io_wait(pidfd, POLLIN, deadline_in(PING_MS)) > 0)
		return 0;
	(void)proc_signal(pidfd, SIGKILL);
	if (io_wait(pidfd, POLLIN, deadline_in(STOP_MS)) > 0)
		return 0;
	return err_set(err, ERR_CLEANUP, -ETIMEDOUT,
		       "memory server %d does not end, not even when killed", (int)id.pid);
}

static int remove_item(const struct resource_ctx *ctx, struct json_object *o, struct err *err)
{
	const char *dir = record_path(o, "dir", ctx->set_dir);
	int r;

	if (!dir)
		return 0;
	if ((r = resource_note(ctx, err, "remove %s", dir)) < 0 ||
	    (r = end_process(ctx, o, dir, err)) < 0 || (r = file_remove_tree(dir, err)) < 0)
		return r;
	return ledger_release(ctx->host, "uid", dir, err);
}

static int remove_old(const struct resource_ctx *ctx, const struct seen *seen, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < record_old_count(seen->record); i++)
		r = remove_item(ctx, record_old_at(seen->record, i), err);
	return r;
}

static int server_prune(const struct resource_ctx *ctx, const struct node *node,
			const struct seen *seen, struct json_object **ret, struct err *err)
{
	int r = remove_old(ctx, seen, err);

	(void)node;
	if (r < 0)
		return r;
	json_object_object_del(seen->record, "old");
	if ((r = record_save(ctx->set_dir, seen->record, err)) < 0)
		return r;
	*ret = json_object_get(seen->record);
	return 0;
}

static int server_destroy(const struct resource_ctx *ctx, const struct node *node,
			  const struct seen *seen, struct err *err)
{
	auto_free char *file = record_file_name(node->name);
	auto_free char *home = xasprintf("%s/memservers/%s", ctx->set_dir, file);
	int r = record_mark_removing(ctx->set_dir, seen->record, err);

	if (r >= 0)
		r = remove_old(ctx, seen, err);
	if (r >= 0 && seen->record)
		r = remove_item(ctx, seen->record, err);
	if (r >= 0)
		r = file_remove_tree(home, err);
	return r < 0 ? r : record_remove(ctx->set_dir, node->kind, node->name, err);
}

const struct resource_ops resource_memserver = {
	.kind = "memserver",
	.permit = PERMIT_BOOT,
	.holds = true,
	.beside = true,
	.on_demand = resource_always,
	.path = server_path,
	.describe = server_describe,
	.observe = server_observe,
	.diff = resource_diff_fields,
	.claims = resource_claims_nothing,
	.deadline_ms = server_deadline_ms,
	.create = server_create,
	.update = resource_update_record,
	.release = resource_release_nothing,
	.prune = server_prune,
	.yield = resource_yield_nothing,
	.destroy = server_destroy,
};
