#include <string.h>

#include "asset.h"
#include "cleanup.h"
#include "xalloc.h"

static char *image_path(const struct node *node, struct place *ret_at)
{
	const struct image_spec *i = node->spec;

	*ret_at = i->at;
	return i->inlined ? xstrdup(i->inlined) : xasprintf("images.%s", i->name);
}

static void image_describe(const struct resource_ctx *ctx, const struct node *node,
			   struct field_list *ret)
{
	const struct image_spec *i = node->spec;
	struct place at;
	auto_free char *entry = image_path(node, &at);

	(void)ctx;
	field_list_add(ret, entry, "source", CHANGE_NONE, at, i->source);
}

static int refuse(const struct resource_ctx *ctx, const struct node *node, struct err *err)
{
	const struct image_spec *i = node->spec;
	struct place at = i->source_at;

	if (i->inlined) /* it is the whole entry */
		at.line = 0;
	return asset_refuse(ctx, node, "source", at, err);
}

static int image_observe(const struct resource_ctx *ctx, const struct node *node, struct seen *seen,
			 struct err *err)
{
	const struct image_spec *i = node->spec;
	char digest[DIGEST_HEX_SIZE];
	struct image_have have = {0};
	bool same;

	seen->exists = seen->record != NULL;
	seen->healthy = true;
	if (!i)
		return 0;
	int r = image_resolve(i->source, ctx->fleet->dir, digest, err);
	if (r < 0)
		return refuse(ctx, node, err);
	r = image_lookup(ctx->host, digest, &have, err);
	if (r < 0)
		return refuse(ctx, node, err);
	same = seen->record && strcmp(json_opt_str(seen->record, "oci_digest", ""), digest) == 0;
	asset_seen_same(same, r == 1 ? have.content : NULL, seen);
	if (r == 1)
		image_have_free(&have);
	return 0;
}

static int image_create(const struct resource_ctx *ctx, const struct need_list *needs,
			const struct node *node, const struct seen *seen, struct json_object **ret,
			struct err *err)
{
	const struct image_spec *i = node->spec;
	struct asset_progress progress = resource_progress(ctx);
	struct image_have have = {0};
	int r = resource_note(ctx, err, "image %s into the cache", node->name);

	(void)seen;
	if (r < 0)
		return r;
	r = image_ensure(ctx->host, i->source, ctx->fleet->dir, &progress, &have, err);
	if (r < 0)
		return r;
	auto_json struct json_object *extra = json_object_new_object();
	json_add_str(extra, "oci_digest", have.digest);
	json_add_str(extra, "store", have.store);
	json_add_str(extra, "reference", have.reference);
	r = asset_done(ctx, needs, node, have.content, extra, ret, err);
	image_have_free(&have);
	return r;
}

const struct resource_ops resource_image = {
	.kind = "image",
	.permit = PERMIT_BUILD,
	.on_demand = resource_on_demand,
	.path = image_path,
	.describe = image_describe,
	.observe = image_observe,
	.diff = asset_diff,
	.claims = resource_claims_nothing,
	.deadline_ms = asset_deadline_ms,
	.create = image_create,
	.update = resource_update_record,
	.release = resource_release_nothing,
	.prune = resource_prune_nothing,
	.yield = resource_yield_nothing,
	.destroy = resource_destroy_record,
};
