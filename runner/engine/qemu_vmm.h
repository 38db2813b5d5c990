/* qemu_vmm.h - one QEMU process: started in its jail, watched, explained and ended. */
#ifndef FCVM_ENGINE_QEMU_VMM_H
#define FCVM_ENGINE_QEMU_VMM_H

#include <stdbool.h>

#include "engine.h"
#include "qmp.h"
#include "words.h"

struct qemu_vmm {
	struct qmp *qmp;
	struct words words;
	struct loop *loop;
	struct loop_source on_qmp;
	bool watched;
	bool restored;
	bool paused; /* for good: saved and not resumed */
};

/* Forks, jails and execs QEMU and fills vm's lower half. from NULL: a boot. ready_fd: the write
 * end for the preload shim, -1 on boots. The monitor has not been greeted yet. */
struct qemu_launch {
	const struct vm_config *config;
	const struct vm_restore *from;
	int ready_fd;
};
int qemu_vmm_launch(struct vm *vm, const struct qemu_launch *launch, struct err *err);
/* Hands monitor and stderr to vm->loop, which drains them. */
int qemu_vmm_watch(struct vm *vm, struct err *err);
/* Adds to err how QEMU ended, if it did, and what it said last. Returns err->code. */
int qemu_vmm_explain(struct vm *vm, struct err *err);
/* Kills after grace_ms, reaps, frees, and empties vm's lower half. */
int qemu_vmm_end(struct vm *vm, uint64_t grace_ms, struct err *err);

#endif
