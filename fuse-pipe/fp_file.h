/* fp_file.h - open files: what the guest has a file handle for. A handle is an index and a
 * generation, never a descriptor. Thread-safe. */
#ifndef FCVM_FUSE_PIPE_FP_FILE_H
#define FCVM_FUSE_PIPE_FP_FILE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "fp_inode.h"

struct fp_file {
	uint64_t id;
	struct fp_inode *in;   /* a reference */
	int flags;             /* access mode, O_DIRECTORY */
	pthread_mutex_t lock;  /* a directory's position; the first open after a restore */
	atomic_int fd;         /* -1: of an earlier process, not opened yet */
	atomic_bool lost_lock; /* others have the lock it was used under: EIO until it is closed */
	/* The table's own. */
	uint32_t refs;
};

struct fp_files;

/* inodes is borrowed: closing a file gives its reference back there. */
int fp_files_new(struct fp_inodes *inodes, size_t max, struct fp_files **ret, struct err *err);
void fp_files_free(struct fp_files *t);

/* Takes over fd and the reference to in when it succeeds; -ENFILE beyond the limit. */
int fp_file_add(struct fp_files *t, struct fp_inode *in, int fd, int flags, uint64_t *ret_id);
/* Takes back a handle of an earlier process, and the reference to in when it succeeds. */
int fp_file_restore(struct fp_files *t, uint64_t id, struct fp_inode *in, int flags);
/* After the last of them: ids in between are free. */
void fp_files_settle(struct fp_files *t);
/* A reference, or NULL when there is no such handle or it is not of this node. */
struct fp_file *fp_file_get(struct fp_files *t, uint64_t id, uint64_t node);
void fp_file_put(struct fp_files *t, struct fp_file *f);
/* Ends the handle; the descriptor goes with the last reference. False when there is none. */
bool fp_file_close(struct fp_files *t, uint64_t id);
size_t fp_files_count(struct fp_files *t);

#endif
