#include "asset.h"

#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "record.h"
#include "xalloc.h"

#define ASSET_DEADLINE_MS (45u * 60 * 1000)

int asset_refuse(const struct resource_ctx *ctx, const struct node *node, const char *field,
		 struct place at, struct err *err)
{
	struct place entry_at = {0};
	auto_free char *entry = resource_spec_path(node, &entry_at);
	auto_free char *path = xasprintf("%s.%s", entry, field);

	return at.line ? fleet_refuse(ctx->fleet, at, path, err)
		       : fleet_refuse(ctx->fleet, entry_at, entry, err);
}

static bool same_source(const struct field_list *want, struct json_object *record)
{
	struct json_object *spec = json_opt_obj(record, "spec");
	auto_reasons struct reasons why = {0};

	(void)field_list_diff(want, spec, &why);
	return spec && why.n == 0;
}

void asset_seen_same(bool same, const char *content, struct seen *seen)
{
	const char *recorded = seen->record ? json_opt_str(seen->record, "content", "") : "";

	seen->healthy = true;
	if (content) {
		seen->exists = seen->record != NULL;
		snprintf(seen->content, sizeof(seen->content), "%s", content);
	} else if (seen->record && same) {
		seen->exists = false;
		snprintf(seen->content, sizeof(seen->content), "%s", recorded);
	} else {
		seen->exists = seen->record != NULL;
	}
}

void asset_seen(const struct field_list *want, const char *content, struct seen *seen)
{
	asset_seen_same(seen->record && same_source(want, seen->record), content, seen);
}

enum change asset_diff(const struct node *node, const struct field_list *want,
		       const struct seen *seen, struct reasons *why)
{
	const char *old = json_opt_str(seen->record, "content", "");
	enum change c = resource_diff_fields(node, want, seen, why);
	struct place at = {0};

	if (strcmp(old, seen->content) == 0)
		return c;
	if (why->n == 0) {
		auto_free char *path = resource_spec_path(node, &at);
		char from[13], to[13];

		snprintf(from, sizeof(from), "%.12s", old);
		snprintf(to, sizeof(to), "%.12s", seen->content);
		reasons_add(why, path, at, from, to[0] ? to : "not built yet");
	}
	return CHANGE_REPLACE;
}

uint64_t asset_deadline_ms(const struct node *node)
{
	(void)node;
	return ASSET_DEADLINE_MS;
}

int asset_done(const struct resource_ctx *ctx, const struct need_list *needs,
	       const struct node *node, const char *content, struct json_object *extra,
	       struct json_object **ret, struct err *err)
{
	auto_field_list struct field_list want = {0};
	struct seen now = {.exists = true, .healthy = true};
	struct node built = *node;

	resource_ops_of(node->kind)->describe(ctx, node, &want);
	snprintf(now.content, sizeof(now.content), "%s", content);
	resource_digest(&built, &want, &now, needs);
	auto_json struct json_object *record = record_new(ctx, &built, &want, needs);
	json_add_str(record, "content", content);
	if (extra) {
		json_object_object_foreach(extra, key, value)
			json_add_str(record, key, json_object_get_string(value));
	}
	record_set_state(record, "ready");
	int r = record_save(ctx->set_dir, record, err);
	if (r < 0)
		return r;
	if (node->key[0] && strcmp(node->key, built.key) != 0)
		return err_set(err, ERR_FAILED, -ESTALE,
			       "%s was built again with other bytes (%.12s); run apply again to "
			       "rebuild what stands on it",
			       json_opt_str(record, "address", "it"), content);
	*ret = TAKE_PTR(record);
	return 0;
}
