#include <string.h>

#include "asset.h"
#include "cleanup.h"
#include "xalloc.h"

static struct rootfs_want want_of(const struct rootfs_spec *r)
{
	return (struct rootfs_want){
		.suite = r->path ? NULL : r->suite,
		.packages = r->path ? NULL : &r->packages,
		.path = r->path,
		.sha256 = r->sha256,
	};
}

static char *rootfs_path(const struct node *node, struct place *ret_at)
{
	const struct rootfs_spec *r = node->spec;

	*ret_at = r->at;
	return xasprintf("rootfs.%s", r->name);
}

static void rootfs_describe(const struct resource_ctx *ctx, const struct node *node,
			    struct field_list *ret)
{
	const struct rootfs_spec *r = node->spec;
	struct place at;
	auto_free char *entry = rootfs_path(node, &at);

	(void)ctx;
	field_list_add(ret, entry, "path", CHANGE_NONE, at, r->path);
	field_list_add(ret, entry, "sha256", CHANGE_NONE, at, r->sha256);
	if (r->path)
		return;
	field_list_add(ret, entry, "build.suite", CHANGE_NONE, at, r->suite);
	field_list_add_strv(ret, entry, "build.packages", CHANGE_NONE, at, &r->packages);
}

static int rootfs_observe(const struct resource_ctx *ctx, const struct node *node,
			  struct seen *seen, struct err *err)
{
	auto_field_list struct field_list want = {0};
	const struct rootfs_spec *spec = node->spec;
	struct rootfs_have have = {0};

	seen->exists = seen->record != NULL;
	seen->healthy = true;
	if (!spec)
		return 0;
	struct rootfs_want w = want_of(spec);
	int r = rootfs_lookup(ctx->host, &w, &have, err);
	if (r < 0)
		return asset_refuse(ctx, node, "path", spec->path_at, err);
	rootfs_describe(ctx, node, &want);
	asset_seen(&want, r == 1 ? have.digest : NULL, seen);
	if (r == 1)
		rootfs_have_free(&have);
	return 0;
}

static int rootfs_create(const struct resource_ctx *ctx, const struct need_list *needs,
			 const struct node *node, const struct seen *seen, struct json_object **ret,
			 struct err *err)
{
	struct rootfs_want w = want_of(node->spec);
	struct asset_progress progress = resource_progress(ctx);
	struct rootfs_have have = {0};
	int r = resource_note(ctx, err, "rootfs %s into the cache", node->name);

	(void)seen;
	if (r < 0)
		return r;
	r = rootfs_ensure(ctx->host, &w, &progress, &have, err);
	if (r < 0)
		return r;
	auto_json struct json_object *extra = json_object_new_object();
	json_add_str(extra, "image", have.image);
	json_add_str(extra, "fstype", have.fstype);
	r = asset_done(ctx, needs, node, have.digest, extra, ret, err);
	rootfs_have_free(&have);
	return r;
}

const struct resource_ops resource_rootfs = {
	.kind = "rootfs",
	.permit = PERMIT_BUILD,
	.on_demand = resource_on_demand,
	.path = rootfs_path,
	.describe = rootfs_describe,
	.observe = rootfs_observe,
	.diff = asset_diff,
	.claims = resource_claims_nothing,
	.deadline_ms = asset_deadline_ms,
	.create = rootfs_create,
	.update = resource_update_record,
	.release = resource_release_nothing,
	.prune = resource_prune_nothing,
	.yield = resource_yield_nothing,
	.destroy = resource_destroy_record,
};
