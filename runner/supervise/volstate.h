/* volstate.h - <snapshot>/volumes-state: for each host volume of the VM, which directory it was and
 * the state its server had when the guest stood still. The keys in it are what keeps a guest from
 * forging records, so only the supervisor's user reads it: not the group the clones' VMMs have. */
#ifndef FCVM_SUPERVISE_VOLSTATE_H
#define FCVM_SUPERVISE_VOLSTATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"
#include "err.h"

#define VOLSTATE_FILE "volumes-state"
#define VOLSTATE_MAX (8u << 20)            /* the whole file */
#define VOLSTATE_SAVED "volume-%llu.saved" /* what the guest had locked and open (fp_saved.h) */

/* Which directory it is, beyond renames: the same inode number later is another birth. */
struct volstate_source {
	uint64_t dev, ino, born_ns;
};
int volstate_look(const char *dir, struct volstate_source *ret, struct err *err);

/* Appends one volume; state_fd is read from its start. saved: which VOLSTATE_SAVED beside the file
 * is its, 0: none. */
int volstate_put(struct buf *out, const char *target, const struct volstate_source *source,
		 int state_fd, uint64_t saved, struct err *err);
struct volstate_found {
	bool same; /* source is the directory it belongs to */
	uint64_t saved;
};
/* Looks for a target's state and writes it to state_fd. 1: it was there; 0: it was not; or a
 * malformed file. */
int volstate_take(const struct buf *file, const char *target, const struct volstate_source *source,
		  int state_fd, struct volstate_found *ret, struct err *err);

#endif
