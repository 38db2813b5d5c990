/* fp_locks.h - the guest's record locks and flocks as locks on the host, so that everybody who uses
 * the directory sees them: one descriptor per (inode, owner, kind), record locks as open file
 * description locks. Who must wait is on a list and holds no thread: the list is tried again at
 * every unlock here, and every few milliseconds while someone outside this server has the lock,
 * for whose unlock the kernel wakes nobody. Thread-safe. Deadlocks between owners are not found. */
#ifndef FCVM_FUSE_PIPE_FP_LOCKS_H
#define FCVM_FUSE_PIPE_FP_LOCKS_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "fp_inode.h"

#define FP_LOCKS_MAX 4096 /* descriptors */
#define FP_WAITS_MAX 4096
#define FP_RANGES_MAX 65536 /* parts of files that are locked, of all owners; -ENOLCK beyond */

struct fp_locks;

struct fp_lock_want {
	uint64_t owner;
	bool flock;
	short type;         /* F_RDLCK, F_WRLCK, F_UNLCK */
	int64_t start, len; /* as in struct flock; record locks only */
	uint32_t pid;       /* the owner's, for fp_lock_get() of others */
	uint64_t file;      /* the open file it is asked through */
};

/* Who waits: group is compared only (the stream, whose end ends the wait). */
struct fp_lock_waiter {
	uint64_t unique;
	void *ticket;
	const void *group;
};

/* done is called once per wait that ends, from a thread of the locks' own, without a lock held:
 * result 0 (it has the lock now) or a negative errno. proc_fd is borrowed. */
typedef void (*fp_lock_done)(void *ticket, int result);
int fp_locks_new(struct fp_inodes *inodes, int proc_fd, fp_lock_done done, struct fp_locks **ret,
		 struct err *err);
/* Every wait ends with -EINTR first; then every lock is given up. */
void fp_locks_free(struct fp_locks *l);

/* -EAGAIN when somebody else has it. Never blocks on a lock. in is referenced by the caller. */
int fp_lock_set(struct fp_locks *l, struct fp_inode *in, const struct fp_lock_want *want);
/* What stands in the way; type F_UNLCK when nothing does. */
int fp_lock_get(struct fp_locks *l, struct fp_inode *in, struct fp_lock_want *want);
/* Everything of this owner and kind. */
void fp_lock_drop(struct fp_locks *l, struct fp_inode *in, uint64_t owner, bool flock);
/* Every lock asked through this open file, which is closed now: the owner of one that belongs to
 * the open file itself (F_OFD_SETLK) is named by no message of its end. Those of processes went
 * with their FLUSH. */
void fp_lock_drop_file(struct fp_locks *l, struct fp_inode *in, uint64_t file);
/* 0: has it. 1: waits, and done(ticket, ...) will follow. Else a negative errno, as -EINTR when the
 * interrupt came first. */
int fp_lock_wait(struct fp_locks *l, struct fp_inode *in, const struct fp_lock_want *want,
		 const struct fp_lock_waiter *who);
/* Ends that wait with -EINTR; remembered for a while when there is none yet. */
void fp_lock_interrupt(struct fp_locks *l, uint64_t unique);
/* Ends every wait of the group (NULL: of all) with -EINTR, soon. */
void fp_locks_cancel(struct fp_locks *l, const void *group);
size_t fp_locks_waiting(struct fp_locks *l);
/* Every lock that is held, as fp_lock_set() would take it again; those of one owner on one inode
 * follow each other. seen must not come back here. */
typedef void (*fp_lock_seen)(void *data, uint64_t node, const struct fp_lock_want *held);
void fp_locks_each(struct fp_locks *l, fp_lock_seen seen, void *data);

#endif
