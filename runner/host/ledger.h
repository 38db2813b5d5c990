/* ledger.h - numbers handed out once: uids of VMMs, gids of snapshots (decisions: from 1879048192
 * up), slots and loopback addresses of networks. One file a kind, under flock; an entry names its
 * owner path and is reclaimed when that path is gone. slot and loopback lie in <data>/ledger, uid
 * and gid in host->ids_dir. */
#ifndef FCVM_HOST_LEDGER_H
#define FCVM_HOST_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "host.h"

#define LEDGER_UID_FIRST 1879048192u
#define LEDGER_UID_COUNT 1000000u

#define LEDGER_SLOT_COUNT 16384u       /* /30s of a /16 */
#define LEDGER_LOOPBACK_COUNT 4194304u /* 127.64.0.0 to 127.127.255.255 */

/* kind "uid", "gid", "slot" or "loopback"; owner = the absolute directory that holds it. The same
 * owner asking again gets the same number. What "slot" and "loopback" name ends with the boot, and
 * so do their entries. */
int ledger_take(const struct host *host, const char *kind, const char *owner, uint32_t *ret,
		struct err *err);
/* The same, passing over numbers that do not fit: something else on this host has them. An owner
 * whose number does not fit any more gets another. */
int ledger_take_if(const struct host *host, const char *kind, const char *owner,
		   bool (*fits)(void *data, uint32_t number), void *data, uint32_t *ret,
		   struct err *err);
/* 1: the owner has one, 0: none. */
int ledger_find(const struct host *host, const char *kind, const char *owner, uint32_t *ret,
		struct err *err);
/* Calls fn for every entry, without holding the lock. */
int ledger_each(const struct host *host, const char *kind,
		void (*fn)(void *data, uint32_t number, const char *owner), void *data,
		struct err *err);
/* Gone already is success. */
int ledger_release(const struct host *host, const char *kind, const char *owner, struct err *err);

#endif
