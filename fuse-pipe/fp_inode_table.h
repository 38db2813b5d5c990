/* fp_inode_table.h - the table of inodes from inside, for fp_inode.c and fp_inode_back.c. All but
 * fp_inode_new() and fp_inode_free() under the lock. */
#ifndef FCVM_FUSE_PIPE_FP_INODE_TABLE_H
#define FCVM_FUSE_PIPE_FP_INODE_TABLE_H

#include <pthread.h>

#include "fp_ids.h"
#include "fp_inode.h"

#define FP_INODE_BUCKETS 65536u

struct fp_inodes {
	pthread_mutex_t lock;
	int mount_fd;
	bool by_handle;    /* handles can be opened */
	struct fp_ids ids; /* 1 is the root */
	size_t known, hot, hot_max;
	uint64_t ready_ms;                /* when the guest last had a stream (again) */
	struct fp_inode *newest, *oldest; /* hot ones */
	struct fp_inode *buckets[FP_INODE_BUCKETS];
};

struct fp_inode *fp_inode_new(const struct stat *st);
void fp_inode_free(struct fp_inode *in);
void fp_inode_set_name(const struct fp_inodes *t, struct fp_inode *in, uint64_t parent,
		       const char *name);
void fp_inodes_link(struct fp_inodes *t, struct fp_inode *in);
void fp_inodes_unlink(struct fp_inodes *t, struct fp_inode *in);
void fp_inodes_make_hot(struct fp_inodes *t, struct fp_inode *in, int fd);
void fp_inodes_keep_within_limit(struct fp_inodes *t);

#endif
