/* imperative.h - VMs and snapshots made by hand, in set "default", by the same verbs the loop
 * uses. */
#ifndef FCVM_CMD_IMPERATIVE_H
#define FCVM_CMD_IMPERATIVE_H

#include <stdbool.h>

#include "err.h"
#include "fleet.h"
#include "host.h"
#include "inventory.h"
#include "session.h"

/* A VM that was made: its instance directory and the run that made it, which tells it from a later
 * one of that name. */
struct imperative_vm {
	char *dir;
	char run[9];
};
void imperative_vm_free(struct imperative_vm *vm);
#define auto_imperative_vm __attribute__((cleanup(imperative_vm_free)))

/* The fleet's one baseline becomes a running VM that is our child (it dies with us). *ret is the
 * caller's. On failure nothing is left. */
int imperative_boot(const struct host *host, const struct fleet *fleet,
		    const struct reconcile_options *options, struct imperative_vm *ret,
		    struct err *err);

/* A clone of a snapshot, our child likewise. server NULL: memory from the file. */
struct imperative_clone {
	const char *name;
	const struct inventory_item *snapshot, *server;
	const char *network;      /* a built-in one */
	const struct strv *ports; /* as a spec writes them */
};
int imperative_clone(const struct host *host, const struct imperative_clone *what,
		     const struct reconcile_options *options, struct imperative_vm *ret,
		     struct err *err);

/* Snapshot of a running VM, into its set, under the name tag; the VM goes on. */
int imperative_snapshot(const struct host *host, const struct inventory_item *vm, const char *tag,
			const struct reconcile_options *options, struct err *err);
/* Takes away what has that name, unless another run than `run` (NULL: any) made it. */
int imperative_remove(const struct host *host, enum resource_kind kind, const char *name,
		      const char *run, struct err *err);

#endif
