/* kinds.h - the verbs of each kind, one file each, and what several of them share. */
#ifndef FCVM_RESOURCE_KINDS_H
#define FCVM_RESOURCE_KINDS_H

#include <stdbool.h>
#include <stdint.h>

#include "assets.h"
#include "client.h"
#include "resource.h"

extern const struct resource_ops resource_kernel;
extern const struct resource_ops resource_rootfs;
extern const struct resource_ops resource_image;
extern const struct resource_ops resource_baseline;
extern const struct resource_ops resource_snapshot;
extern const struct resource_ops resource_memserver;
extern const struct resource_ops resource_clone;

/* Defaults for entries of the tables above. */
bool resource_always(const struct node *node);    /* on_demand: no */
bool resource_on_demand(const struct node *node); /* on_demand: yes */
enum change resource_diff_fields(const struct node *node, const struct field_list *want,
				 const struct seen *seen, struct reasons *why);
void resource_claims_nothing(const struct resource_ctx *ctx, const struct node *node,
			     struct json_object *record, struct strv *ret_wants,
			     struct strv *ret_holds);
/* Whether a wanted field with `part` in its path differs from the record. */
bool resource_differs(const struct resource_ctx *ctx, const struct node *node,
		      const struct seen *seen, const char *part);
/* Writes the wanted fields into the record; nothing that runs has to be told. */
int resource_update_record(const struct resource_ctx *ctx, const struct need_list *needs,
			   const struct node *node, const struct seen *seen,
			   struct json_object **ret, struct err *err);
int resource_release_nothing(const struct resource_ctx *ctx, const struct node *node,
			     const struct seen *seen, struct json_object **ret, struct err *err);
int resource_prune_nothing(const struct resource_ctx *ctx, const struct node *node,
			   const struct seen *seen, struct json_object **ret, struct err *err);
int resource_yield_nothing(const struct resource_ctx *ctx, const struct node *node,
			   const struct seen *seen, bool stays, struct err *err);
/* Only the record goes: the bytes are the cache's. */
int resource_destroy_record(const struct resource_ctx *ctx, const struct node *node,
			    const struct seen *seen, struct err *err);

/* The need of that kind, NULL when the node has none. */
const struct need *resource_need(const struct need_list *needs, enum resource_kind kind);
/* Tells the journal what is about to be done; 0 without a journal. */
__attribute__((format(printf, 3, 4))) int resource_note(const struct resource_ctx *ctx,
							struct err *err, const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void resource_say(const struct resource_ctx *ctx,
							const char *fmt, ...);
struct asset_progress resource_progress(const struct resource_ctx *ctx);
/* A call to the supervisor in dir, bounded by the step's deadline. */
struct supervisor_call resource_call(const struct resource_ctx *ctx, const char *dir);

#endif
