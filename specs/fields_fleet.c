/* fields_fleet.c - clones of a snapshot, and the jobs that run on them. */
#include "fields_tables.h"

static const struct field limits_fields[] = {
	{"cpus", FIELD_NUMBER, .min = 10, .max = 1024000, .class = CLASS_IN_PLACE,
	 .by = BY_LANGUAGE, .doc = "CPU time, in CPUs."},
	{"memory", FIELD_SIZE, .min = 16 * MIB, .max = 16 * TIB, .class = CLASS_IN_PLACE,
	 .by = BY_LANGUAGE, .doc = "Memory of the VMM, guest memory included."},
	{"pids", FIELD_INT, .min = 16, .max = 1000000, .class = CLASS_IN_PLACE, .by = BY_LANGUAGE,
	 .doc = "Threads of the VMM."},
	{"io", FIELD_INT, .min = 1, .max = 10000, .class = CLASS_IN_PLACE, .by = BY_LANGUAGE,
	 .doc = "Weight of its disk accesses; 100 is usual."},
};
static GROUP(group_limits, "limits", limits_fields);

static const struct field update_fields[] = {
	{"strategy", FIELD_CHOICE, .dflt = "rolling", .choices = "rolling|recreate",
	 .class = CLASS_IN_PLACE, .by = BY_LANGUAGE, .doc = "Clone after clone, or all at once."},
	{"max_unavailable", FIELD_PERCENT, .dflt = "25%", .min = 1, .max = 100000,
	 .class = CLASS_IN_PLACE, .by = BY_LANGUAGE, .doc = "Clones replaced at once."},
	{"canary", FIELD_INT, .dflt = "0", .max = 100000, .class = CLASS_IN_PLACE,
	 .by = BY_LANGUAGE, .doc = "Clones replaced and watched before the others."},
	{"on_failure", FIELD_CHOICE, .dflt = "rollback", .choices = "stop|rollback",
	 .class = CLASS_IN_PLACE, .by = BY_LANGUAGE, .doc = "When a new clone is not healthy."},
};
static GROUP(group_update, "update", update_fields);

static const struct field fleet_fields[] = {
	{"from", FIELD_REF, .flags = FIELD_REQUIRED, .choices = "snapshots|baselines",
	 .class = CLASS_REPLACE, IN(fleet_spec, from_ref),
	 .at = offsetof(struct fleet_spec, from_at) + 1,
	 .doc = "Snapshot its clones come from; a baseline B stands for B@healthy."},
	{"count", FIELD_INT, .flags = FIELD_TEMPLATE, .dflt = "1", .max = 100000,
	 .class = CLASS_IN_PLACE, AT(fleet_spec, count), .doc = "Number of clones."},
	{"names", FIELD_NAME, FIELD_LIST, .class = CLASS_IN_PLACE, .by = BY_LANGUAGE,
	 .doc = "Clones by name instead of by number."},
	{"name", FIELD_CLONE_NAME, .dflt = "F-{{index}}", .class = CLASS_REPLACE,
	 .at = offsetof(struct fleet_spec, name_at) + 1,
	 .doc = "Name of each clone, unique in the set; templates with index and fleet."},
	{"metadata", FIELD_METADATA, FIELD_EACH, KEY_TEXT, .dflt = "{}", .entry = "*",
	 .class = CLASS_IN_PLACE, .at = offsetof(struct fleet_spec, metadata_at) + 1,
	 .doc = "What each clone finds in /run/fcvm/metadata.json; at most 64 KiB."},
	{"secrets", FIELD_REF, FIELD_LIST, .choices = "secrets", .dflt = "[]",
	 .class = CLASS_IN_PLACE, .by = BY_LANGUAGE, .doc = "Secrets each clone is given."},
	{"ports", FIELD_PORT, FIELD_LIST, .flags = FIELD_CLONE_TEMPLATE, .dflt = "[]",
	 .class = CLASS_DISTURBS, ARRAY(fleet_spec, ports),
	 .at = offsetof(struct fleet_spec, ports_at) + 1,
	 .doc = "[IP:][HOST:]GUEST[/tcp|udp]; HOST:GUEST binds 127.0.0.1, GUEST alone the clone's "
		"own 127.x.y.z."},
	{"network", FIELD_NETWORK, .choices = "auto|bridged|rootless|none", .class = CLASS_REPLACE,
	 IN(fleet_spec, network_ref), .at = offsetof(struct fleet_spec, network_at) + 1,
	 .doc = "The baseline's by default."},
	{"volumes", FIELD_MOUNT, FIELD_LIST, .flags = FIELD_MAP_TOO | FIELD_TEMPLATE,
	 .class = CLASS_REPLACE, ARRAY(fleet_spec, volumes),
	 .at = offsetof(struct fleet_spec, volumes_at) + 1,
	 .doc = "Beside the baseline's; the same targets may name other volumes of type host."},
	{"on_clone", FIELD_HOOK, FIELD_LIST, .dflt = "[]", .group = &group_hook,
	 .class = CLASS_IN_PLACE, ARRAY(fleet_spec, on_clone),
	 .doc = "What runs in each new clone once it has its identity."},
	{"on_metadata", FIELD_HOOK, FIELD_LIST, .dflt = "[]", .group = &group_hook,
	 .class = CLASS_IN_PLACE, .by = BY_LANGUAGE, .doc = "What runs when metadata changed."},
	{"healthcheck", FIELD_MAP, .group = &group_health, .class = CLASS_IN_PLACE,
	 IN(fleet_spec, health), .at = offsetof(struct fleet_spec, health.at) + 1,
	 .doc = "The baseline's by default."},
	{"restart", FIELD_CHOICE, .dflt = "no", .choices = "no|on-failure|always",
	 .class = CLASS_IN_PLACE, AT(fleet_spec, restart),
	 .doc = "When an ended clone is restored again, after 1s to 1m."},
	{"limits", FIELD_MAP, .group = &group_limits, .class = CLASS_IN_PLACE,
	 .doc = "What each VM may take of the host (cgroup v2)."},
	{"update", FIELD_MAP, .group = &group_update, .class = CLASS_IN_PLACE,
	 .doc = "How clones are replaced."},
	{"overrides", FIELD_MAP, FIELD_EACH, KEY_INDEX, .entry = "N",
	 .flags = FIELD_PARTIAL | FIELD_LATER, .group = &group_fleet, .class = CLASS_IN_PLACE,
	 .by = BY_LANGUAGE, .doc = "Fields of this table for clone N only."},
	{"profiles", FIELD_TEXT, FIELD_LIST, .dflt = "[]", .class = CLASS_IN_PLACE,
	 .by = BY_LANGUAGE, .doc = "Only there when one of these profiles is asked for."},
	{"cpus", FIELD_MISPLACED,
	 .doc = "fixed by the snapshot: set it on the baseline; limits.cpus bounds CPU time"},
	{"memory", FIELD_MISPLACED,
	 .doc = "fixed by the snapshot: set it on the baseline; limits.memory bounds the VMM"},
	{"environment", FIELD_MISPLACED,
	 .doc = "fixed by the snapshot: set it on the baseline, or give clones metadata and "
		"on_clone"},
	{"image", FIELD_MISPLACED, .doc = "fixed by the snapshot: set it on the baseline"},
	{"kernel", FIELD_MISPLACED, .doc = "fixed by the snapshot: set it on the baseline"},
	{"rootfs", FIELD_MISPLACED, .doc = "fixed by the snapshot: set it on the baseline"},
};
GROUP_WITH(group_fleet, "fleet", fleet_fields, "count|names", false);

static const struct field retries_fields[] = {
	{"infra", FIELD_INT, .dflt = "2", .max = 100, .class = CLASS_IN_PLACE, .by = BY_JOBS,
	 .doc = "New tries after a clone or fcvm failed."},
	{"test", FIELD_INT, .dflt = "0", .max = 100, .class = CLASS_IN_PLACE, .by = BY_JOBS,
	 .doc = "New tries after the command failed; a pass then counts as flaky."},
};
static GROUP(group_retries, "retries", retries_fields);

static const struct field artifact_fields[] = {
	{"from", FIELD_TEXT, .flags = FIELD_REQUIRED, .class = CLASS_IN_PLACE, .by = BY_JOBS,
	 .doc = "Path in the guest."},
	{"to", FIELD_TEXT, .flags = FIELD_REQUIRED | FIELD_CLONE_TEMPLATE | FIELD_JOB_TEMPLATE,
	 .class = CLASS_IN_PLACE, .by = BY_JOBS, .doc = "Directory on this machine."},
	{"when", FIELD_CHOICE, .dflt = "always", .choices = "always|on_failure|on_success",
	 .class = CLASS_IN_PLACE, .by = BY_JOBS, .doc = "After which results."},
};
static GROUP(group_artifact, "artifact", artifact_fields);

static const struct field failure_fields[] = {
	{"capture", FIELD_CHOICE, FIELD_LIST, .choices = "console|logs|snapshot",
	 .class = CLASS_IN_PLACE, .by = BY_JOBS, .doc = "What is kept of the clone."},
	{"keep", FIELD_DURATION, .max = 8760 * HOUR, .class = CLASS_IN_PLACE, .by = BY_JOBS,
	 .doc = "How long the clone is kept."},
};
static GROUP(group_failure, "onFailure", failure_fields);

static const struct field items_fields[] = {
	{"glob", FIELD_TEXT, .class = CLASS_IN_PLACE, .by = BY_JOBS,
	 .doc = "Files on this machine."},
	{"list", FIELD_TEXT, FIELD_LIST, .class = CLASS_IN_PLACE, .by = BY_JOBS,
	 .doc = "The items themselves."},
	{"command", FIELD_ARGV, .class = CLASS_IN_PLACE, .by = BY_JOBS,
	 .doc = "Command on this machine that prints one item a line."},
};
static GROUP_WITH(group_items, "items", items_fields, "glob|list|command", true);

static const struct field job_fields[] = {
	{"fleet", FIELD_REF, .choices = "fleets", .class = CLASS_IN_PLACE, .by = BY_JOBS,
	 .doc = "Fleet whose clones do the work."},
	{"from", FIELD_REF, .choices = "snapshots|baselines", .class = CLASS_IN_PLACE,
	 .by = BY_JOBS, .doc = "Snapshot the job makes clones of for itself."},
	{"mode", FIELD_CHOICE, .dflt = "each", .choices = "each|shard|queue|once",
	 .class = CLASS_IN_PLACE, .by = BY_JOBS,
	 .doc = "The same on each clone, a share on each, items for free clones, or once."},
	{"run", FIELD_ARGV, .flags = FIELD_REQUIRED, .class = CLASS_IN_PLACE, .by = BY_JOBS,
	 .doc = "The command."},
	{"isolation", FIELD_CHOICE, .dflt = "clone", .choices = "clone|item",
	 .class = CLASS_IN_PLACE, .by = BY_JOBS, .doc = "A fresh clone for the job or each item."},
	{"max_clones", FIELD_INT, .min = 1, .max = 100000, .class = CLASS_IN_PLACE, .by = BY_JOBS,
	 .doc = "Most clones at once."},
	{"items", FIELD_MAP, .group = &group_items, .class = CLASS_IN_PLACE,
	 .doc = "mode queue: what is handed out."},
	{"order", FIELD_CHOICE, .dflt = "given", .choices = "given|slowest_first",
	 .class = CLASS_IN_PLACE, .by = BY_JOBS, .doc = "mode queue: which item comes first."},
	{"max_failures", FIELD_INT, .min = 1, .max = 100000, .class = CLASS_IN_PLACE, .by = BY_JOBS,
	 .doc = "Stop handing out items after this many failures."},
	{"timeout", FIELD_DURATION, .min = SECOND, .max = 8760 * HOUR, .class = CLASS_IN_PLACE,
	 .by = BY_JOBS, .doc = "Longest one command may take."},
	{"retries", FIELD_MAP, .group = &group_retries, .class = CLASS_IN_PLACE,
	 .doc = "New tries."},
	{"junit", FIELD_TEXT, .class = CLASS_IN_PLACE, .by = BY_JOBS,
	 .doc = "Reports in the guest, a pattern."},
	{"artifacts", FIELD_MAP, FIELD_LIST, .group = &group_artifact, .class = CLASS_IN_PLACE,
	 .doc = "Files copied to this machine."},
	{"on_failure", FIELD_MAP, .group = &group_failure, .class = CLASS_IN_PLACE,
	 .doc = "What is kept of clones that failed."},
	{"profiles", FIELD_TEXT, FIELD_LIST, .dflt = "[]", .class = CLASS_IN_PLACE, .by = BY_JOBS,
	 .doc = "Only there when one of these profiles is asked for."},
};
GROUP_WITH(group_job, "job", job_fields, "fleet|from", true);
