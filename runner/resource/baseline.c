#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "io.h"
#include "kinds.h"
#include "record.h"
#include "view.h"
#include "vm_dir.h"
#include "vm_net.h"
#include "vm_volumes.h"
#include "vm_yield.h"
#include "xalloc.h"

/* A boot under an overloaded TCG took 25 s, and it may be tried again. */
#define BOOT_MS 180000u

static char *baseline_path(const struct node *node, struct place *ret_at)
{
	const struct baseline_spec *b = node->spec;

	*ret_at = b->at;
	return xasprintf("baselines.%s", b->name);
}

/* Without a snapshot to live in it must run; with keep_running it shall. */
static bool baseline_on_demand(const struct node *node)
{
	const struct baseline_spec *b = node->spec;

	return b && !b->keep_running && node->n_users > 0;
}

static void describe_container(const struct container_spec *c, const char *entry,
			       struct field_list *ret)
{
	const enum change r = CHANGE_REPLACE;

	field_list_add(ret, entry, "container", r, c->at, c->name);
	field_list_add_strv(ret, entry, "entrypoint", r, c->at, &c->entrypoint);
	field_list_add_strv(ret, entry, "command", r, c->at, &c->command);
	field_list_add_strv(ret, entry, "environment", r, c->at, &c->environment);
	field_list_add(ret, entry, "user", r, c->at, c->user);
	field_list_add(ret, entry, "workdir", r, c->at, c->workdir);
	/* What the snapshot waits for is the snapshot's; a running VM learns it in place. */
	view_describe_probe(&c->health, entry, CHANGE_UPDATE, CHANGE_UPDATE, ret);
}

static void baseline_describe(const struct resource_ctx *ctx, const struct node *node,
			      struct field_list *ret)
{
	const struct baseline_spec *b = node->spec;
	struct place at;
	auto_free char *entry = baseline_path(node, &at);
	auto_free char *rootfs = xasprintf("rootfs.%s", b->rootfs->name);
	const enum change r = CHANGE_REPLACE;

	field_list_add_u64(ret, entry, "cpus", r, b->cpus_at, b->cpus);
	field_list_add_size(ret, entry, "memory", r, b->memory_at, b->memory_bytes);
	field_list_add(ret, entry, "engine", r, b->engine_at, ctx->choice->engine);
	field_list_add(ret, entry, "sandbox", r, b->sandbox_at, b->sandbox);
	field_list_add(ret, entry, "huge_pages", r, b->huge_pages_at,
		       b->huge_pages == HUGE_PAGES_2M ? "2M" : "none");
	field_list_add_size(ret, rootfs, "size", r, b->rootfs->size_at, b->rootfs->size_bytes);
	/* A device that comes or goes with the host is another machine. */
	if (ctx->choice->no_nic)
		field_list_add(ret, "host", "nic", r, b->at, "none");
	describe_container(&b->container, entry, ret);
	vm_net_describe(ctx->choice, node, ret);
	vm_volumes_describe(ctx, node, ret);
	field_list_add(ret, entry, "keep_running", CHANGE_NONE, b->at,
		       b->keep_running ? "true" : "false");
	field_list_add_ms(ret, entry, "ready_timeout", CHANGE_NONE, b->at, b->ready_timeout_ms);
}

static int baseline_observe(const struct resource_ctx *ctx, const struct node *node,
			    struct seen *seen, struct err *err)
{
	if (strcmp(record_state(seen->record), "reaped") == 0)
		return 0;
	int r = vm_dir_observe(ctx, seen, err);
	if (r < 0)
		return r;
	/* Half made counts: something of it may run. */
	seen->held = seen->record && node->spec && baseline_on_demand(node);
	return 0;
}

static uint64_t baseline_deadline_ms(const struct node *node)
{
	const struct baseline_spec *b = node->spec;

	return BOOT_MS + (b ? b->ready_timeout_ms : 0);
}

struct parts {
	struct kernel_have kernel;
	struct rootfs_have rootfs;
	struct image_have image;
};

static void parts_free(struct parts *p)
{
	kernel_have_free(&p->kernel);
	rootfs_have_free(&p->rootfs);
	image_have_free(&p->image);
}

/* What the steps before this one put into the cache. */
static int find_parts(const struct resource_ctx *ctx, const struct need_list *needs,
		      const struct baseline_spec *b, struct parts *ret, struct err *err)
{
	const struct need *image = resource_need(needs, RESOURCE_IMAGE);
	struct kernel_want k = {
		.package = b->kernel->path ? NULL : b->kernel->package,
		.path = b->kernel->path,
		.sha256 = b->kernel->sha256,
	};
	struct rootfs_want w = {
		.suite = b->rootfs->path ? NULL : b->rootfs->suite,
		.packages = b->rootfs->path ? NULL : &b->rootfs->packages,
		.path = b->rootfs->path,
		.sha256 = b->rootfs->sha256,
	};
	const char *digest = image ? json_opt_str(image->seen->record, "oci_digest", "") : "";
	int kernel = kernel_lookup(ctx->host, &k, &ret->kernel, err);
	int rootfs = kernel == 1 ? rootfs_lookup(ctx->host, &w, &ret->rootfs, err) : 0;
	int store = rootfs == 1 ? image_lookup(ctx->host, digest, &ret->image, err) : 0;

	if (kernel < 0 || rootfs < 0 || store < 0)
		return err->code;
	if (store == 1)
		return 0;
	return err_set(err, ERR_FAILED, -ENOENT, "the %s of baseline '%s' left the cache",
		       kernel == 0   ? "kernel"
		       : rootfs == 0 ? "root file system"
				     : "image",
		       b->name);
}

static int boot(const struct resource_ctx *ctx, const struct need_list *needs,
		const struct node *node, const char *dir, struct err *err)
{
	const struct baseline_spec *b = node->spec;
	struct supervisor_call call = resource_call(ctx, dir);
	struct vm_identity identity = {.hostname = b->name};
	auto_net_config struct net_config net = {0};
	auto_volume_list struct volume_list volumes = {0};
	struct parts parts = {0};
	int r = find_parts(ctx, needs, b, &parts, err);

	if (r >= 0)
		r = vm_net_config(ctx->choice, node, &net, err);
	if (r >= 0)
		r = vm_volumes_make(ctx, node, err);
	if (r >= 0)
		r = vm_volumes_list(ctx, node, &volumes, err);
	if (r >= 0) {
		auto_vm_config struct vm_config config = {0};
		struct workload w = view_workload(&b->container, parts.image.reference);

		view_config(ctx->choice, b, &parts.kernel, &parts.rootfs, parts.image.store,
			    &config);
		vm_volumes_add_disks(ctx, b, &config);
		r = supervisor_start(&call, &config, &w, &identity, &net, &volumes, err);
	}
	parts_free(&parts);
	return r;
}

/* A baseline with users is waited for by its snapshots, each for what it asks. */
static int wait_ready(const struct resource_ctx *ctx, const struct node *node, const char *dir,
		      struct err *err)
{
	const struct baseline_spec *b = node->spec;
	struct supervisor_call call = resource_call(ctx, dir);

	if (node->n_users > 0)
		return 0;
	call.deadline_ms = deadline_in(b->ready_timeout_ms);
	return supervisor_wait(&call, ctx->no_wait ? UNTIL_STARTED : UNTIL_HEALTHY, err);
}

static int baseline_create(const struct resource_ctx *ctx, const struct need_list *needs,
			   const struct node *node, const struct seen *seen,
			   struct json_object **ret, struct err *err)
{
	auto_json struct json_object *status = NULL;
	auto_json struct json_object *record = NULL;
	int r = vm_dir_begin(ctx, needs, node, seen, &record, err);

	if (r < 0)
		return r;
	const char *dir = json_opt_str(record, "dir", "");
	struct supervisor_call call = resource_call(ctx, dir);
	if ((r = boot(ctx, needs, node, dir, err)) < 0 ||
	    (r = wait_ready(ctx, node, dir, err)) < 0 ||
	    (r = supervisor_status(&call, &status, err)) < 0)
		return r;
	vm_dir_note_ready(ctx, record, status);
	r = record_save(ctx->set_dir, record, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(record);
	return 0;
}

static int baseline_update(const struct resource_ctx *ctx, const struct need_list *needs,
			   const struct node *node, const struct seen *seen,
			   struct json_object **ret, struct err *err)
{
	const struct baseline_spec *b = node->spec;
	struct supervisor_call call = resource_call(ctx, json_opt_str(seen->record, "dir", ""));
	struct health_spec health = view_health(&b->container.health);
	auto_net_config struct net_config net = {0};
	bool tell = resource_differs(ctx, node, seen, ".healthcheck.");
	struct update_request req = {.health = tell ? &health : NULL, .net = &net};
	int r = 0;

	/* Nobody supervises what did its work. */
	if (seen->ended)
		return resource_update_record(ctx, needs, node, seen, ret, err);
	r = vm_net_config(ctx->choice, node, &net, err);
	if (r < 0)
		return r;
	r = supervisor_update(&call, &req, err);
	if (r < 0)
		return vm_dir_update_ended(ctx, needs, node, seen, r, ret, err);
	return resource_update_record(ctx, needs, node, seen, ret, err);
}

static int baseline_release(const struct resource_ctx *ctx, const struct node *node,
			    const struct seen *seen, struct json_object **ret, struct err *err)
{
	auto_free char *dir = vm_dir_path(ctx->set_dir, node->name);
	int r = record_mark_removing(ctx->set_dir, seen->record, err);

	if (r >= 0)
		r = vm_dir_remove(ctx, dir, 0, err);
	if (r < 0)
		return r;
	record_set_state(seen->record, "reaped");
	json_add(seen->record, "supervisor", NULL);
	json_add(seen->record, "pid", NULL);
	r = record_save(ctx->set_dir, seen->record, err);
	if (r < 0)
		return r;
	*ret = json_object_get(seen->record);
	return 0;
}

static int baseline_destroy(const struct resource_ctx *ctx, const struct node *node,
			    const struct seen *seen, struct err *err)
{
	auto_free char *dir = vm_dir_path(ctx->set_dir, node->name);
	int r = record_mark_removing(ctx->set_dir, seen->record, err);

	if (r >= 0)
		r = vm_dir_remove(ctx, dir, VM_STOP_GRACE_MS, err);
	return r < 0 ? r : record_remove(ctx->set_dir, node->kind, node->name, err);
}

const struct resource_ops resource_baseline = {
	.kind = "baseline",
	.permit = PERMIT_BOOT,
	.one_user = true,
	.on_demand = baseline_on_demand,
	.path = baseline_path,
	.describe = baseline_describe,
	.observe = baseline_observe,
	.diff = resource_diff_fields,
	.claims = vm_net_claims,
	.deadline_ms = baseline_deadline_ms,
	.create = baseline_create,
	.update = baseline_update,
	.release = baseline_release,
	.prune = resource_prune_nothing,
	.yield = vm_yield,
	.destroy = baseline_destroy,
};
