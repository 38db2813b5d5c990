/* host.h - this machine as one value: where data lives, who we are, what time it is.
 *
 * Made once in main (or by a test with its own directory and clock) and passed down; nothing
 * below reads the environment or the clock by itself. */
#ifndef FCVM_HOST_HOST_H
#define FCVM_HOST_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

struct host {
	char *data_dir; /* absolute */
	/* Of the host, not of a data directory: where uids and gids are counted, and the lock of
	 * the host's table of networks. For root the system's, always. */
	char *ids_dir;
	char *exe; /* absolute path of the running fcvm, for `internal` children */
	/* Of the system: its asset cache, which root fills and everybody may read. NULL for root,
	 * whose own it is. */
	char *shared_cache;
	uid_t uid;
	gid_t gid;
	bool is_root;
	char boot_id[37];
	const char *(*getenv)(const char *name); /* NULL value = not set */
	int64_t (*unix_ms)(void);                /* CLOCK_REALTIME */
};

/* data_dir NULL: FCVM_DATA_DIR, else /var/lib/fcvm for root, else $XDG_DATA_HOME/fcvm. Creates
 * nothing. */
int host_init(struct host *host, const char *data_dir, struct err *err);
void host_free(struct host *host);

/* The layout of the data directory; each returns a malloc'ed absolute path. docs/state.md. */
char *host_path(const struct host *host, const char *rel);       /* <data>/rel */
char *host_set_dir(const struct host *host, const char *set);    /* <data>/sets/SET, 0711 */
char *host_cache_dir(const struct host *host, const char *kind); /* <data>/cache/KIND, 0755 */
/* Creates <data> (0711), sets (0711), cache (0755), ledger (0700). Safe to repeat. */
int host_make_dirs(const struct host *host, struct err *err);
/* Creates ids_dir (0700) and the directory it lies in (0711). Safe to repeat. */
int host_make_ids_dir(const struct host *host, struct err *err);

#endif
