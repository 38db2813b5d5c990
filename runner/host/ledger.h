/* ledger.h - numbers handed out once: uids of VMMs, gids of snapshots (decisions: from 1879048192
 * up). One file a kind under <data>/ledger, under flock; an entry names its owner path and is
 * reclaimed when that path is gone. */
#ifndef FCVM_HOST_LEDGER_H
#define FCVM_HOST_LEDGER_H

#include <stdint.h>

#include "err.h"
#include "host.h"

#define LEDGER_UID_FIRST 1879048192u
#define LEDGER_UID_COUNT 1000000u

/* kind "uid" or "gid"; owner = the absolute directory that holds it. The same owner asking again
 * gets the same number. */
int ledger_take(const struct host *host, const char *kind, const char *owner, uint32_t *ret,
		struct err *err);
/* Gone already is success. */
int ledger_release(const struct host *host, const char *kind, const char *owner, struct err *err);

#endif
