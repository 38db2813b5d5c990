/* fc_vmm.h - one Firecracker process: started in its jail and namespace, explained and ended. */
#ifndef FCVM_ENGINE_FC_VMM_H
#define FCVM_ENGINE_FC_VMM_H

#include <stdbool.h>

#include "engine.h"
#include "fc_api.h"
#include "fc_find.h"
#include "fc_jailer.h"
#include "fc_metrics.h"
#include "words.h"

struct fc_vmm {
	struct fc_api *api;
	struct words words;
	struct fc_metrics metrics;
	struct fc_version version;
	struct fc_jailer jailer; /* vm_dir NULL: none */
	int pid_ns;              /* pidfd of its first process; -1: none */
	bool restored;
	bool paused; /* for good: saved and not resumed */
};

/* Forks, jails and execs it and fills vm's lower half; returns when its API answers. from NULL: a
 * boot. */
int fc_vmm_launch(struct vm *vm, const struct vm_config *config, const struct vm_restore *from,
		  uint64_t deadline_ms, struct err *err);
/* Adds to err how it ended, if it did, and what it said last. Returns err->code. */
int fc_vmm_explain(struct vm *vm, struct err *err);
/* Kills after grace_ms, reaps, frees, removes its sockets and empties vm's lower half. */
int fc_vmm_end(struct vm *vm, uint64_t grace_ms, struct err *err);

/* "2026-11-26T14:09:47.243866895 [id:thread:ERROR] text": the bytes before "text", 0 for any
 * other line; pure. */
size_t fc_vmm_log_prefix(const char *line, size_t len);

#endif
