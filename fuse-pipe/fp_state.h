/* fp_state.h - what outlives a server process, in a small mapped file that only the host's user can
 * read: the key that seals records, and a log of the last requests that must not run twice. A file
 * that a kill leaves behind is whole at any moment; it need not survive the host. Without a file
 * both live in memory. Thread-safe. */
#ifndef FCVM_FUSE_PIPE_FP_STATE_H
#define FCVM_FUSE_PIPE_FP_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "err.h"
#include "fp_inode.h"
#include "fp_wire.h"

struct fp_state;

/* Opens or makes the file (0600). One process at a time: -EBUSY. *ret_fd is the caller's. */
int fp_state_file(const char *path, int *ret_fd, struct err *err);
/* Another directory takes the place of the one whose state this is: what was sealed for that one is
 * void, its log is forgotten, its mount goes on. */
int fp_state_rekey(int fd, struct err *err);
/* fd is taken over in any case; -1: in memory, ends with the process. */
int fp_state_open(int fd, struct fp_state **ret, struct err *err);
void fp_state_free(struct fp_state *s);
/* A mount begins. True when it is the one that an earlier process served; otherwise the log of the
 * last one is forgotten. */
bool fp_state_session(struct fp_state *s, const uint8_t session[FP_SESSION_SIZE]);

/* What the mount's kernel was told at INIT, which it does not ask again: that nothing is opened. */
void fp_state_set_skips_open(struct fp_state *s, bool skips);
bool fp_state_skips_open(const struct fp_state *s);

enum fp_log_found {
	FP_LOG_NEW,     /* never seen here */
	FP_LOG_STARTED, /* may have been executed */
	FP_LOG_DONE,    /* was, with the result given */
};
struct fp_log_ticket {
	uint64_t unique;
	uint32_t slot;
};
/* Before the operation. */
struct fp_log_ticket fp_log_begin(struct fp_state *s, uint64_t unique);
/* Nothing when the log has gone round meanwhile. */
void fp_log_end(struct fp_state *s, struct fp_log_ticket ticket, int result);
enum fp_log_found fp_log_find(struct fp_state *s, uint64_t unique, int *ret_result);

/* Sealed records: {key, value} for the guest to keep. Return the length of the value. */
size_t fp_seal_node(struct fp_state *s, const struct fp_inode *in, const struct fp_place *place,
		    uint8_t key[FP_KEY_SIZE], uint8_t value[FP_RECORD_MAX]);
size_t fp_seal_file(struct fp_state *s, uint64_t id, uint64_t node, int flags,
		    uint8_t key[FP_KEY_SIZE], uint8_t value[FP_RECORD_MAX]);
void fp_seal_node_key(uint64_t id, uint8_t key[FP_KEY_SIZE]);
void fp_seal_file_key(uint64_t id, uint8_t key[FP_KEY_SIZE]);

struct fp_record {
	bool is_file;
	uint64_t id;
	struct stat st; /* node: device, inode, type */
	struct fp_place place;
	uint64_t node; /* file */
	int flags;
};
/* -EBADMSG for whatever this state did not seal, under the key it was sealed for. */
int fp_unseal(struct fp_state *s, const uint8_t key[FP_KEY_SIZE], const uint8_t *value, size_t len,
	      struct fp_record *ret);

#endif
