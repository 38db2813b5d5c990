/* fields.h - THE field tables: one row per field of the fleet spec, and the only place that knows
 * it. Decoding, errors, --set, explain, the JSON schema and docs/spec.md are all driven by them.
 *
 * Adding a field is one row here and one rejecting spec in tests/data/spec-bad. */
#ifndef FCVM_SPECS_FIELDS_H
#define FCVM_SPECS_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

enum field_type {
	FIELD_TEXT,
	FIELD_BOOL,
	FIELD_INT,      /* min..max */
	FIELD_NUMBER,   /* min..max in thousandths */
	FIELD_SIZE,     /* min..max in bytes */
	FIELD_DURATION, /* min..max in milliseconds */
	FIELD_CHOICE,
	FIELD_NAME,
	FIELD_REF,     /* names an entry of the section(s) in choices */
	FIELD_NETWORK, /* a built-in network of choices or an entry of networks */
	FIELD_PATH,    /* made absolute */
	FIELD_URL,
	FIELD_SHA256,
	FIELD_PERCENT, /* "25%" or a count */
	FIELD_IMAGE,   /* an entry of images or a source */
	FIELD_SOURCE,  /* oci-archive:PATH and its like */
	FIELD_HTTP,
	FIELD_TCP,
	FIELD_PORT,
	FIELD_ADDRESS,
	FIELD_EGRESS,
	FIELD_CLONE_NAME, /* a template for each clone's name */
	FIELD_CLONE_PATH, /* a path, absolute once it is expanded for a clone */
	FIELD_METADATA,   /* a template for each clone */
	FIELD_ARGV,
	FIELD_HOOK,
	FIELD_MOUNT, /* VOLUME:/TARGET[:ro], or VOLUME: /TARGET[:ro] in a map */
	FIELD_VAR,
	FIELD_MAP,       /* the fields of group */
	FIELD_MISPLACED, /* known to belong elsewhere: doc is the sentence that says where */
	FIELD_TYPES,
};

enum field_shape {
	FIELD_ONE,
	FIELD_LIST, /* a list of type */
	FIELD_EACH, /* a map of any keys (key_rule) to type */
};

enum field_key_rule { KEY_NAME, KEY_VAR, KEY_ENVIRONMENT, KEY_TEXT, KEY_INDEX };

enum field_class { CLASS_FIXED, CLASS_IN_PLACE, CLASS_DISTURBS, CLASS_REPLACE, CLASS_CASCADE };

/* The piece of work that executes the field; anything but main is refused at plan time. */
enum field_by {
	BY_MAIN,
	BY_LANGUAGE,
	BY_PODMAN,
	BY_SPEED,
	BY_JOBS,
	BY_LATER,
};

enum field_flags {
	FIELD_REQUIRED = 1 << 0,
	FIELD_INLINE = 1 << 1,         /* map: its members are stored in the parent's struct */
	FIELD_EARLY = 1 << 2,          /* decoded before the rest of the spec */
	FIELD_PARTIAL = 1 << 3,        /* map: required fields may be missing (defaults) */
	FIELD_LATER = 1 << 4,          /* map: everything in it is refused */
	FIELD_TEMPLATE = 1 << 5,       /* templates with vars.* and name */
	FIELD_CLONE_TEMPLATE = 1 << 6, /* and with index, clone and fleet */
	FIELD_JOB_TEMPLATE = 1 << 7,   /* and with job, item and slice.index */
	FIELD_STORE_INDEX = 1 << 8,    /* choice: stored as an enum's value, not as text */
	FIELD_SEVERAL_LATER = 1 << 9,  /* entries: all but the first are refused */
	FIELD_MAP_TOO = 1 << 10,       /* list: a map of the same is accepted as well */
	FIELD_GUEST_TEXT = 1 << 11,    /* the guest's own: '{{' in it is no template of ours */
};

struct field_group;

struct field {
	const char *key;
	enum field_type type;
	enum field_shape shape;
	enum field_key_rule key_rule;
	unsigned int flags;
	const char *dflt;    /* as one would write it; NULL: none */
	const char *choices; /* "auto|uffd|file"; sections of a reference */
	const char *only;    /* the values that are executed; the others are refused */
	uint64_t min, max;   /* max 0: no limits */
	enum field_class class;
	enum field_by by;
	const struct field_group *group;
	const char *entry; /* FIELD_EACH: what stands for a key in documentation, "B" */
	/* Where the value goes in the C struct, offsets plus one; 0 is nowhere. */
	size_t offset, at, count, entry_size;
	const char *doc;
};

/* Fields of a group of which only one may be given. */
struct field_rule {
	const char *keys; /* "http|tcp|exec|none" */
	bool required;
};

struct field_group {
	const char *name; /* in the JSON schema's $defs */
	const struct field *fields;
	size_t n;
	struct field_rule rule;
};

extern const struct field_group fields_top;

const struct field *fields_find(const struct field_group *group, const char *key);
/* The nearest key that exists, NULL when nothing is close. */
const char *fields_nearest(const struct field_group *group, const char *key);
/* What the tables say of a path of a spec, "fleets.web.count" or "fleets.F.count". NULL when there
 * is no such field. *ret_class (may be NULL): of the field where it stands, which is never more
 * than that of the map around it. */
const struct field *fields_at(const char *path, enum field_class *ret_class);
/* What holds when the field is not written; NULL: nothing, or no such field. */
const char *fields_default(const char *path);
const char *fields_type_name(const struct field *f); /* "size", "list of text" */
/* The same in a sentence: "a size", "true or false". */
void fields_type_phrase(const struct field *f, struct buf *out);
const char *fields_class_name(enum field_class class);
/* "1 to 32", "auto, uffd or file", "": the limits for people. */
void fields_limits(const struct field *f, struct buf *out);
/* A bound of f as one would write it: 64 MiB, 10s, 0.1. */
void fields_bound(const struct field *f, uint64_t value, struct buf *out);
/* Whether the text is one of a|b|c; *ret_index (may be NULL) is which. */
bool fields_has_choice(const char *choices, const char *text, size_t *ret_index);
/* "a, b or c" from "a|b|c". */
void fields_list_choices(const char *choices, struct buf *out);

/* Calls visit for every row below group, depth first in table order, with its whole path
 * ("baselines.B.memory"). Groups that repeat others (defaults, overrides) count as one row. */
typedef void fields_visit_fn(const char *path, const struct field *f, void *arg);
void fields_visit(fields_visit_fn *visit, void *arg);

#endif
