/* vm_dir.h - the directory of one VM (<set>/vms/NAME) and the supervisor that lives in it. */
#ifndef FCVM_RESOURCE_VM_DIR_H
#define FCVM_RESOURCE_VM_DIR_H

#include "kinds.h"

#define VM_STOP_GRACE_MS 3000u

/* <set>/vms/NAME; caller frees. */
char *vm_dir_path(const char *set_dir, const char *name);
/* A fresh directory with a supervisor listening in it. The record (state "creating") gets dir,
 * vm_id and supervisor, and is on disk before anything is made. What an earlier try or VM left
 * there is removed first. */
int vm_dir_start(const struct resource_ctx *ctx, struct json_object *record, struct err *err);
/* Both steps a create begins with: a record for the node, then vm_dir_start(). A caller that wants
 * the supervisor as its own child (ctx->foreground) does this itself and hands the record to the
 * create verb in seen->record. *ret is the caller's to put. */
int vm_dir_begin(const struct resource_ctx *ctx, const struct need_list *needs,
		 const struct node *node, const struct seen *seen, struct json_object **ret,
		 struct err *err);
/* Ends the VM (grace_ms 0: kills it), whatever of it runs, and removes the directory and what the
 * ledger holds for it. Gone already is success. */
int vm_dir_remove(const struct resource_ctx *ctx, const char *dir, uint64_t grace_ms,
		  struct err *err);
/* What the VM of this record does now: sets exists, healthy and why, and has the record say what it
 * publishes. */
int vm_dir_observe(const struct resource_ctx *ctx, struct seen *seen, struct err *err);
/* Whether the process that would answer for it lives. */
bool vm_dir_is_supervised(const struct resource_ctx *ctx, struct json_object *record);
/* Whether its supervisor, which a call failed on by r, is gone. One that is about to end is waited
 * for, some seconds: ports are what it lets go of last. */
bool vm_dir_has_left(const struct resource_ctx *ctx, struct json_object *record, int r);
/* An update that failed by r and err: when the VM has ended since `was` was observed, what the next
 * plan would do is done now. One that is to be there is made again; of one that did its work the
 * record is written. Else r. */
int vm_dir_update_ended(const struct resource_ctx *ctx, const struct need_list *needs,
			const struct node *node, const struct seen *was, int r,
			struct json_object **ret, struct err *err);
/* Adds the status the supervisor reports (vm_id, pid, engine, accel ...) and ready_ms. */
void vm_dir_note_ready(const struct resource_ctx *ctx, struct json_object *record,
		       struct json_object *status);

#endif
