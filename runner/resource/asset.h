/* asset.h - what kernel, rootfs and image have in common: bytes in the cache, known by digest. */
#ifndef FCVM_RESOURCE_ASSET_H
#define FCVM_RESOURCE_ASSET_H

#include "kinds.h"

/* After a lookup. content NULL: not in the cache; what the record says then still counts, as long
 * as the spec asks for the same source (assets are pinned). */
void asset_seen(const struct field_list *want, const char *content, struct seen *seen);
/* Likewise; same: the caller knows that the record is of what is asked for. */
void asset_seen_same(bool same, const char *content, struct seen *seen);
/* As resource_diff_fields, and other bytes under the same name are a replacement. */
enum change asset_diff(const struct node *node, const struct field_list *want,
		       const struct seen *seen, struct reasons *why);
/* What err says of the node's source is a problem of the spec; at: the place of `field`, line 0
 * when nobody wrote that. Returns as err_set(). */
int asset_refuse(const struct resource_ctx *ctx, const struct node *node, const char *field,
		 struct place at, struct err *err);
uint64_t asset_deadline_ms(const struct node *node);
/* Saves the record of what was built. extra: {"key": "value"} members for the reader, or NULL.
 * Refuses to go on when what stands on it was made with other bytes. */
int asset_done(const struct resource_ctx *ctx, const struct need_list *needs,
	       const struct node *node, const char *content, struct json_object *extra,
	       struct json_object **ret, struct err *err);

#endif
