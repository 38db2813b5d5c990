/* fc_jailer.h - Firecracker behind its own jailer: its root is vm_dir, so every relative name is
 * what it is without, and what has an absolute name is bound there under that name. A snapshot
 * cannot tell which of the two it was taken in. */
#ifndef FCVM_ENGINE_FC_JAILER_H
#define FCVM_ENGINE_FC_JAILER_H

#include "engine.h"
#include "strv.h"

/* In a jail there is no /proc: it opens these, made by us. */
#define FC_JAILER_LOG "log.pipe"
#define FC_JAILER_METRICS "metrics.pipe"

struct fc_jailer {
	char *binary;              /* the jailer's */
	char *vm_dir;              /* absolute */
	char *base;                /* vm_dir/jail, the jailer's --chroot-base-dir */
	char *root;                /* below base: where it looks for its root directory */
	struct strv sources, dots; /* what is bound where */
	struct strv made;          /* names in vm_dir that are the jail's */
	unsigned int files;        /* descriptors the VMM may have */
	char *cgroup;              /* of the VM, or NULL where there is no cgroup v2 */
	int procs;                 /* what takes the VMM into it, or -1 */
};

/* FCVM_JAILER, else beside the firecracker binary, else PATH; *ret is malloc'ed. -ENOENT when there
 * is none. */
int fc_jailer_find(const struct host *host, const char *firecracker, char **ret, struct err *err);

/* Whether this one can jail a Firecracker of that version on this host: ERR_HOST with the reason.
 */
int fc_jailer_check(const struct host *host, const char *jailer, const char *version,
		    struct err *err);

/* Makes what stands in vm_dir before the start; leftovers of another one are removed. from NULL: a
 * boot. No VMM may run in vm_dir. */
int fc_jailer_make(const struct vm *vm, const struct vm_config *config,
		   const struct vm_restore *from, const char *firecracker, struct fc_jailer *ret,
		   struct err *err);
/* The jailer's arguments, up to those of Firecracker itself. */
void fc_jailer_add_args(const struct fc_jailer *j, const struct vm *vm, const char *firecracker,
			struct strv *argv);
/* For proc_spec.prepare; data is a struct fc_jailer. Mounts in a namespace of the child's own, so
 * that no mount outlives it. Allocates nothing. */
int fc_jailer_enter(void *data);
/* Takes away what the jail left in vm_dir, and frees. The VMM has ended. */
void fc_jailer_remove(struct fc_jailer *j);

#endif
