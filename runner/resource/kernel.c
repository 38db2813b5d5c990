#include <string.h>

#include "asset.h"
#include "cleanup.h"
#include "xalloc.h"

static struct kernel_want want_of(const struct kernel_spec *k)
{
	return (struct kernel_want){
		.package = k->path ? NULL : k->package,
		.path = k->path,
		.sha256 = k->sha256,
	};
}

static char *kernel_path(const struct node *node, struct place *ret_at)
{
	const struct kernel_spec *k = node->spec;

	*ret_at = k->at;
	return xasprintf("kernels.%s", k->name);
}

static void kernel_describe(const struct resource_ctx *ctx, const struct node *node,
			    struct field_list *ret)
{
	const struct kernel_spec *k = node->spec;
	struct place at;
	auto_free char *entry = kernel_path(node, &at);

	(void)ctx;
	field_list_add(ret, entry, "package", CHANGE_NONE, at, k->path ? NULL : k->package);
	field_list_add(ret, entry, "path", CHANGE_NONE, at, k->path);
	field_list_add(ret, entry, "sha256", CHANGE_NONE, at, k->sha256);
	field_list_add_strv(ret, entry, "args", CHANGE_REPLACE, at, &k->args);
}

static int kernel_observe(const struct resource_ctx *ctx, const struct node *node,
			  struct seen *seen, struct err *err)
{
	auto_field_list struct field_list want = {0};
	const struct kernel_spec *k = node->spec;
	struct kernel_have have = {0};

	seen->exists = seen->record != NULL;
	seen->healthy = true;
	if (!k)
		return 0;
	struct kernel_want w = want_of(k);
	int r = kernel_lookup(ctx->host, &w, &have, err);
	if (r < 0)
		return asset_refuse(ctx, node, "path", k->path_at, err);
	kernel_describe(ctx, node, &want);
	asset_seen(&want, r == 1 ? have.digest : NULL, seen);
	if (r == 1)
		kernel_have_free(&have);
	return 0;
}

static int kernel_create(const struct resource_ctx *ctx, const struct need_list *needs,
			 const struct node *node, const struct seen *seen, struct json_object **ret,
			 struct err *err)
{
	struct kernel_want w = want_of(node->spec);
	struct asset_progress progress = resource_progress(ctx);
	struct kernel_have have = {0};
	int r = resource_note(ctx, err, "kernel %s into the cache", node->name);

	(void)seen;
	if (r < 0)
		return r;
	r = kernel_ensure(ctx->host, &w, &progress, &have, err);
	if (r < 0)
		return r;
	auto_json struct json_object *extra = json_object_new_object();
	json_add_str(extra, "vmlinux", have.vmlinux);
	json_add_str(extra, "initrd", have.initrd);
	json_add_str(extra, "version", have.version);
	r = asset_done(ctx, needs, node, have.digest, extra, ret, err);
	kernel_have_free(&have);
	return r;
}

const struct resource_ops resource_kernel = {
	.kind = "kernel",
	.permit = PERMIT_BUILD,
	.on_demand = resource_on_demand,
	.path = kernel_path,
	.describe = kernel_describe,
	.observe = kernel_observe,
	.diff = asset_diff,
	.claims = resource_claims_nothing,
	.deadline_ms = asset_deadline_ms,
	.create = kernel_create,
	.update = resource_update_record,
	.release = resource_release_nothing,
	.prune = resource_prune_nothing,
	.yield = resource_yield_nothing,
	.destroy = resource_destroy_record,
};
