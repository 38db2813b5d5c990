/* decode.h - node tree to struct fleet, driven by the field tables. Inside specs/ only. */
#ifndef FCVM_SPECS_DECODE_H
#define FCVM_SPECS_DECODE_H

#include "diag.h"
#include "fields.h"
#include "fleet.h"
#include "map.h"
#include "path.h"
#include "template.h"
#include "vars.h"
#include "yaml_tree.h"

#define DECODE_TEXT_MAX 65536       /* bytes of one text */
#define DECODE_KEPT_MAX (64u << 20) /* bytes of all texts once defaults are merged */

/* A field that is valid but not executed yet. */
struct refusal {
	struct place at;
	char *path;
};

struct decode {
	struct diag *diag;
	struct ytree *tree;
	struct ynode *root; /* a map */
	struct spec_path path;
	struct vars vars;
	struct fleet *fleet;
	struct place at;   /* of the key whose map is decoded: what is missing is missing there */
	const char *entry; /* name of the entry of baselines, fleets ... being decoded */
	bool early;        /* only fields with FIELD_EARLY */
	bool partial;      /* required fields may be missing */
	bool later;        /* everything here is refused */
	bool by_hand;      /* no file says it */
	size_t kept;       /* against DECODE_KEPT_MAX */
};

/* Reports at the node or place, with the current path. The node says nothing more afterwards.
 * Both return -1, so that `return decode_fail(...)` reads well. */
__attribute__((format(printf, 3, 4))) int decode_fail(struct decode *d, struct ynode *node,
						      const char *fmt, ...);
__attribute__((format(printf, 3, 4))) int decode_fail_at(struct decode *d, struct place at,
							 const char *fmt, ...);
__attribute__((format(printf, 3, 4))) void decode_warn(struct decode *d, struct place at,
						       const char *fmt, ...);
/* "expected WANTED, got a map" or "got 'text'". */
int decode_expected(struct decode *d, struct ynode *node, const char *wanted);
/* Notes that this version does not execute the field with that value. */
void decode_refuse(struct decode *d, struct ynode *node, struct place at);

/* A value of f's type and shape into dst (the struct f's offsets are for; NULL: only check). */
int decode_value(struct decode *d, const struct field *f, struct ynode *node, void *dst);
/* One value of f's type, whatever its shape: into `slot`, which may be NULL. */
int decode_one(struct decode *d, const struct field *f, struct ynode *node, void *slot);
/* The members of a map, defaults for those that are absent. node may be NULL: only defaults. */
int decode_group(struct decode *d, const struct field_group *group, struct ynode *node, void *dst);
/* One top field that the others need. */
int decode_early(struct decode *d, const char *key);

/* Shared by the type handlers. A scalar's text, templates expanded where f allows them; NULL with
 * a problem. The caller frees. */
char *decode_text(struct decode *d, const struct field *f, struct ynode *node);
/* A copy that belongs to the fleet, within DECODE_KEPT_MAX. */
char *decode_keep(struct decode *d, const char *text);
/* Into a char * member; slot may be NULL. Always 0. */
int decode_store(struct decode *d, const char *text, void *slot);
/* "KEY=TEXT" likewise. */
void decode_keep_pair(struct decode *d, struct strv *list, const char *key, const char *text);
/* Names of the entries of sections "a|b", in file order, built-in ones included. */
void decode_names(const struct decode *d, const char *sections, struct strv *ret);
bool decode_exists(const struct decode *d, const char *sections, const char *name);
/* "no snapshot or baseline 'x'; there are: a, b" with the nearest as a question. */
int decode_unknown_ref(struct decode *d, struct ynode *node, const char *sections,
		       const char *name);
/* Compiles a template; problems point into the text. */
int decode_template(struct decode *d, struct ynode *node, unsigned int names,
		    struct template **ret);
/* What templates stand for in checks: the first clone. */
extern const struct template_values decode_sample;

typedef int decode_fn(struct decode *d, const struct field *f, struct ynode *node, void *slot);
decode_fn decode_bool, decode_int, decode_number, decode_size, decode_duration, decode_choice;
decode_fn decode_plain_text, decode_ref, decode_network, decode_path, decode_image, decode_source;
decode_fn decode_shaped, decode_argv;
/* These store more than one member: slot is the whole struct, also for LIST and EACH. */
decode_fn decode_vars, decode_hooks, decode_metadata, decode_clone_name, decode_ports;
decode_fn decode_clone_path, decode_mounts;
decode_fn decode_entries, decode_items;
int decode_check_key(struct decode *d, const struct field *f, const struct ypair *pair);

void fleet_free_hooks(struct hook_spec *hooks, size_t n);
void fleet_free_mounts(struct mount_spec *mounts, size_t n);

/* The steps of fleet_parse() beside decoding, in their order; each reports what it finds. */
void set_apply(struct decode *d, const struct strv *sets);
void set_check_used(struct decode *d);
void defaults_merge(struct decode *d);
void check_spec(struct decode *d);
void check_clones(struct decode *d);
/* Only without problems so far: references become pointers, what is built in is added. */
void link_spec(struct decode *d);
void check_memory(struct decode *d);
void check_volumes(struct decode *d);
void check_ports(struct decode *d);

/* Calls check for every entry of a section that is a map, with the path pushed. */
typedef void check_entry_fn(struct decode *d, const struct ypair *pair);
check_entry_fn check_volume, check_network;
void check_each(struct decode *d, const struct ynode *map, const char *section,
		check_entry_fn *check);

#endif
