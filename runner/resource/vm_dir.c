#include "vm_dir.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "eventlog.h"
#include "file.h"
#include "io.h"
#include "ledger.h"
#include "record.h"
#include "stray.h"
#include "vm_net.h"
#include "vmgroup.h"
#include "xalloc.h"

/* What is removed must not hang on a step's own deadline that has passed. */
#define REMOVE_MS 30000u
#define LEAVE_MS 10000u /* more than volume servers in a disk that hangs take (volserver.c) */
#define SETTLE_MS 2000

char *vm_dir_path(const char *set_dir, const char *name)
{
	return xasprintf("%s/vms/%s", set_dir, name);
}

/* A supervisor that was killed leaves it, empty. */
static int remove_cgroup(const char *dir, struct err *err)
{
	auto_free char *mount = vmgroup_mount(), *vm = path_join(dir, "vm");
	auto_free char *path = mount ? vmgroup_path(mount, vm) : NULL;

	return path ? vmgroup_remove(path, err) : 0;
}

int vm_dir_remove(const struct resource_ctx *ctx, const char *dir, uint64_t grace_ms,
		  struct err *err)
{
	struct supervisor_call call = resource_call(ctx, dir);
	auto_free char *status = path_join(dir, SUPERVISE_STATUS);
	int r;

	if (!file_exists(dir))
		return ledger_release(ctx->host, "uid", dir, err);
	r = resource_note(ctx, err, "remove %s", dir);
	if (r < 0)
		return r;
	call.deadline_ms = deadline_in(grace_ms + REMOVE_MS);
	/* Without a status its supervisor never said who it is: look for it. */
	if (!file_exists(status))
		r = stray_kill(ctx->host, dir, err);
	if (r >= 0)
		r = supervisor_stop(&call, grace_ms, err);
	if (r >= 0)
		r = remove_cgroup(dir, err);
	if (r >= 0)
		r = file_remove_tree(dir, err);
	return r < 0 ? r : ledger_release(ctx->host, "uid", dir, err);
}

static int spawn(const struct resource_ctx *ctx, struct json_object *record, const char *dir,
		 struct err *err)
{
	auto_free char *events = path_join(ctx->set_dir, EVENTLOG_NAME);
	struct supervisor_spec spec = {
		.dir = dir,
		.tag = json_opt_str(record, "tag", ""),
		.engine = ctx->choice->engine,
		.vm_id = json_opt_str(record, "vm_id", ""),
		.events = events,
		.foreground = ctx->foreground,
	};
	struct proc_id id;
	int r = resource_note(ctx, err, "supervisor in %s", dir);

	if (r < 0)
		return r;
	r = supervisor_spawn(ctx->host, &spec, &id, err);
	if (r < 0)
		return r;
	json_add(record, "supervisor", record_proc(&id));
	return record_save(ctx->set_dir, record, err);
}

int vm_dir_start(const struct resource_ctx *ctx, struct json_object *record, struct err *err)
{
	auto_free char *dir = vm_dir_path(ctx->set_dir, json_opt_str(record, "name", ""));
	auto_free char *parent = xasprintf("%s/vms", ctx->set_dir);
	char vm_id[37];
	int r = vm_dir_remove(ctx, dir, 0, err);

	if (r < 0)
		return r;
	io_uuid(vm_id);
	json_add_str(record, "dir", dir);
	json_add_str(record, "vm_id", vm_id);
	r = record_save(ctx->set_dir, record, err);
	if (r >= 0)
		r = file_mkdir_p(parent, 0711, err);
	if (r < 0)
		return r;
	if (mkdir(dir, 0711) < 0)
		return err_sys(err, "cannot make '%s'", dir);
	return spawn(ctx, record, dir, err);
}

int vm_dir_begin(const struct resource_ctx *ctx, const struct need_list *needs,
		 const struct node *node, const struct seen *seen, struct json_object **ret,
		 struct err *err)
{
	bool begun = ctx->foreground && seen->record;
	auto_field_list struct field_list want = {0};
	auto_json struct json_object *record = NULL;

	resource_ops_of(node->kind)->describe(ctx, node, &want);
	if (begun)
		record = json_object_get(seen->record);
	else
		record = record_new(ctx, node, &want, needs);
	/* What was not built yet when it began has its digest now. */
	record_refresh(record, node, &want, needs);
	int r = begun ? record_save(ctx->set_dir, record, err) : vm_dir_start(ctx, record, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(record);
	return 0;
}

static void judge(struct json_object *record, struct json_object *status, struct seen *seen)
{
	const char *state = json_opt_str(status, "state", "");
	const char *error = json_opt_str(status, "error", NULL);
	const char *ended = json_opt_str(status, "ended", "");
	bool by_itself = strcmp(ended, "exited") == 0 || strcmp(ended, "poweroff") == 0;
	uint64_t exit_code = json_opt_u64(status, "exit_code", UINT64_MAX);

	seen->healthy = true;
	if (json_opt_bool(record, "stopped_by_hand", false))
		seen_unhealthy(seen, "stopped by hand");
	else if (strcmp(state, "stopped") == 0 && by_itself && exit_code == 0)
		seen->ended = true; /* it did its work (decisions 10) */
	else if (strcmp(state, "ready") != 0 && strcmp(state, "running") != 0)
		seen_unhealthy(seen, "%s%s%s", state, error ? ": " : "", error ? error : "");
}

/* Requests are taken in the order they came in: what a killed run has asked for is done, and
 * written down, when this is answered. */
static void let_settle(const struct resource_ctx *ctx, struct json_object *record, const char *dir)
{
	const struct supervisor_call call = {.dir = dir, .deadline_ms = deadline_in(SETTLE_MS)};

	if (vm_dir_is_supervised(ctx, record))
		(void)supervisor_status(&call, NULL, NULL);
}

int vm_dir_observe(const struct resource_ctx *ctx, struct seen *seen, struct err *err)
{
	const char *dir = record_path(seen->record, "dir", ctx->set_dir);
	auto_json struct json_object *status = NULL;

	seen->exists = seen->record != NULL;
	if (!seen->record)
		return 0;
	if (strcmp(record_state(seen->record), "ready") != 0) {
		seen_unhealthy(seen, strcmp(record_state(seen->record), "removing") == 0
					     ? "half removed"
					     : "half made");
		return 0;
	}
	if (dir && ctx->after_kill)
		let_settle(ctx, seen->record, dir);
	int r = dir ? supervisor_peek(dir, ctx->host->boot_id, &status, err) : -ENOENT;
	if (r < 0) {
		seen_unhealthy(seen, "its directory tells nothing of it");
		return 0;
	}
	seen->pid = json_opt_u64(status, "pid", 0);
	judge(seen->record, status, seen);
	if (seen->pid)
		vm_net_observe(status, seen);
	return 0;
}

bool vm_dir_is_supervised(const struct resource_ctx *ctx, struct json_object *record)
{
	struct proc_id id;

	return record_get_proc(record, "supervisor", &id) && proc_id_alive(&id, ctx->host->boot_id);
}

bool vm_dir_has_left(const struct resource_ctx *ctx, struct json_object *record, int r)
{
	auto_close int pidfd = -1;
	struct proc_id id;

	if (!supervisor_hung_up(r))
		return false;
	if (!record_get_proc(record, "supervisor", &id) ||
	    proc_id_open(&id, ctx->host->boot_id, &pidfd) < 0)
		return true;
	return io_wait(pidfd, POLLIN, deadline_in(LEAVE_MS)) > 0;
}

/* Of a VM whose update failed by r. */
static bool has_ended(const struct resource_ctx *ctx, const struct seen *seen, const char *dir,
		      int r)
{
	struct supervisor_call call = resource_call(ctx, dir);
	auto_json struct json_object *status = NULL;

	/* What it was about to write down, and to let go of, is done when it is gone. */
	if (!vm_dir_has_left(ctx, seen->record, r))
		(void)vm_dir_has_left(ctx, seen->record, supervisor_status(&call, NULL, NULL));
	return supervisor_peek(dir, ctx->host->boot_id, &status, NULL) >= 0 &&
	       json_opt_str(status, "ended", NULL);
}

static enum change change_of(const struct resource_ctx *ctx, const struct node *node,
			     const struct seen *seen)
{
	const struct resource_ops *ops = resource_ops_of(node->kind);
	auto_field_list struct field_list want = {0};
	auto_reasons struct reasons why = {0};

	if (!seen->healthy)
		return CHANGE_REPLACE;
	ops->describe(ctx, node, &want);
	return ops->diff(node, &want, seen, &why);
}

int vm_dir_update_ended(const struct resource_ctx *ctx, const struct need_list *needs,
			const struct node *node, const struct seen *was, int r,
			struct json_object **ret, struct err *err)
{
	const struct resource_ops *ops = resource_ops_of(node->kind);
	const char *dir = record_path(was->record, "dir", ctx->set_dir);
	struct seen now = {.record = json_object_get(was->record)};

	if (dir && has_ended(ctx, was, dir, r) && ops->observe(ctx, node, &now, NULL) >= 0) {
		if (change_of(ctx, node, &now) == CHANGE_REPLACE) {
			resource_say(ctx, "it has ended meanwhile and is made again");
			r = ops->create(ctx, needs, node, &now, ret, err);
		} else if (now.ended && !was->ended) {
			r = ops->update(ctx, needs, node, &now, ret, err);
		}
	}
	seen_clear(&now);
	return r;
}

void vm_dir_note_ready(const struct resource_ctx *ctx, struct json_object *record,
		       struct json_object *status)
{
	static const char *const keys[] = {"pid", "engine", "accel", "gates", "boot_retries"};

	for (size_t i = 0; status && i < ARRAY_SIZE(keys); i++) {
		struct json_object *v = NULL;

		if (json_object_object_get_ex(status, keys[i], &v))
			json_add(record, keys[i], json_object_get(v));
	}
	json_add_u64(record, "ready_ms", now_ms() - ctx->started_ms);
	record_set_state(record, "ready");
}
