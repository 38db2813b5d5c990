/* fields.c - the top of the spec, its sections of assets, and the rules of the whole set. */
#include "fields_tables.h"

static const struct field var_fields[] = {
	{"from_env", FIELD_TEXT, .class = CLASS_IN_PLACE, .by = BY_LANGUAGE,
	 .doc = "Environment variable the value is read from."},
	{"default", FIELD_TEXT, .class = CLASS_IN_PLACE, .by = BY_LANGUAGE,
	 .doc = "Value when the environment variable is not set."},
};
GROUP(group_var, "var", var_fields);

static const struct field memory_fields[] = {
	{"reserve", FIELD_SIZE, .dflt = "1GiB", .max = 1024 * TIB, .class = CLASS_IN_PLACE,
	 IN(fleet, policy.memory_reserve_bytes), .doc = "Memory of the host that VMs leave alone."},
	{"overcommit", FIELD_NUMBER, .dflt = "1.0", .min = 100, .max = 1000000,
	 .class = CLASS_IN_PLACE, IN(fleet, policy.memory_overcommit),
	 .doc = "Guest memory may add up to this many times what is available."},
};
static GROUP(group_policy_memory, "policyMemory", memory_fields);

static const struct field disk_fields[] = {
	{"reserve", FIELD_SIZE, .dflt = "2GiB", .max = 1024 * TIB, .class = CLASS_IN_PLACE,
	 .by = BY_LANGUAGE, .doc = "Disk space that VMs leave alone."},
};
static GROUP(group_policy_disk, "policyDisk", disk_fields);

static const struct field parallelism_fields[] = {
	{"build", FIELD_INT, .dflt = "1", .min = 1, .max = 1024, .class = CLASS_IN_PLACE,
	 IN(fleet, policy.build), .doc = "Kernels, roots and images built at once."},
	{"boot", FIELD_INT, .dflt = "2", .min = 1, .max = 1024, .class = CLASS_IN_PLACE,
	 IN(fleet, policy.boot), .doc = "Baselines booted at once."},
	{"restore", FIELD_INT, .dflt = "16", .min = 1, .max = 1024, .class = CLASS_IN_PLACE,
	 IN(fleet, policy.restore), .doc = "Clones restored at once."},
	{"health", FIELD_INT, .dflt = "32", .min = 1, .max = 1024, .class = CLASS_IN_PLACE,
	 IN(fleet, policy.health), .doc = "VMs waited for at once until they are healthy."},
};
static GROUP(group_parallelism, "parallelism", parallelism_fields);

static const struct field policy_fields[] = {
	{"memory", FIELD_MAP, .flags = FIELD_INLINE, .group = &group_policy_memory,
	 .class = CLASS_IN_PLACE, .doc = "How much memory VMs may take."},
	{"disk", FIELD_MAP, .flags = FIELD_INLINE, .group = &group_policy_disk,
	 .class = CLASS_IN_PLACE, .doc = "How much disk space VMs may take."},
	{"parallelism", FIELD_MAP, .flags = FIELD_INLINE, .group = &group_parallelism,
	 .class = CLASS_IN_PLACE, .doc = "How much is done at once."},
	{"ttl", FIELD_DURATION, .min = 10 * SECOND, .max = 8760 * HOUR, .class = CLASS_IN_PLACE,
	 .by = BY_LANGUAGE, .doc = "The set is destroyed after this time, whatever happens."},
	{"strict", FIELD_BOOL, .dflt = "false", .class = CLASS_IN_PLACE, .by = BY_LANGUAGE,
	 .doc = "Warnings about the host refuse the plan (exit 4)."},
};
GROUP(group_policy, "policy", policy_fields);

static const struct field defaults_fields[] = {
	{"baseline", FIELD_MAP, .flags = FIELD_PARTIAL, .group = &group_baseline,
	 .class = CLASS_CASCADE, .doc = "Merged under every baseline: what it says itself wins."},
	{"fleet", FIELD_MAP, .flags = FIELD_PARTIAL, .group = &group_fleet, .class = CLASS_REPLACE,
	 .doc = "Merged under every fleet: what it says itself wins."},
	{"engine", FIELD_CHOICE, .dflt = "auto", .choices = "auto|firecracker|qemu",
	 .class = CLASS_CASCADE, IN(fleet, engine), .doc = "Engine of baselines that name none."},
};
GROUP(group_defaults, "defaults", defaults_fields);

static const struct field kernel_fields[] = {
	{"package", FIELD_TEXT, .dflt = "linux-image-cloud-amd64", .class = CLASS_CASCADE,
	 IN(kernel_spec, package), .doc = "Debian package the kernel is taken from."},
	{"path", FIELD_PATH, .class = CLASS_CASCADE, AT(kernel_spec, path),
	 .doc = "ELF vmlinux or bzImage (lz4, zstd) on this machine."},
	{"url", FIELD_URL, .class = CLASS_CASCADE, .by = BY_PODMAN,
	 .doc = "Where the kernel is fetched from; needs sha256."},
	{"sha256", FIELD_SHA256, .class = CLASS_CASCADE, IN(kernel_spec, sha256),
	 .doc = "Digest the file at path or url must have."},
	{"args", FIELD_TEXT, FIELD_LIST, .dflt = "[]", .class = CLASS_CASCADE,
	 IN(kernel_spec, args), .doc = "Kernel arguments, appended to ours."},
};
GROUP_WITH(group_kernel, "kernel", kernel_fields, "package|path|url", false);

static const struct field build_fields[] = {
	{"distro", FIELD_CHOICE, .dflt = "debian", .choices = "debian", .class = CLASS_CASCADE,
	 .doc = "Distribution."},
	{"suite", FIELD_TEXT, .dflt = "bookworm", .class = CLASS_CASCADE, IN(rootfs_spec, suite),
	 .doc = "Release of the distribution."},
	{"packages", FIELD_TEXT, FIELD_LIST, .dflt = "[]", .class = CLASS_CASCADE,
	 IN(rootfs_spec, packages), .doc = "Packages beyond Podman and what it needs."},
};
static GROUP(group_build, "build", build_fields);

static const struct field rootfs_fields[] = {
	{"build", FIELD_MAP, .flags = FIELD_INLINE, .group = &group_build, .class = CLASS_CASCADE,
	 .doc = "A root made from packages."},
	{"path", FIELD_PATH, .class = CLASS_CASCADE, AT(rootfs_spec, path),
	 .doc = "squashfs, erofs or ext4 image, or a directory, on this machine."},
	{"sha256", FIELD_SHA256, .class = CLASS_CASCADE, IN(rootfs_spec, sha256),
	 .doc = "Digest the file at path must have."},
	{"init", FIELD_CHOICE, .dflt = "agent", .choices = "agent|systemd", .class = CLASS_CASCADE,
	 .by = BY_PODMAN, .doc = "What runs as PID 1 of the guest."},
	{"size", FIELD_SIZE, .dflt = "4GiB", .min = 64 * MIB, .max = 16 * TIB,
	 .class = CLASS_CASCADE, IN(rootfs_spec, size_bytes),
	 .at = offsetof(struct rootfs_spec, size_at) + 1,
	 .doc = "Size of each VM's writable disk; it is sparse."},
};
GROUP_WITH(group_rootfs, "rootfs", rootfs_fields, "build|path", false);

static const struct field image_fields[] = {
	{"source", FIELD_SOURCE, .flags = FIELD_REQUIRED | FIELD_TEMPLATE, .class = CLASS_CASCADE,
	 AT(image_spec, source),
	 .doc = "oci-archive:FILE, docker-archive:FILE, oci:DIR or dir:DIR, relative to the "
		"spec; also containers-storage: and docker://."},
	{"platform", FIELD_TEXT, .dflt = "linux/amd64", .class = CLASS_CASCADE, .by = BY_PODMAN,
	 .doc = "Platform picked from an image index."},
};
GROUP(group_image, "image", image_fields);

static const struct field secret_fields[] = {
	{"from_env", FIELD_TEXT, .class = CLASS_IN_PLACE, .by = BY_LANGUAGE,
	 .doc = "Environment variable the value is read from."},
	{"from_file", FIELD_PATH, .class = CLASS_IN_PLACE, .by = BY_LANGUAGE,
	 .doc = "File the value is read from."},
	{"allow_in_snapshot", FIELD_BOOL, .dflt = "false", .class = CLASS_IN_PLACE,
	 .by = BY_LANGUAGE, .doc = "A baseline may use it, so that snapshots contain it."},
};
GROUP_WITH(group_secret, "secret", secret_fields, "from_env|from_file", true);

static const struct field volume_fields[] = {
	{"type", FIELD_CHOICE, .flags = FIELD_REQUIRED, .choices = "host|disk",
	 .class = CLASS_CASCADE, IN(volume_spec, type),
	 .doc = "A directory of this machine, or a block device of its own."},
	{"source", FIELD_CLONE_PATH, .flags = FIELD_CLONE_TEMPLATE, .class = CLASS_REPLACE,
	 AT(volume_spec, source),
	 .doc = "host: the directory, relative to the spec; in a baseline {{clone}} is "
		"_baseline-NAME."},
	{"access", FIELD_CHOICE, .dflt = "ro", .choices = "ro|rw", .class = CLASS_REPLACE,
	 AT(volume_spec, access), .doc = "host: whether guests may write."},
	{"create", FIELD_BOOL, .dflt = "false", .class = CLASS_IN_PLACE, IN(volume_spec, create),
	 .doc = "host: make the directory when it is not there."},
	{"share", FIELD_BOOL, .dflt = "false", .class = CLASS_IN_PLACE, IN(volume_spec, share),
	 .doc = "host: several clones may write to it."},
	{"trust", FIELD_CHOICE, .dflt = "squash", .choices = "squash|full", .class = CLASS_REPLACE,
	 AT(volume_spec, trust),
	 .doc = "host: whether the guest's root is the directory's owner or root."},
	{"cache", FIELD_CHOICE, .dflt = "shared", .choices = "strict|shared|private",
	 .class = CLASS_REPLACE, AT(volume_spec, cache), .doc = "host: what the guest may cache."},
	{"size", FIELD_SIZE, .min = 16 * MIB, .max = 16 * TIB, .class = CLASS_CASCADE,
	 IN(volume_spec, size_bytes), .at = offsetof(struct volume_spec, size_at) + 1,
	 .doc = "disk: its size."},
	{"fs", FIELD_CHOICE, .dflt = "ext4", .choices = "ext4", .class = CLASS_CASCADE,
	 AT(volume_spec, fs), .doc = "disk: the file system made on it."},
	{"per", FIELD_CHOICE, .dflt = "clone", .choices = "clone|set", .class = CLASS_CASCADE,
	 AT(volume_spec, per), .doc = "disk: one for each clone, or one for all (read only)."},
};
GROUP(group_volume, "volume", volume_fields);

static const struct field egress_fields[] = {
	{"default", FIELD_CHOICE, .dflt = "allow", .choices = "allow|deny", .class = CLASS_IN_PLACE,
	 AT(network_spec, egress_default), .doc = "What happens to other traffic."},
	{"allow", FIELD_EGRESS, FIELD_LIST, .dflt = "[]", .class = CLASS_IN_PLACE,
	 AT(network_spec, egress_allow),
	 .doc = "Name, address or CIDR, with :PORT and /tcp or /udp when wanted."},
};
static GROUP(group_egress, "egress", egress_fields);

static const struct field network_fields[] = {
	{"mode", FIELD_CHOICE, .dflt = "auto", .choices = "auto|bridged|rootless|none",
	 .class = CLASS_REPLACE, AT(network_spec, mode),
	 .doc = "How VMs reach the world; auto is bridged for root and rootless for others."},
	{"egress", FIELD_MAP, .flags = FIELD_INLINE, .group = &group_egress,
	 .class = CLASS_IN_PLACE, .doc = "What VMs may reach."},
	{"dns", FIELD_ADDRESS, FIELD_LIST, .class = CLASS_IN_PLACE, AT(network_spec, dns),
	 .doc = "Resolvers; the host's by default."},
	{"ipv6", FIELD_BOOL, .dflt = "false", .class = CLASS_REPLACE, .by = BY_LATER,
	 .doc = "Whether VMs have an IPv6 address."},
};
GROUP(group_network, "network", network_fields);

static const struct field outputs_fields[] = {
	{"junit", FIELD_PATH, .class = CLASS_IN_PLACE, .by = BY_JOBS,
	 .doc = "JUnit report of all jobs."},
	{"events", FIELD_PATH, .class = CLASS_IN_PLACE, .by = BY_JOBS,
	 .doc = "Events, one JSON object a line."},
	{"summary", FIELD_PATH, .class = CLASS_IN_PLACE, .by = BY_JOBS,
	 .doc = "Summary in Markdown."},
};
GROUP(group_outputs, "outputs", outputs_fields);

static const struct field top_fields[] = {
	{"apiVersion", FIELD_CHOICE, .flags = FIELD_REQUIRED, .choices = "fcvm/v1",
	 .doc = "Version of this language."},
	{"kind", FIELD_CHOICE, .dflt = "Fleet", .choices = "Fleet", .doc = "What this file is."},
	{"name", FIELD_NAME, .flags = FIELD_REQUIRED | FIELD_EARLY, AT(fleet, name),
	 .doc = "Name of the fleet set: scope of its lock, state and names."},
	{"vars", FIELD_VAR, FIELD_EACH, KEY_VAR, .flags = FIELD_EARLY, .entry = "*",
	 .group = &group_var, .class = CLASS_IN_PLACE,
	 .doc = "Values for templates: {{vars.NAME}}; text, whole number or boolean."},
	{"labels", FIELD_TEXT, FIELD_EACH, KEY_TEXT, .entry = "*", .class = CLASS_IN_PLACE,
	 IN(fleet, labels), .doc = "Free text kept with the set."},
	{"policy", FIELD_MAP, .flags = FIELD_INLINE, .group = &group_policy,
	 .class = CLASS_IN_PLACE, .doc = "What is checked before anything is started."},
	{"defaults", FIELD_MAP, .flags = FIELD_EARLY | FIELD_INLINE, .group = &group_defaults,
	 .class = CLASS_CASCADE, .doc = "What entries say that do not say it themselves."},
	{"kernels", FIELD_MAP, FIELD_EACH, .entry = "K", .group = &group_kernel,
	 .class = CLASS_CASCADE, ENTRIES(kernels, kernel_spec),
	 .doc = "Guest kernels; 'default' is built in."},
	{"rootfs", FIELD_MAP, FIELD_EACH, .entry = "R", .group = &group_rootfs,
	 .class = CLASS_CASCADE, ENTRIES(rootfs, rootfs_spec),
	 .doc = "Guest root file systems; 'debian' is built in."},
	{"images", FIELD_MAP, FIELD_EACH, .entry = "I", .group = &group_image,
	 .class = CLASS_CASCADE, ENTRIES(images, image_spec), .doc = "Container images by name."},
	{"secrets", FIELD_MAP, FIELD_EACH, .entry = "S", .group = &group_secret,
	 .class = CLASS_IN_PLACE, .doc = "Values that no record, plan or log ever shows."},
	{"volumes", FIELD_MAP, FIELD_EACH, .entry = "V", .group = &group_volume,
	 .class = CLASS_CASCADE, ENTRIES(volumes, volume_spec),
	 .doc = "Directories and disks for VMs."},
	{"networks", FIELD_MAP, FIELD_EACH, .entry = "N", .group = &group_network,
	 .class = CLASS_REPLACE, ENTRIES(networks, network_spec),
	 .doc = "Networks beyond auto, bridged, rootless and none."},
	{"baselines", FIELD_MAP, FIELD_EACH, .entry = "B", .group = &group_baseline,
	 .class = CLASS_CASCADE, ENTRIES(baselines, baseline_spec),
	 .doc = "VMs that are booted once and snapshotted."},
	{"snapshots", FIELD_MAP, FIELD_EACH, .entry = "S", .group = &group_snapshot,
	 .class = CLASS_CASCADE, ENTRIES(snapshots, snapshot_spec),
	 .doc = "Baselines frozen at a moment; BASELINE@healthy is built in."},
	{"fleets", FIELD_MAP, FIELD_EACH, .entry = "F", .group = &group_fleet,
	 .class = CLASS_REPLACE, ENTRIES(fleets, fleet_spec), .doc = "Clones of a snapshot."},
	{"jobs", FIELD_MAP, FIELD_EACH, .entry = "J", .group = &group_job, .class = CLASS_IN_PLACE,
	 .doc = "Work done on clones by fcvm run."},
	{"outputs", FIELD_MAP, .group = &group_outputs, .class = CLASS_IN_PLACE,
	 .doc = "Reports that fcvm run writes."},
	{"on_finish", FIELD_CHOICE, .choices = "destroy|keep|keep_on_failure",
	 .class = CLASS_IN_PLACE, .by = BY_JOBS, .doc = "What fcvm run does at the end."},
};
GROUP(fields_top, "fleetSet", top_fields);
