/* fp_volume.h - one directory as it is served: its options, its tables, and the few ways to a
 * descriptor that every operation uses. All of them check that what was opened lies in the
 * directory's own mount. */
#ifndef FCVM_FUSE_PIPE_FP_VOLUME_H
#define FCVM_FUSE_PIPE_FP_VOLUME_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "err.h"
#include "fp_creds.h"
#include "fp_decode.h"
#include "fp_file.h"
#include "fp_inode.h"
#include "fp_locks.h"
#include "fp_state.h"

enum fp_cache {
	FP_SHARED = 0, /* names and attributes may be timeout_ms old; data is read anew at open */
	FP_STRICT,     /* nothing is kept without asking */
	FP_PRIVATE,    /* nobody else writes: data is kept, locks are the guest's own */
};

struct fp_options {
	enum fp_trust trust; /* FP_ROOTLESS is chosen by itself when not root */
	enum fp_cache cache;
	uint32_t timeout_ms; /* shared and private */
	bool read_only;
	uid_t as_uid; /* rootless: who the guest sees in place of us */
	gid_t as_gid;
	size_t fds_max; /* descriptors to use at most; 0: what RLIMIT_NOFILE leaves */
	int state_fd;   /* fp_state_file(), taken over; -1: nothing outlives the process */
};

struct fp_volume {
	struct fp_options opt;
	int root_fd; /* readable */
	int proc_fd; /* /proc/self/fd */
	uint64_t dev, mount_id;
	uid_t owner_uid; /* of the root */
	gid_t owner_gid;
	/* The last of them is NULL when a reset failed: nothing can be served then. */
	struct fp_inodes *inodes;
	struct fp_files *files;
	struct fp_locks *locks;
	struct fp_state *state;
	atomic_bool ready;      /* INIT was answered */
	atomic_bool skips_open; /* the guest opens nothing here, and uses handle 0 */
};

/* root_fd (readable) and proc_fd are borrowed. Begins the locks' thread. */
int fp_volume_open(int root_fd, int proc_fd, const struct fp_options *opt, fp_lock_done done,
		   struct fp_volume **ret, struct err *err);
void fp_volume_close(struct fp_volume *v);
/* Forgets nodes, files and locks: another mount begins. No operation may run. */
int fp_volume_reset(struct fp_volume *v, fp_lock_done done, struct err *err);

/* A mount begins. True when an earlier process served it, which has done its INIT. */
bool fp_volume_begin(struct fp_volume *v, const uint8_t session[FP_SESSION_SIZE]);

/* With these rights the calling thread goes on; 0 or -EPERM. */
int fp_volume_rights(const struct fp_volume *v, const struct fp_request *q);
int fp_volume_server_rights(const struct fp_volume *v);
/* Rights to write to what is open: set-id bits go as in a write of the caller's. Not for rootless
 * volumes. */
int fp_volume_kill_suid(const struct fp_volume *v, const struct fp_request *q);

/* A referenced node and its O_PATH descriptor (>= 0), or -ESTALE. */
int fp_volume_node(struct fp_volume *v, uint64_t id, struct fp_inode **ret);
/* Opens one name in a directory as O_PATH, never through a link or into another mount. */
int fp_volume_lookup(const struct fp_volume *v, int dir_fd, const char *name, struct stat *ret);
/* Opens what an O_PATH descriptor refers to, with the rights of the moment. */
int fp_volume_reopen(const struct fp_volume *v, int path_fd, int flags);
/* -EXDEV unless fd lies in the directory's mount and file system. */
int fp_volume_check(const struct fp_volume *v, int fd, struct stat *ret);
/* The same check and answer for a name in a directory, which is not opened. */
int fp_volume_stat(const struct fp_volume *v, int dir_fd, const char *name, struct stat *ret);
/* A referenced open file of the node and its descriptor (>= 0), or -EBADF, -ESTALE. */
int fp_volume_file(struct fp_volume *v, uint64_t fh, uint64_t node, struct fp_file **ret);

/* Nobody else writes and the guest checks permissions: opening would tell the host nothing. */
static inline bool fp_volume_may_skip_open(const struct fp_volume *v)
{
	return v->opt.cache == FP_PRIVATE && v->opt.trust == FP_FULL;
}

/* How the guest sees it. */
void fp_volume_attr(const struct fp_volume *v, const struct stat *st, struct fuse_attr *ret);
/* What of a mode a guest may ask for. */
mode_t fp_volume_mode(const struct fp_volume *v, mode_t mode);

#endif
