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
/* Ends it and removes all there is of it. */
int vm_remove(const struct host *host, const struct inventory_item *it, struct err *err);

#endif
