#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "engine.h"
#include "file.h"
#include "hostfacts.h"
#include "io.h"
#include "ledger.h"
#include "record.h"
#include "view.h"
#include "vm.h"
#include "vmmanifest.h"
#include "xalloc.h"

/* Writing the memory of a large guest to a slow disk. */
#define SAVE_MS 600000u

static const char *const files[] = {"manifest.json", "vmstate", "memory", "data.img"};

static char *snapshot_path(const struct node *node, struct place *ret_at)
{
	const struct snapshot_spec *s = node->spec;

	*ret_at = s->implicit ? s->from->at : s->at;
	return s->implicit ? xasprintf("baselines.%s", s->from->name)
			   : xasprintf("snapshots.%s", s->name);
}

static const char *when_name(enum snapshot_when when)
{
	static const char *const names[] = {
		[WHEN_BOOTED] = "booted",
		[WHEN_STARTED] = "started",
		[WHEN_HEALTHY] = "healthy",
		[WHEN_MANUAL] = "manual",
	};

	return names[when];
}

static void snapshot_describe(const struct resource_ctx *ctx, const struct node *node,
			      struct field_list *ret)
{
	const struct snapshot_spec *s = node->spec;
	struct place at, none = {0};
	auto_free char *entry = snapshot_path(node, &at);
	auto_free char *baseline = xasprintf("baselines.%s", s->from->name);
	const struct resource_choice *c = ctx->choice;

	field_list_add(ret, entry, "when", CHANGE_REPLACE, s->when_at, when_name(s->when));
	view_describe_hooks(s->prepare, s->n_prepare, entry, "prepare", CHANGE_REPLACE, ret);
	if (s->settle_ms)
		field_list_add_ms(ret, entry, "settle", CHANGE_REPLACE, at, s->settle_ms);
	view_describe_probe(&s->from->container.health, baseline, CHANGE_REPLACE, CHANGE_NONE, ret);
	/* Host facts: a snapshot is only readable where it was made, by what made it. */
	field_list_add(ret, "host", "engine", CHANGE_REPLACE, none, c->engine);
	field_list_add(ret, "host", "engine_version", CHANGE_REPLACE, none, c->version);
	field_list_add(ret, "host", "engine_sha256", CHANGE_REPLACE, none, c->sha256);
	field_list_add(ret, "host", "accel", CHANGE_REPLACE, none, c->tcg ? "tcg" : "kvm");
}

/* Would a restore be refused here? The supervisor's own check, before it is too late. */
static int check_host(const struct resource_choice *c, const char *path, struct err *err)
{
	struct engine_caps caps = {.accel = c->tcg ? VM_ACCEL_TCG : VM_ACCEL_KVM,
				   .tsc_khz = c->tsc_khz};
	auto_json struct json_object *manifest = NULL;
	struct hostfacts host;
	int r = json_load(path, &manifest, err);

	if (r >= 0)
		r = hostfacts_read(&host, err);
	if (r < 0)
		return r;
	snprintf(caps.sha256, sizeof(caps.sha256), "%s", c->sha256);
	snprintf(caps.machine, sizeof(caps.machine), "%s", c->machine);
	snprintf(caps.cpu_model, sizeof(caps.cpu_model), "%s", c->guest_cpu);
	snprintf(caps.snapshot_format, sizeof(caps.snapshot_format), "%s", c->snapshot_format);
	return vmmanifest_check_host(manifest, c->engine, &caps, &host, err);
}

/* A volume's own disk lies in the snapshot, a set's where the manifest says. */
static void check_disk(struct json_object *disk, const char *dir, struct seen *seen)
{
	const char *path = json_opt_str(disk, "path", "");
	const char *serial = json_opt_str(disk, "serial", ""), *slash = strrchr(path, '/');
	auto_free char *full = path[0] == '/' ? xstrdup(path) : path_join(dir, path);

	if (strncmp(serial, VM_VOLUME_PREFIX, strlen(VM_VOLUME_PREFIX)) == 0 && !file_exists(full))
		seen_unhealthy(seen, "its %s is gone", slash ? slash + 1 : path);
}

static void check_disks(const char *dir, struct seen *seen)
{
	auto_free char *path = path_join(dir, files[0]);
	auto_json struct json_object *manifest = NULL;
	struct json_object *disks = NULL;

	if (json_load(path, &manifest, NULL) < 0 ||
	    json_get_arr(manifest, "disks", &disks, NULL) < 0)
		return;
	for (size_t i = 0; i < json_object_array_length(disks); i++)
		check_disk(json_object_array_get_idx(disks, i), dir, seen);
}

static void check_manifest(const struct resource_choice *choice, const char *dir, struct seen *seen)
{
	const char *recorded = json_opt_str(seen->record, "manifest_sha256", "");
	auto_free char *path = path_join(dir, files[0]);
	char now[DIGEST_HEX_SIZE];
	struct err err = {0};

	if (choice && check_host(choice, path, &err) < 0)
		seen_unhealthy(seen, "host drift: %s", err.msg);
	else if (digest_file(path, now, NULL) < 0 || strcmp(now, recorded) != 0)
		seen_unhealthy(seen, "its manifest.json is not the one it was taken with");
}

const char *snapshot_dir(const struct resource_ctx *ctx, struct json_object *record)
{
	auto_free char *sets = host_path(ctx->host, "sets");

	/* A clone made by hand may stand on another set's snapshot. */
	return record_path(record, "dir", sets);
}

static int snapshot_observe(const struct resource_ctx *ctx, const struct node *node,
			    struct seen *seen, struct err *err)
{
	const char *dir = snapshot_dir(ctx, seen->record);

	(void)node, (void)err;
	if (!seen->record)
		return 0;
	seen->old = record_old_count(seen->record) > 0;
	if (strcmp(record_state(seen->record), "ready") != 0)
		return 0;
	seen->exists = seen->healthy = true;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		auto_free char *path = dir ? path_join(dir, files[i]) : NULL;

		if (!path || !file_exists(path)) {
			seen_unhealthy(seen, "its %s is gone", files[i]);
			return 0;
		}
	}
	check_disks(dir, seen);
	if (seen->healthy)
		check_manifest(ctx->choice, dir, seen);
	return 0;
}

static enum change snapshot_diff(const struct node *node, const struct field_list *want,
				 const struct seen *seen, struct reasons *why)
{
	const struct snapshot_spec *s = node->spec;

	/* Taken by hand: only a hand takes it again. */
	return s->when == WHEN_MANUAL ? CHANGE_NONE : resource_diff_fields(node, want, seen, why);
}

static uint64_t snapshot_deadline_ms(const struct node *node)
{
	const struct snapshot_spec *s = node->spec;
	uint64_t ms = SAVE_MS;

	for (size_t i = 0; s && i < s->n_prepare; i++)
		ms += s->prepare[i].timeout_ms;
	return s ? ms + s->settle_ms + s->from->ready_timeout_ms : ms;
}

/* <set>/snapshots/NAME */
static char *home_of(const struct resource_ctx *ctx, const char *name)
{
	auto_free char *file = record_file_name(name);

	return xasprintf("%s/snapshots/%s", ctx->set_dir, file);
}

/* The ledger wants a path that lives as long as the group is used: a directory that is renamed
 * into place is none. */
static int take_gid(const struct resource_ctx *ctx, const char *final, uint32_t *ret,
		    struct err *err)
{
	auto_free char *owner = xasprintf("%s.gid", final);
	auto_close int fd = -1;

	/* An ordinary user has one group to give. */
	if (!ctx->host->is_root) {
		*ret = ctx->host->gid;
		return 0;
	}
	fd = open(owner, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(err, "cannot make '%s'", owner);
	return ledger_take(ctx->host, "gid", owner, ret, err);
}

static int remove_snapshot(const struct resource_ctx *ctx, const char *dir, struct err *err)
{
	auto_free char *owner = xasprintf("%s.gid", dir);
	int r = file_remove_tree(dir, err);

	if (r >= 0)
		r = ledger_release(ctx->host, "gid", owner, err);
	return r < 0 ? r : file_remove_tree(owner, err);
}

static int make_staging(const char *dir, struct err *err)
{
	int r = file_remove_tree(dir, err);

	return r < 0 ? r : file_mkdir_p(dir, 0700, err);
}

static int prepare_take(const struct resource_ctx *ctx, const char *home, const char *final,
			const char *staging, struct json_object *record, uint32_t *ret_gid,
			struct err *err)
{
	int r = file_mkdir_p(home, 0711, err);

	if (r < 0 || (r = take_gid(ctx, final, ret_gid, err)) < 0)
		return r;
	json_add_str(record, "staging", staging);
	json_add_str(record, "dir", final);
	json_add_u64(record, "gid", *ret_gid);
	if ((r = record_save(ctx->set_dir, record, err)) < 0 ||
	    (r = make_staging(staging, err)) < 0)
		return r;
	return resource_note(ctx, err, "snapshot into %s", staging);
}

/* The memory file is what clones map: it must be the group's, whole, and on disk. */
static int publish(const struct resource_ctx *ctx, const char *staging, const char *final,
		   uint32_t gid, struct err *err)
{
	int r = resource_note(ctx, err, "publish %s", final);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		auto_free char *path = path_join(staging, files[i]);

		if (!file_exists(path))
			return err_set(err, ERR_FAILED, -ENOENT,
				       "the supervisor left no %s in the snapshot", files[i]);
	}
	if (ctx->host->is_root && chown(staging, 0, gid) < 0)
		return err_sys(err, "cannot give '%s' to group %u", staging, gid);
	if (chmod(staging, 0750) < 0)
		return err_sys(err, "cannot change the mode of '%s'", staging);
	if ((r = file_fsync_dir(staging, err)) < 0 || (r = file_remove_tree(final, err)) < 0)
		return r;
	if (rename(staging, final) < 0)
		return err_sys(err, "cannot publish '%s'", final);
	return 0;
}

static int finish_take(const struct resource_ctx *ctx, struct json_object *record,
		       struct json_object *manifest, const char *final, struct err *err)
{
	auto_free char *path = path_join(final, files[0]);
	char sha256[DIGEST_HEX_SIZE];
	int r = digest_file(path, sha256, err);

	if (r < 0)
		return r;
	json_object_object_del(record, "staging");
	json_add_str(record, "manifest_sha256", sha256);
	json_add_u64(record, "pause_ms", json_opt_u64(manifest, "pause_ms", 0));
	json_add_u64(record, "took_ms", now_ms() - ctx->started_ms);
	record_set_state(record, "ready");
	return record_save(ctx->set_dir, record, err);
}

static int ask_supervisor(const struct resource_ctx *ctx, const struct snapshot_take *how,
			  const char *staging, uint32_t gid, struct json_object **ret_manifest,
			  struct err *err)
{
	struct supervisor_call call = resource_call(ctx, how->vm_dir);
	auto_free struct hook *prepare = view_hooks(how->prepare, how->n_prepare);
	struct snapshot_request req = {
		.dir = staging,
		.prepare = prepare,
		.n_prepare = how->n_prepare,
		.settle_ms = how->settle_ms,
		.keep_running = how->keep_running,
		.gid = gid,
	};
	struct supervisor_call wait = call;

	wait.deadline_ms = deadline_in(how->ready_timeout_ms);
	int r = supervisor_wait(&wait, how->until, err);
	return r < 0 ? r : supervisor_snapshot(&call, &req, ret_manifest, err);
}

int snapshot_take(const struct resource_ctx *ctx, const struct snapshot_take *how,
		  struct json_object *record, const struct seen *before, struct err *err)
{
	const char *key = json_opt_str(record, "key", "");
	auto_free char *home = home_of(ctx, json_opt_str(record, "name", ""));
	auto_free char *staging = xasprintf("%s/.staging-%s", home, ctx->run);
	auto_free char *final = NULL;
	auto_json struct json_object *manifest = NULL;
	static const char *const keep[] = {"dir", "staging"};
	uint32_t gid = 0;

	/* Clones may still run on a broken one of the same key: the new one stands beside it. */
	final = xasprintf("%s/%.12s", home, key);
	if (before->record && file_exists(final))
		final = (free(final), xasprintf("%s/%.12s-%s", home, key, ctx->run));
	record_keep_old(record, before->record, keep, ARRAY_SIZE(keep));
	int r = prepare_take(ctx, home, final, staging, record, &gid, err);
	if (r >= 0)
		r = ask_supervisor(ctx, how, staging, gid, &manifest, err);
	if (r >= 0)
		r = publish(ctx, staging, final, gid, err);
	if (r >= 0)
		r = finish_take(ctx, record, manifest, final, err);
	return r;
}

static enum supervisor_until until_of(enum snapshot_when when)
{
	static const enum supervisor_until until[] = {
		[WHEN_BOOTED] = UNTIL_BOOTED,
		[WHEN_STARTED] = UNTIL_STARTED,
		[WHEN_HEALTHY] = UNTIL_HEALTHY,
		[WHEN_MANUAL] = UNTIL_BOOTED,
	};

	return until[when];
}

static int refuse_manual(const struct resource_ctx *ctx, const struct snapshot_spec *s,
			 struct err *err)
{
	(void)err_set(err, ERR_HOST, -ENOENT, "snapshot '%s' is taken by hand (when: manual)",
		      s->name);
	return err_hint(err, "fcvm snapshot create %s.%s --tag %s", ctx->set, s->from->name,
			s->name);
}

/* The baseline has done its work, unless others still need it or it shall go on. */
static int reap(const struct resource_ctx *ctx, const struct need *baseline, struct err *err)
{
	auto_json struct json_object *record = NULL;

	return resource_ops_of(RESOURCE_BASELINE)
		->release(ctx, baseline->node, baseline->seen, &record, err);
}

static int snapshot_create(const struct resource_ctx *ctx, const struct need_list *needs,
			   const struct node *node, const struct seen *seen,
			   struct json_object **ret, struct err *err)
{
	const struct snapshot_spec *s = node->spec;
	const struct need *baseline = resource_need(needs, RESOURCE_BASELINE);
	auto_field_list struct field_list want = {0};
	struct snapshot_take how = {
		.vm_dir = json_opt_str(baseline->seen->record, "dir", ""),
		.until = until_of(s->when),
		.ready_timeout_ms = s->from->ready_timeout_ms,
		.prepare = s->prepare,
		.n_prepare = s->n_prepare,
		.settle_ms = s->settle_ms,
		.keep_running = s->from->keep_running || !ctx->last_user,
	};

	if (s->when == WHEN_MANUAL)
		return refuse_manual(ctx, s, err);
	snapshot_describe(ctx, node, &want);
	auto_json struct json_object *record = record_new(ctx, node, &want, needs);
	int r = snapshot_take(ctx, &how, record, seen, err);
	if (r >= 0 && !how.keep_running)
		r = reap(ctx, baseline, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(record);
	return 0;
}

/* Directories a record (or an item of its old list) names, but for `but` (may be NULL). */
static int remove_item(const struct resource_ctx *ctx, struct json_object *o, const char *but,
		       struct err *err)
{
	const char *const keys[] = {"staging", "dir"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *dir = record_path(o, keys[i], ctx->set_dir);
		bool gone = !dir || (but && strcmp(dir, but) == 0);
		int r = gone ? 0 : remove_snapshot(ctx, dir, err);

		if (r < 0)
			return r;
	}
	return 0;
}

static int snapshot_prune(const struct resource_ctx *ctx, const struct node *node,
			  const struct seen *seen, struct json_object **ret, struct err *err)
{
	const char *own = snapshot_dir(ctx, seen->record);

	(void)node;
	for (size_t i = 0; i < record_old_count(seen->record); i++) {
		int r = remove_item(ctx, record_old_at(seen->record, i), own, err);

		if (r < 0)
			return r;
	}
	json_object_object_del(seen->record, "old");
	int r = record_save(ctx->set_dir, seen->record, err);
	if (r < 0)
		return r;
	*ret = json_object_get(seen->record);
	return 0;
}

static int snapshot_destroy(const struct resource_ctx *ctx, const struct node *node,
			    const struct seen *seen, struct err *err)
{
	auto_free char *home = home_of(ctx, node->name);
	int r = record_mark_removing(ctx->set_dir, seen->record, err);

	for (size_t i = 0; r >= 0 && i < record_old_count(seen->record); i++)
		r = remove_item(ctx, record_old_at(seen->record, i), NULL, err);
	if (r >= 0 && seen->record)
		r = remove_item(ctx, seen->record, NULL, err);
	if (r >= 0)
		r = file_remove_tree(home, err);
	return r < 0 ? r : record_remove(ctx->set_dir, node->kind, node->name, err);
}

const struct resource_ops resource_snapshot = {
	.kind = "snapshot",
	.permit = PERMIT_BOOT,
	.holds = true,
	.beside = true,
	.on_demand = resource_always,
	.path = snapshot_path,
	.describe = snapshot_describe,
	.observe = snapshot_observe,
	.diff = snapshot_diff,
	.claims = resource_claims_nothing,
	.deadline_ms = snapshot_deadline_ms,
	.create = snapshot_create,
	.update = resource_update_record,
	.release = resource_release_nothing,
	.prune = snapshot_prune,
	.yield = resource_yield_nothing,
	.destroy = snapshot_destroy,
};
