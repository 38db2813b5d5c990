#include "resource.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "kinds.h"
#include "record.h"
#include "xalloc.h"

/* Part of every digest: raise it when the meaning of keys changes. */
#define KEY_SCHEMA 1

const struct resource_ops *const resource_table[RESOURCE_KINDS] = {
	[RESOURCE_KERNEL] = &resource_kernel,     [RESOURCE_ROOTFS] = &resource_rootfs,
	[RESOURCE_IMAGE] = &resource_image,       [RESOURCE_BASELINE] = &resource_baseline,
	[RESOURCE_SNAPSHOT] = &resource_snapshot, [RESOURCE_MEMSERVER] = &resource_memserver,
	[RESOURCE_CLONE] = &resource_clone,
};

const struct resource_ops *resource_ops_of(enum resource_kind kind)
{
	return resource_table[kind];
}

int resource_kind_by_name(const char *word)
{
	for (int k = 0; k < RESOURCE_KINDS; k++)
		if (strcmp(resource_table[k]->kind, word) == 0)
			return k;
	return -1;
}

char *resource_address(enum resource_kind kind, const char *name)
{
	return xasprintf("%s/%s", resource_table[kind]->kind, name);
}

char *resource_spec_path(const struct node *node, struct place *ret_at)
{
	struct place at = {0};
	char *path = node->spec ? resource_table[node->kind]->path(node, &at) : NULL;

	if (ret_at)
		*ret_at = at;
	return path;
}

void resource_digest(struct node *node, const struct field_list *want, const struct seen *seen,
		     const struct need_list *needs)
{
	auto_digest struct digest *all = digest_new();
	auto_digest struct digest *key = digest_new();
	struct digest *const both[] = {all, key};

	node->digest[0] = node->key[0] = '\0';
	if (node->kind <= RESOURCE_IMAGE && !seen->content[0])
		return;
	for (size_t d = 0; d < ARRAY_SIZE(both); d++) {
		digest_add_u64(both[d], "schema", KEY_SCHEMA);
		digest_add_field(both[d], "kind", resource_table[node->kind]->kind);
		digest_add_field(both[d], "content", seen->content);
		field_list_digest(want, d == 0 ? CHANGE_UPDATE : CHANGE_REPLACE, both[d]);
	}
	for (size_t i = 0; i < needs->n; i++) {
		const struct node *need = needs->v[i].node;

		if (!need->key[0])
			return;
		for (size_t d = 0; d < ARRAY_SIZE(both); d++) {
			digest_add_field(both[d], resource_table[need->kind]->kind, need->name);
			digest_add_field(both[d], "key", need->key);
		}
	}
	digest_hex(all, node->digest);
	digest_hex(key, node->key);
}

void seen_clear(struct seen *seen)
{
	free(seen->why);
	json_put_p(&seen->record);
	*seen = (struct seen){0};
}

void seen_unhealthy(struct seen *seen, const char *fmt, ...)
{
	auto_buf struct buf b = BUF_INIT(400);
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&b, fmt, ap);
	va_end(ap);
	free(seen->why);
	seen->why = buf_detach(&b);
	seen->healthy = false;
}

bool resource_always(const struct node *node)
{
	(void)node;
	return false;
}

bool resource_on_demand(const struct node *node)
{
	(void)node;
	return true;
}

enum change resource_diff_fields(const struct node *node, const struct field_list *want,
				 const struct seen *seen, struct reasons *why)
{
	enum change c = field_list_diff(want, json_opt_obj(seen->record, "spec"), why);

	/* No field differs and yet the key does: it was made by other rules. */
	if (c == CHANGE_NONE && strcmp(node->key, json_opt_str(seen->record, "key", "")) != 0)
		return CHANGE_REPLACE;
	return c;
}

bool resource_differs(const struct resource_ctx *ctx, const struct node *node,
		      const struct seen *seen, const char *part)
{
	auto_field_list struct field_list want = {0};
	auto_reasons struct reasons why = {0};

	resource_table[node->kind]->describe(ctx, node, &want);
	(void)field_list_diff(&want, json_opt_obj(seen->record, "spec"), &why);
	for (size_t i = 0; i < why.n; i++)
		if (strstr(why.v[i].path, part))
			return true;
	return false;
}

void resource_claims_nothing(const struct resource_ctx *ctx, const struct node *node,
			     struct json_object *record, struct strv *ret_wants,
			     struct strv *ret_holds)
{
	(void)ctx, (void)node, (void)record, (void)ret_wants, (void)ret_holds;
}

int resource_update_record(const struct resource_ctx *ctx, const struct need_list *needs,
			   const struct node *node, const struct seen *seen,
			   struct json_object **ret, struct err *err)
{
	auto_field_list struct field_list want = {0};
	struct json_object *record = seen->record;

	resource_table[node->kind]->describe(ctx, node, &want);
	record_refresh(record, node, &want, needs);
	int r = record_save(ctx->set_dir, record, err);
	if (r < 0)
		return r;
	*ret = json_object_get(record);
	return 0;
}

int resource_release_nothing(const struct resource_ctx *ctx, const struct node *node,
			     const struct seen *seen, struct json_object **ret, struct err *err)
{
	(void)ctx, (void)node, (void)err;
	*ret = json_object_get(seen->record);
	return 0;
}

int resource_prune_nothing(const struct resource_ctx *ctx, const struct node *node,
			   const struct seen *seen, struct json_object **ret, struct err *err)
{
	return resource_release_nothing(ctx, node, seen, ret, err);
}

int resource_yield_nothing(const struct resource_ctx *ctx, const struct node *node,
			   const struct seen *seen, bool stays, struct err *err)
{
	(void)ctx, (void)node, (void)seen, (void)stays, (void)err;
	return 0;
}

int resource_destroy_record(const struct resource_ctx *ctx, const struct node *node,
			    const struct seen *seen, struct err *err)
{
	(void)seen;
	return record_remove(ctx->set_dir, node->kind, node->name, err);
}

const struct need *resource_need(const struct need_list *needs, enum resource_kind kind)
{
	for (size_t i = 0; i < needs->n; i++)
		if (needs->v[i].node->kind == kind)
			return &needs->v[i];
	return NULL;
}

int resource_note(const struct resource_ctx *ctx, struct err *err, const char *fmt, ...)
{
	auto_buf struct buf b = BUF_INIT(1000);
	va_list ap;

	if (!ctx->note)
		return 0;
	va_start(ap, fmt);
	buf_vaddf(&b, fmt, ap);
	va_end(ap);
	return ctx->note(ctx->data, buf_str(&b), err);
}

void resource_say(const struct resource_ctx *ctx, const char *fmt, ...)
{
	auto_buf struct buf b = BUF_INIT(400);
	va_list ap;

	if (!ctx->say)
		return;
	va_start(ap, fmt);
	buf_vaddf(&b, fmt, ap);
	va_end(ap);
	ctx->say(ctx->data, buf_str(&b));
}

struct asset_progress resource_progress(const struct resource_ctx *ctx)
{
	return (struct asset_progress){.say = ctx->say, .data = ctx->data};
}

struct supervisor_call resource_call(const struct resource_ctx *ctx, const char *dir)
{
	return (struct supervisor_call){
		.dir = dir,
		.deadline_ms = ctx->deadline_ms,
		.progress = ctx->say,
		.data = ctx->data,
	};
}
