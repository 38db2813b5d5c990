/* fields_tables.h - the groups of the field tables, and the macros their rows are written with. */
#ifndef FCVM_SPECS_FIELDS_TABLES_H
#define FCVM_SPECS_FIELDS_TABLES_H

#include "cleanup.h"
#include "fields.h"
#include "fleet.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define TIB (1ull << 40)
#define SECOND 1000ull
#define HOUR (3600 * SECOND)

/* The member the value is stored in; AT also stores the place of the value in MEMBER_at. */
#define IN(type, member) .offset = offsetof(struct type, member) + 1
#define AT(type, member) IN(type, member), .at = offsetof(struct type, member##_at) + 1
/* A counted array: entries by name, or hooks. */
#define ARRAY(type, member) IN(type, member), .count = offsetof(struct type, n_##member) + 1
#define ENTRIES(member, entry_type) ARRAY(fleet, member), .entry_size = sizeof(struct entry_type)

#define GROUP(var, group_name, rows) GROUP_WITH(var, group_name, rows, NULL, false)
/* Of the fields in one_of (a|b|c) only one may be given, or one must. */
#define GROUP_WITH(var, group_name, rows, one_of, is_required) \
	const struct field_group var = {                       \
		.name = (group_name),                          \
		.fields = (rows),                              \
		.n = ARRAY_SIZE(rows),                         \
		.rule = {(one_of), (is_required)},             \
	}

extern const struct field_group group_kernel, group_rootfs, group_image, group_secret;
extern const struct field_group group_volume, group_network, group_policy, group_defaults;
extern const struct field_group group_var, group_outputs;
extern const struct field_group group_baseline, group_container, group_health, group_hook;
extern const struct field_group group_snapshot, group_fleet, group_job;

#endif
