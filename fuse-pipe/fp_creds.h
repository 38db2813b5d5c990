/* fp_creds.h - with whose rights the calling thread works: file system user, group, supplementary
 * groups, effective capabilities and umask, all of this thread alone (raw system calls). Switching
 * costs up to five system calls, so each call compares with what the thread has already. */
#ifndef FCVM_FUSE_PIPE_FP_CREDS_H
#define FCVM_FUSE_PIPE_FP_CREDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

enum fp_trust {
	FP_SQUASH = 0, /* root is the directory's owner; the host's own checks count */
	FP_FULL,       /* ids are taken as they come; the guest's kernel has checked */
	FP_ROOTLESS,   /* the server is not root: everything is done as itself */
};

struct fp_caller {
	uid_t uid;
	gid_t gid;
	const uint8_t *groups; /* u32 each, little-endian, not aligned */
	size_t n_groups;
	gid_t root_gid; /* what 0 among them stands for here */
};

/* Once in each thread before the others: a umask and a working directory of its own (cwd_fd, what
 * magic links are opened relative to). */
int fp_creds_init(int cwd_fd, struct err *err);
/* The same for threads that have nobody to tell: better no server than one with other rights. */
void fp_creds_must_init(int cwd_fd);
/* True when this process may switch users at all. */
bool fp_creds_able(void);
/* The server's own rights. */
int fp_creds_server(void);
/* The caller's, with what its trust leaves it. Returns -EPERM when the kernel refuses. */
int fp_creds_caller(const struct fp_caller *caller, enum fp_trust trust);
/* The server's own, but a write strips set-id bits as that of an ordinary user does. caller (NULL:
 * nobody's member) lends its group and groups: a member's write leaves a set-group-id bit that
 * means nothing, without execution for the group. */
int fp_creds_kill_suid(const struct fp_caller *caller);
void fp_creds_umask(mode_t mask);

#endif
