/* fp_abi.h - what <linux/fuse.h> of Debian 12 (7.38) does not name yet. */
#ifndef FCVM_FUSE_PIPE_FP_ABI_H
#define FCVM_FUSE_PIPE_FP_ABI_H

#include <linux/fuse.h>

/* INIT, flags2 << 32: create requests carry the one group of the caller that matters. */
#define FP_INIT_CREATE_SUPP_GROUP (1ull << 34)
/* Type of that extension: u32 count, u32 gids. */
#define FP_EXT_GROUPS 32
/* In fuse_in_header.unique of what FUSE_NOTIFY_RESEND sends again. */
#define FP_UNIQUE_RESENT (1ull << 63)
/* In fuse_in_header.unique of an INTERRUPT. */
#define FP_UNIQUE_INTERRUPT 1ull

#endif
