/* field_list.h - a resource's wanted fields as text, and what differs from the recorded ones.
 *
 * Values are compared as text and kept in the record, so a plan can say "what was -> what shall
 * be" without asking which kind of resource it looks at. */
#ifndef FCVM_RESOURCE_FIELD_LIST_H
#define FCVM_RESOURCE_FIELD_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "digest.h"
#include "fleet.h"
#include "json.h"
#include "strv.h"

/* NONE: kept for the reader only, changes nothing. Ordered by how much a change costs. */
enum change { CHANGE_NONE, CHANGE_CREATE, CHANGE_UPDATE, CHANGE_REPLACE, CHANGE_DESTROY };

struct want_field {
	char *path;
	char *value;
	enum change change; /* what a difference means: NONE, UPDATE or REPLACE */
	bool own;           /* REPLACE of this resource alone: nothing made from it differs */
	struct place at;
	const char *disturbs; /* static; what a change in place costs, "its connections drop" */
};

struct field_list {
	struct want_field *v;
	size_t n, cap;
};
#define auto_field_list __attribute__((cleanup(field_list_free)))

void field_list_free(struct field_list *f);
/* path is "ENTRY.LEAF". A NULL or empty value is a default and is left out. */
void field_list_add(struct field_list *f, const char *entry, const char *leaf, enum change change,
		    struct place at, const char *value);
/* REPLACE that leaves the key as it is: dependents stay. */
void field_list_add_own(struct field_list *f, const char *entry, const char *leaf, struct place at,
			const char *value);
/* UPDATE that costs something. The value "[]" costs nothing. */
void field_list_add_disturbing(struct field_list *f, const char *entry, const char *leaf,
			       struct place at, const char *value, const char *disturbs);
void field_list_add_u64(struct field_list *f, const char *entry, const char *leaf,
			enum change change, struct place at, uint64_t value);
/* "30s"; exact, as a spec may say it. */
void field_list_add_ms(struct field_list *f, const char *entry, const char *leaf,
		       enum change change, struct place at, uint64_t ms);
char *field_list_ms(uint64_t ms); /* the caller frees */
/* "256MiB"; exact, whatever the number. */
void field_list_add_size(struct field_list *f, const char *entry, const char *leaf,
			 enum change change, struct place at, uint64_t bytes);
/* A list as one value: items as a JSON array. */
void field_list_add_strv(struct field_list *f, const char *entry, const char *leaf,
			 enum change change, struct place at, const struct strv *value);
/* {"replace": {"path": "value"}, "own": {...}, "update": {...}, "note": {...}}; the caller puts it.
 */
struct json_object *field_list_to_json(const struct field_list *f);
/* Adds every field whose change is at least `least`; with REPLACE those of the key, not own ones.
 */
void field_list_digest(const struct field_list *f, enum change least, struct digest *d);

struct reason {
	char *path;
	struct place at;
	char *old, *new; /* NULL: there was, there will be, none; a default counts as written */
	const char *disturbs; /* static or NULL: what it costs */
};

struct reasons {
	struct reason *v;
	size_t n, cap;
};
#define auto_reasons __attribute__((cleanup(reasons_free)))

void reasons_free(struct reasons *r);
void reasons_add(struct reasons *r, const char *path, struct place at, const char *old,
		 const char *new);

/* Forgets the reasons whose path begins so. */
void reasons_drop(struct reasons *r, const char *prefix);

/* Wanted fields against what field_list_to_json() once gave (hostile: it comes from a file): the
 * costliest change, every difference in `why`. A field that vanished counts by its recorded class.
 */
enum change field_list_diff(const struct field_list *want, struct json_object *recorded,
			    struct reasons *why);

#endif
