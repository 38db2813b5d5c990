/* vm_yield.h - a VM lets go of what another is about to take over. */
#ifndef FCVM_RESOURCE_VM_YIELD_H
#define FCVM_RESOURCE_VM_YIELD_H

#include "resource.h"

/* As resource_ops has it. Who stays keeps the ports it has and is to have; who does not is stopped.
 * A death in between loses nothing: what a VM publishes is observed (vm_net_observe()). */
int vm_yield(const struct resource_ctx *ctx, const struct node *node, const struct seen *seen,
	     bool stays, struct err *err);

#endif
