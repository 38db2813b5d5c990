/* qemu_args.h - struct vm_config to QEMU's command line; pure. */
#ifndef FCVM_ENGINE_QEMU_ARGS_H
#define FCVM_ENGINE_QEMU_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "strv.h"
#include "vm.h"

#define QEMU_MACHINE "microvm,pit=on,pic=on,rtc=on,isa-serial=on,acpi=on,memory-backend=mem"
/* The agent finds its port by this name under /sys/class/virtio-ports. */
#define QEMU_CHANNEL_NAME "fcvm.agent"

struct qemu_args {
	const char *binary;
	const struct vm_config *config;
	const char *memory_path; /* VM_MEMORY, or the snapshot's absolute path */
	bool incoming;           /* restore: no kernel, private memory, wait for the state */
	int qmp_fd, channel_fd;  /* numbers in the VMM */
	int tap_fd;              /* used when config->has_net */
	uint64_t tsc_khz;        /* TCG boots only */
};

void qemu_args_build(const struct qemu_args *a, struct strv *ret);
/* "Nehalem,..." or "host". */
const char *qemu_args_cpu(enum vm_accel accel);

#endif
