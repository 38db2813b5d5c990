/* fp_inode.h - what the guest has a node id for. An id is an index and a generation, never a
 * pointer or a descriptor. Two names of one inode are one entry, found by (device, inode number)
 * and, while no descriptor pins that pair, by its file handle (which holds the generation).
 *
 * Hot inodes hold an O_PATH descriptor, cold ones their place: a file handle, or a name in a
 * directory where handles cannot be opened (not root, or a file system without them). The hottest
 * stay within the limit. A referenced inode is never made cold or freed; what is found
 * after the guest has forgotten it is another node. Thread-safe. */
#ifndef FCVM_FUSE_PIPE_FP_INODE_H
#define FCVM_FUSE_PIPE_FP_INODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "err.h"
#include "fp_place.h"

#define FP_INODES_MAX ((1u << 20) - 16) /* as many as a guest keeps records of */

struct fp_inode {
	uint64_t id;
	uint64_t dev;
	uint64_t ino;
	mode_t type;           /* S_IFMT */
	struct fp_lock *locks; /* fp_locks.c's */
	/* The table's own. */
	int fd;
	int data_fd; /* of everybody who has it open without a handle; hot only */
	uint32_t refs;
	uint64_t lookups;   /* what the guest has been told and not forgotten */
	bool restored;      /* known before this process: what it owes is not known */
	uint64_t looked_ms; /* when the guest was last told of it; while restored only */
	bool unsure;        /* lookups may be more than the guest has */
	bool stale;         /* not to be found: its number is another inode's, or it is forgotten */
	struct fp_handle *handle;
	uint64_t parent; /* of the name it was last seen under, where names are places */
	char *name;
	struct fp_inode *chain, *newer, *older;
};

struct fp_inodes;

/* mount_fd is borrowed: a readable descriptor of the root, where handles are opened. hot_max
 * descriptors at most are held. */
int fp_inodes_new(int mount_fd, size_t hot_max, struct fp_inodes **ret, struct err *err);
void fp_inodes_free(struct fp_inodes *t);

/* A reference, or NULL when there is no such node. */
struct fp_inode *fp_inode_get(struct fp_inodes *t, uint64_t id);
void fp_inode_put(struct fp_inodes *t, struct fp_inode *in);
/* Its O_PATH descriptor if it has one: fp_inode_fd() without the need for rights, or -1. */
int fp_inode_hot_fd(struct fp_inodes *t, struct fp_inode *in);
/* Its O_PATH descriptor, good while the reference is held; -ESTALE when the inode is gone. Needs
 * the server's rights. */
int fp_inode_fd(struct fp_inodes *t, struct fp_inode *in);
/* A descriptor for data that everybody shares who was told to open nothing, good while the
 * reference is held: opened with the rights of the moment, for writing where that is allowed. */
int fp_inode_data_fd(struct fp_inodes *t, struct fp_inode *in, int proc_fd);
/* What fd (taken over in any case) and st are of: found or new to the guest, with a reference and
 * one lookup more. name in the directory `parent` is how it was found, NULL when it has none.
 * -ENFILE when the table is full. */
int fp_inode_add(struct fp_inodes *t, int fd, const struct stat *st, uint64_t parent,
		 const char *name, struct fp_inode **ret, bool *ret_new);
/* A hot one of this device and number, with a reference and one lookup more; NULL when there is
 * none or when its name would have to be noted. */
struct fp_inode *fp_inode_add_hot(struct fp_inodes *t, uint64_t dev, uint64_t ino);
/* What st is of has another name now. A reference to it where that changes its place, else NULL. */
struct fp_inode *fp_inode_moved(struct fp_inodes *t, const struct stat *st, uint64_t parent,
				const char *name);
/* The guest forgets n lookups; an unknown id is nothing. True when that was the last. */
bool fp_inode_forget(struct fp_inodes *t, uint64_t id, uint64_t n);
/* Where it will be found again; -EOPNOTSUPP when it will not. */
int fp_inode_place(struct fp_inodes *t, struct fp_inode *in, struct fp_place *ret);
/* Takes back a node of an earlier process. An id that is in use is left alone. */
int fp_inode_restore(struct fp_inodes *t, uint64_t id, const struct stat *st,
		     const struct fp_place *place);
/* After the last of them: ids in between are free. */
void fp_inodes_settle(struct fp_inodes *t);
/* The guest is told that a stream is ready: what it has forgotten meanwhile comes over it now. */
void fp_inodes_ready(struct fp_inodes *t);

/* Regular files that have no name any more, and that the guest may still use; at most max. */
size_t fp_inodes_nameless(struct fp_inodes *t, uint64_t *ids, size_t max);
/* A node of an earlier process that has not been used yet is what fd (O_PATH, taken over in any
 * case) and st are of from now on; -ESTALE when there is no such node. */
int fp_inode_replace(struct fp_inodes *t, uint64_t id, int fd, const struct stat *st);

struct fp_inode_counts {
	size_t known, hot;
};
struct fp_inode_counts fp_inodes_count(struct fp_inodes *t);

#endif
