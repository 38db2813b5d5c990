/* vm.h - all an engine needs to know of a VM; no spec types. Paths of disks and memory are
 * constant relative names in the VMM's working directory (<instance>/vm), so a snapshot bakes in
 * nothing that differs between clones. */
#ifndef FCVM_ENGINE_VM_H
#define FCVM_ENGINE_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"
#include "json.h"

#define VM_DISKS_MAX 16
#define VM_DATA_DISK "data.img" /* the VM's own writable disk, serial "data" */
#define VM_VOLUME_PREFIX "vol-" /* of a volume's disk: its serial, and its file with .img */
#define VM_MEMORY "memory"      /* guest RAM file of a booted VM */
#define VM_TAP "tap0"           /* in the VM's network namespace */
#define VM_HUGE_PAGE (UINT64_C(2) << 20)
#define VM_GUEST_MAC "02:fc:00:00:00:64"

enum vm_accel { VM_ACCEL_KVM, VM_ACCEL_TCG };

struct vm_disk {
	char *path; /* read-only disks: absolute host path; writable: VM_DATA_DISK, SERIAL.img */
	char serial[20];
	bool read_only;
	uint64_t bytes; /* of the blank disk a boot makes for a volume; 0: see data_bytes */
};

struct vm_config {
	char *kernel; /* uncompressed ELF with a PVH note */
	char *initrd;
	char *cmdline_extra; /* kernels.X.args joined; "" for none */
	char *root_fstype;   /* of the disk with serial "root": squashfs | erofs | ext4 */
	uint32_t cpus;
	uint64_t memory_bytes;
	struct vm_disk disks[VM_DISKS_MAX];
	size_t n_disks;
	uint64_t data_bytes; /* size of the blank data disk a boot makes; 0 = 4 GiB */
	bool has_net;        /* one virtio-net on tap0 */
	bool shared_dev;     /* sandbox none: the VMM keeps the host's mounts and /dev */
	bool huge_pages;     /* memory in pages of VM_HUGE_PAGE, from the host's pool */
	bool jailer;         /* sandbox jailer: the engine's own jailer makes its jail */
	enum vm_accel accel;
};

void vm_config_free(struct vm_config *c);
#define auto_vm_config __attribute__((cleanup(vm_config_free)))
struct json_object *vm_config_to_json(const struct vm_config *c);
int vm_config_from_json(struct json_object *o, struct vm_config *ret, struct err *err);

#endif
