/* fp_ops.h - one request executed: between the decoder and the stream. A handler gets its nodes and
 * files first (that may need the server's rights), then takes the rights of the request, then does
 * its one system call. */
#ifndef FCVM_FUSE_PIPE_FP_OPS_H
#define FCVM_FUSE_PIPE_FP_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "fp_volume.h"

#define FP_LATER 1 /* the reply comes when a lock's wait ends */

struct fp_call {
	struct fp_volume *vol;
	const struct fp_request *q;
	uint8_t *out; /* what follows struct fuse_out_header; aligned to 8 */
	size_t out_max;
	size_t out_len;
	struct buf *items; /* trailer of the reply */
	uint16_t n_items;
	bool more;                    /* items are full: to be called again when they are sent */
	uint32_t n_forgotten;         /* of a batch */
	bool records;                 /* the guest keeps records */
	bool again;                   /* executed before, perhaps */
	bool done;                    /* executed before, and it went well */
	struct fp_lock_waiter waiter; /* SETLKW: who is told when the wait ends */
};

/* 0 with out_len and items, a negative errno, or FP_LATER. The rights of the thread are anything
 * afterwards. */
int fp_ops_run(struct fp_call *c);

/* --- for the files of operations --- */

typedef int (*fp_op_fn)(struct fp_call *c);

/* Counts size bytes of zeroed reply. */
void *fp_call_out(struct fp_call *c, size_t size);
/* The node of the request (or another) with its descriptor; auto_node gives it back. */
struct fp_node {
	struct fp_volume *vol;
	struct fp_inode *in;
	int fd;
};
#define auto_node __attribute__((cleanup(fp_node_end)))
void fp_node_end(struct fp_node *n);
int fp_call_node(struct fp_call *c, uint64_t id, struct fp_node *ret);
/* An open file; or, where nothing is opened (fp_volume.h), the node itself and no file. */
struct fp_open {
	struct fp_volume *vol;
	struct fp_file *file;
	struct fp_inode *in;
	int fd;
};
#define auto_open __attribute__((cleanup(fp_open_end)))
void fp_open_end(struct fp_open *o);
int fp_call_file(struct fp_call *c, uint64_t fh, uint64_t node, struct fp_open *ret);
/* For its data: -EIO when the lock it was used under was lost. */
int fp_call_data(struct fp_call *c, uint64_t fh, uint64_t node, struct fp_open *ret);

/* Makes path_fd (taken over) a node and fills the entry of a reply. name is its name in the
 * directory `dir`, or NULL. */
int fp_call_entry(struct fp_call *c, int path_fd, const struct stat *st, uint64_t dir,
		  const char *name, struct fuse_entry_out *ret);
/* The same for a name that the host's kernel has just read out, when the node is hot: nothing is
 * opened. ino is what the directory said; false when it cannot be told so. */
bool fp_call_entry_hot(struct fp_call *c, int dir_fd, uint64_t ino, const char *name,
		       struct fuse_entry_out *ret);
/* Asks the guest to keep what finds the node again. */
void fp_call_keep(struct fp_call *c, struct fp_inode *in);
/* The guest has n lookups of a node less; with the last goes its record. */
void fp_call_forget(struct fp_call *c, uint64_t id, uint64_t n);
void fp_call_valid(const struct fp_call *c, uint64_t *ret_s, uint32_t *ret_ns);
/* Looks a name up with the rights of the moment and appends its entry to the reply. */
int fp_call_lookup(struct fp_call *c, const struct fp_node *dir, const char *name);

int fp_op_lookup(struct fp_call *c);
int fp_op_readlink(struct fp_call *c);
int fp_op_symlink(struct fp_call *c);
int fp_op_mknod(struct fp_call *c);
int fp_op_mkdir(struct fp_call *c);
int fp_op_unlink(struct fp_call *c);
int fp_op_rmdir(struct fp_call *c);
int fp_op_rename(struct fp_call *c);
int fp_op_rename2(struct fp_call *c);
int fp_op_link(struct fp_call *c);

int fp_op_getattr(struct fp_call *c);
int fp_op_setattr(struct fp_call *c);
int fp_op_setxattr(struct fp_call *c);
int fp_op_getxattr(struct fp_call *c);
int fp_op_listxattr(struct fp_call *c);
int fp_op_removexattr(struct fp_call *c);

int fp_op_open(struct fp_call *c);
int fp_op_opendir(struct fp_call *c);
int fp_op_create(struct fp_call *c);
int fp_op_tmpfile(struct fp_call *c);
int fp_op_release(struct fp_call *c);
int fp_op_flush(struct fp_call *c);
int fp_op_readdir(struct fp_call *c);
int fp_op_readdirplus(struct fp_call *c);

int fp_op_read(struct fp_call *c);
int fp_op_write(struct fp_call *c);
int fp_op_fsync(struct fp_call *c);
int fp_op_fallocate(struct fp_call *c);
int fp_op_lseek(struct fp_call *c);
int fp_op_copy_file_range(struct fp_call *c);
int fp_op_syncfs(struct fp_call *c);
int fp_op_getlk(struct fp_call *c);
int fp_op_setlk(struct fp_call *c);

#endif
