/* vmm.h - what is the same for every engine's VMM process: how it ends, and what stands around a
 * snapshot's state file. */
#ifndef FCVM_ENGINE_VMM_H
#define FCVM_ENGINE_VMM_H

#include "engine.h"

/* How far a VM is, for who wants a snapshot of it. */
enum vmm_stage {
	VMM_GONE,
	VMM_BOOTED,
	VMM_RESTORED, /* from a snapshot itself */
	VMM_SAVED,    /* for good: it stays paused */
};

/* Writes the state into fd, and does the rest of engine_ops.snapshot. */
typedef int vmm_save_fn(struct vm *vm, const struct vm_snapshot *to, int fd, uint64_t deadline_ms,
			struct err *err);

/* engine_ops.snapshot: refuses what has no snapshot, makes to->state_path (ours, 0600, new) for
 * save(), and takes it away again when that fails. err may be NULL; save() gets one always. */
int vmm_snapshot(struct vm *vm, enum vmm_stage stage, const struct vm_snapshot *to,
		 vmm_save_fn *save, uint64_t deadline_ms, struct err *err);

/* Waits for vm->pidfd until the grace is over, then kills; fills vm->exit_status. Blocks for the
 * grace and 30 s at most. */
int vmm_reap(struct vm *vm, uint64_t grace_ms, struct err *err);

#endif
