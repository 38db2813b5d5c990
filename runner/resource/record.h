/* record.h - one JSON file per resource: <set>/records/KIND/NAME.json.
 *
 * Written beside and renamed, under the set's lock, before the side effects it tells of. What is
 * read is checked: a record that does not say what its file name says is refused. */
#ifndef FCVM_RESOURCE_RECORD_H
#define FCVM_RESOURCE_RECORD_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "json.h"
#include "proc.h"
#include "resource.h"

#define RECORD_VERSION 1
#define RECORD_MAX (256u << 10)

/* Calls fn for each record of the kind, in no order; it takes the object over. One readdir; no
 * directory is no record. fn's non-zero return ends the walk and is returned. An unreadable record
 * is a failure, or, with `skipped`, a line there. */
typedef int (*record_fn)(void *data, enum resource_kind kind, const char *name,
			 struct json_object *record, struct err *err);
int record_each(const char *set_dir, enum resource_kind kind, record_fn fn, void *data,
		struct buf *skipped, struct err *err);
/* -ENOENT when there is none. The caller puts it. */
int record_load(const char *set_dir, enum resource_kind kind, const char *name,
		struct json_object **ret, struct err *err);
/* Kind and name are the record's own. */
int record_save(const char *set_dir, struct json_object *record, struct err *err);
/* Gone already is success. */
int record_remove(const char *set_dir, enum resource_kind kind, const char *name, struct err *err);
/* From bytes: bounded, every member checked. Used by the walk, by tests and by the fuzzer. */
int record_parse(const char *text, size_t len, struct json_object **ret,
		 enum resource_kind *ret_kind, const char **ret_name, struct err *err);

/* A record in state "creating" for a node about to be made. */
struct json_object *record_new(const struct resource_ctx *ctx, const struct node *node,
			       const struct field_list *want, const struct need_list *needs);
/* Replaces digest, key, spec and needs after an update in place. */
void record_refresh(struct json_object *record, const struct node *node,
		    const struct field_list *want, const struct need_list *needs);
void record_set_state(struct json_object *record, const char *state);
const char *record_state(struct json_object *record); /* "" when there is none */
/* Says on disk that the thing is being taken away, before it is: whoever looks next, after a kill,
 * must not take it for whole while it still goes down. NULL record: nothing to say. */
int record_mark_removing(const char *set_dir, struct json_object *record, struct err *err);

struct json_object *record_proc(const struct proc_id *id);
/* False when the record has no such process. */
bool record_get_proc(struct json_object *record, const char *key, struct proc_id *ret);
/* A path of the record, only when it lies below set_dir; else NULL. */
const char *record_path(struct json_object *record, const char *key, const char *set_dir);

/* Leftovers of a replace: `record` gets an "old" list of what `before` (may be NULL) lists, plus
 * one object with the members `keys` of `before` itself. */
void record_keep_old(struct json_object *record, struct json_object *before,
		     const char *const *keys, size_t n_keys);
size_t record_old_count(struct json_object *record);                     /* NULL: 0 */
struct json_object *record_old_at(struct json_object *record, size_t i); /* borrowed */

/* File name for a resource's name: what is no letter, digit or one of "._@-" is %XX, long names
 * end in a digest. Caller frees. */
char *record_file_name(const char *name);

#endif
