/* fake_fc_shapes.h - the bodies of Firecracker's requests, field by field with the version that
 * brought them. Included by fake_firecracker.c only. */
#ifndef FCVM_TESTS_FAKE_FC_SHAPES_H
#define FCVM_TESTS_FAKE_FC_SHAPES_H

#include "fake_serde.h"

/* clang-format off */
#define MAY(n, k) {.name = (n), .kind = (k)}
#define MUST(n, k) {.name = (n), .kind = (k), .required = true}
#define SINCE(minor, n, k) {.name = (n), .kind = (k), .since = (minor)}
#define MAY_BE(n, ...) \
	{.name = (n), .kind = K_VARIANT, .variants = (const char *const[]){__VA_ARGS__, NULL}}
#define MUST_BE(n, ...) \
	{.name = (n), .kind = K_VARIANT, .required = true, \
	 .variants = (const char *const[]){__VA_ARGS__, NULL}}
#define END {.name = NULL}
#define SHAPE(name) static const struct member name##_members[] =
#define CLOSED(name) static const struct shape name = {.members = name##_members}
#define OPEN(name) static const struct shape name = {.members = name##_members, .open = true}

SHAPE(shape_machine) {
	MUST("vcpu_count", K_U8), MUST("mem_size_mib", K_U64), MAY("smt", K_BOOL),
	MAY("cpu_template", K_TEXT), MAY("track_dirty_pages", K_BOOL),
	MAY_BE("huge_pages", "None", "2M"), END};
CLOSED(shape_machine);
SHAPE(shape_boot) {
	MUST("kernel_image_path", K_TEXT), MAY("initrd_path", K_TEXT), MAY("boot_args", K_TEXT), END};
CLOSED(shape_boot);
SHAPE(shape_drive) {
	MUST("drive_id", K_TEXT), MAY("partuuid", K_TEXT), MUST("is_root_device", K_BOOL),
	MAY_BE("cache_type", "Unsafe", "Writeback"), MAY("is_read_only", K_BOOL),
	MAY("path_on_host", K_TEXT), MAY("rate_limiter", K_ANY),
	MAY_BE("io_engine", "Sync", "Async"), MAY("socket", K_TEXT), END};
CLOSED(shape_drive);
SHAPE(shape_nic) {
	MUST("iface_id", K_TEXT), MUST("host_dev_name", K_TEXT), MAY("guest_mac", K_MAC),
	SINCE(16, "mtu", K_U32), MAY("rx_rate_limiter", K_ANY), MAY("tx_rate_limiter", K_ANY), END};
CLOSED(shape_nic);
SHAPE(shape_vsock) {
	MAY("vsock_id", K_TEXT), MUST("guest_cid", K_U32), MUST("uds_path", K_TEXT), END};
CLOSED(shape_vsock);
SHAPE(shape_mmds_config) {
	MAY_BE("version", "V1", "V2"), MUST("network_interfaces", K_LIST),
	MAY("ipv4_address", K_TEXT), SINCE(13, "imds_compat", K_BOOL), END};
CLOSED(shape_mmds_config);
SHAPE(shape_entropy) {MAY("rate_limiter", K_ANY), END};
CLOSED(shape_entropy);
SHAPE(shape_action) {
	MUST_BE("action_type", "FlushMetrics", "InstanceStart", "SendCtrlAltDel"), END};
CLOSED(shape_action);
SHAPE(shape_vm) {MUST_BE("state", "Paused", "Resumed"), END};
CLOSED(shape_vm);
SHAPE(shape_create) {
	MAY_BE("snapshot_type", "Diff", "Full"), MUST("snapshot_path", K_PATH),
	MUST("mem_file_path", K_PATH), END};
CLOSED(shape_create);
SHAPE(shape_backend) {
	MUST("backend_path", K_PATH), MUST_BE("backend_type", "File", "Uffd"), END};
CLOSED(shape_backend);
SHAPE(shape_vsock_override) {MUST("uds_path", K_TEXT), END};
OPEN(shape_vsock_override);
SHAPE(shape_nic_override) {MUST("iface_id", K_TEXT), MUST("host_dev_name", K_TEXT), END};
OPEN(shape_nic_override);
SHAPE(shape_load) {
	MUST("snapshot_path", K_PATH), MAY("mem_file_path", K_PATH),
	{.name = "mem_backend", .kind = K_OBJECT, .of = &shape_backend},
	MAY("enable_diff_snapshots", K_BOOL), SINCE(13, "track_dirty_pages", K_BOOL),
	MAY("resume_vm", K_BOOL),
	{.name = "network_overrides", .kind = K_LIST, .since = 12, .of = &shape_nic_override},
	{.name = "vsock_override", .kind = K_OBJECT, .since = 16, .of = &shape_vsock_override},
	SINCE(16, "clock_realtime", K_BOOL), END};
CLOSED(shape_load);
SHAPE(shape_any) {END};
OPEN(shape_any);
/* clang-format on */

#endif
