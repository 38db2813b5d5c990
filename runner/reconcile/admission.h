/* admission.h - does what the plan would start fit on this machine? Checked before anything is. */
#ifndef FCVM_RECONCILE_ADMISSION_H
#define FCVM_RECONCILE_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "fleet.h"
#include "graph.h"
#include "hugepages.h"
#include "plan.h"

/* What a VM costs beyond its memory: VMM, supervisor, page tables. */
#define ADMISSION_OVERHEAD (64u << 20)

struct admission {
	uint64_t memory_bytes; /* worst case of what would be started and of what runs already */
	uint64_t disk_bytes;   /* memory files and snapshots to be written */
	size_t vms;            /* to be started */
	uint64_t huge_pages;   /* of 2 MiB: what the VMs that have them may take of the pool */
};

/* used(pid of a VMM, huge) is what it has of the host's memory by now, in huge pages or not. Pure.
 */
struct admission admission_need(const struct graph *g, const struct seen *seen,
				const struct plan *plan, uint64_t (*used)(uint64_t pid, bool huge));
struct admission_host {
	uint64_t memory_available, disk_free;
	struct hugepages pool;
};
int admission_measure(const char *data_dir, struct admission_host *ret, struct err *err);
/* ERR_HOST that says by how much it does not fit. */
int admission_check(const struct admission *need, const struct admission_host *have,
		    const struct policy_spec *policy, struct err *err);
/* In bytes, from /proc; 0 when that tells nothing. Pages of files do not count: the kernel calls
 * them available, and clones share them until they write. */
uint64_t admission_used(uint64_t pid, bool huge);

#endif
