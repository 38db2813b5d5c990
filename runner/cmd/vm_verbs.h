/* vm_verbs.h - what stop and rm do to one VM, under its set's lock. */
#ifndef FCVM_CMD_VM_VERBS_H
#define FCVM_CMD_VM_VERBS_H

#include <stdint.h>

#include "err.h"
#include "host.h"
#include "inventory.h"

/* Ends it and writes down that a hand did; its directory, logs and record stay. Stopped already is
 * success. */
int vm_stop(const struct host *host, const struct inventory_item *it, uint64_t grace_ms,
	    struct err *err);
/* Ends it and removes all there is of it, as it is once the set's lock is ours: gone already is
 * success, and so is another of that name when `run` says who made the one that is meant. */
int vm_remove(const struct host *host, const struct inventory_item *it, const char *run,
	      struct err *err);

#endif
