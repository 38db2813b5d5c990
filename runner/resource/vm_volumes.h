/* vm_volumes.h - the volumes of a baseline or clone: what the spec says, as fields, drives and
 * mounts. */
#ifndef FCVM_RESOURCE_VM_VOLUMES_H
#define FCVM_RESOURCE_VM_VOLUMES_H

#include "client.h"
#include "resource.h"
#include "vm.h"

/* Mounts and disks are part of a baseline; where a host volume lies and how it is served is each
 * VM's own. */
void vm_volumes_describe(const struct resource_ctx *ctx, const struct node *node,
			 struct field_list *ret);
/* All mounts of a node, parents before what lies in them; volume_list_free(). */
int vm_volumes_list(const struct resource_ctx *ctx, const struct node *node,
		    struct volume_list *ret, struct err *err);
/* Drives for the baseline's disks. */
void vm_volumes_add_disks(const struct resource_ctx *ctx, const struct baseline_spec *b,
			  struct vm_config *config);
/* What must be there before the VM starts: directories with create: true, disks of the whole set.
 * Safe to repeat. */
int vm_volumes_make(const struct resource_ctx *ctx, const struct node *node, struct err *err);
/* Serial of a volume's drive. */
void vm_volumes_serial(const char *name, char ret[20]);

#endif
