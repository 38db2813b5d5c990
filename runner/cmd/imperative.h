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

/* The fleet's one baseline becomes a running VM that is our child (it dies with us). *ret_dir is
 * the caller's. On failure nothing is left. */
int imperative_boot(const struct host *host, const struct fleet *fleet,
		    const struct reconcile_options *options, char **ret_dir, struct err *err);

/* A clone of a snapshot, our child likewise. server NULL: memory from the file. */
struct imperative_clone {
	const char *name;
	const struct inventory_item *snapshot, *server;
	const char *network;      /* a built-in one */
	const struct strv *ports; /* as a spec writes them */
};
int imperative_clone(const struct host *host, const struct imperative_clone *what,
		     const struct reconcile_options *options, char **ret_dir, struct err *err);

/* Snapshot of a running VM, into its set, under the name tag; the VM goes on. */
int imperative_snapshot(const struct host *host, const struct inventory_item *vm, const char *tag,
			const struct reconcile_options *options, struct err *err);
/* Takes away what the boot or clone of that name made. */
int imperative_remove(const struct host *host, enum resource_kind kind, const char *name,
		      struct err *err);

#endif
