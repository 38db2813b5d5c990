/* volset.h - the host volumes of a VM: their servers, the streams the guest asks for, what of them
 * is part of a snapshot. Volumes of type disk are drives, not ours. */
#ifndef FCVM_SUPERVISE_VOLSET_H
#define FCVM_SUPERVISE_VOLSET_H

#include "host.h"
#include "loop.h"
#include "vchan.h"
#include "volume.h"

struct volset;

struct volset_spec {
	const struct host *host;
	const char *dir; /* the instance's */
	const char *tag;
	const struct volume_list *list; /* borrowed until volset_stop() */
	const char *snapshot_dir;       /* NULL: a boot */
};

/* Starts their servers; blocks until they serve. A restore takes up the state in the snapshot: what
 * the guest has open of the same directory stays open; of another one only the mount itself does.
 */
int volset_start(struct loop *loop, const struct volset_spec *spec, struct volset **ret,
		 struct err *err);
void volset_stop(struct volset *v); /* NULL is fine */
/* The guest wants stream number `stream` for the volume at that target: opened through the channel
 * and given to its server. Whatever is wrong with it, the guest asks again. */
void volset_want(struct volset *v, struct vchan *chan, const char *target, uint64_t stream);
/* The guest's channel rests. Lets the servers finish, and writes VOLSTATE_FILE (0400) into dir, and
 * a VOLSTATE_SAVED for each volume that needs one; nothing when there are no host volumes. */
int volset_save(struct volset *v, const char *dir, struct err *err);

#endif
