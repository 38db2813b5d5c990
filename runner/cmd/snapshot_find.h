/* snapshot_find.h - snapshots and their servers by name or pid; a server in the foreground. */
#ifndef FCVM_CMD_SNAPSHOT_FIND_H
#define FCVM_CMD_SNAPSHOT_FIND_H

#include "err.h"
#include "host.h"
#include "inventory.h"
#include "proc.h"

/* What the look-ups below need loaded. */
#define SNAPSHOT_FIND_KINDS (INVENTORY_VMS | 1u << RESOURCE_SNAPSHOT | 1u << RESOURCE_MEMSERVER)

/* "NAME" or "SET.NAME", exactly; only snapshots that are whole. */
int snapshot_find(const struct inventory *all, const char *word, const struct inventory_item **ret,
		  struct err *err);
/* The memory server with that pid, and the snapshot it serves. */
int snapshot_find_served(const struct inventory *all, uint64_t pid,
			 const struct inventory_item **ret_server,
			 const struct inventory_item **ret_snapshot, struct err *err);
/* -EBUSY naming a VM that stands on it. */
int snapshot_refuse_used(const struct inventory *all, const struct inventory_item *snapshot,
			 struct err *err);
/* The container in a clone's directory; caller frees, "" for none. */
char *snapshot_container(const struct host *host, const char *dir);

/* A memory server as our child, recorded in set "default" under *ret_name (caller frees). */
int snapshot_serve_start(const struct host *host, const struct inventory_item *snapshot,
			 char **ret_name, struct proc_id *ret_id, struct err *err);
/* Until it ends or a (blocked) SIGINT or SIGTERM comes; ERR_FAILED when it ended by itself. */
int snapshot_serve_wait(const struct host *host, const struct proc_id *id, struct err *err);

#endif
