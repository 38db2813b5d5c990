/* rig.h - a served directory without a mount: the test is the guest, over a socket pair. */
#ifndef FCVM_TESTS_FUSE_PIPE_RIG_H
#define FCVM_TESTS_FUSE_PIPE_RIG_H

#include "fp_abi.h"
#include "fp_server.h"
#include "fp_wire.h"

struct rig {
	char *dir; /* of the test; what is served is `root` in it */
	char *root;
	struct fp_server *server;
	struct fp_server_options opt;
	int fd; /* the guest's end */
	uint8_t session[FP_SESSION_SIZE];
	uint64_t unique;
	uint32_t uid, gid; /* of the caller in the requests that follow */
	const uint32_t *groups;
	size_t n_groups;
	bool keeps_records;
	uint16_t flags;  /* of the frames that follow */
	uint64_t offers; /* flags of INIT besides what is needed */
	/* The last reply. */
	uint8_t *in;
	int32_t error;
	uint64_t got_unique;
	const uint8_t *out;
	size_t out_len;
	struct fp_frame frame;
};

#define auto_rig __attribute__((cleanup(rig_stop)))

/* Serves an empty directory and does INIT. opt may be NULL: trust full, strict. */
void rig_start(struct rig *r, const struct fp_options *opt);
void rig_stop(struct rig *r);
/* Ends the server alone (as a kill would for the guest). */
void rig_end_server(struct rig *r);
/* The same, and begins another one. */
void rig_restart(struct rig *r);
/* Another stream to the same server; returns the guest's end after a hello of this kind. */
int rig_connect(struct rig *r);
struct fp_hello rig_hello(struct rig *r, int fd, uint16_t stream, uint16_t n_streams);
/* Records (may be NULL), END, then READY is waited for. */
void rig_ready(int fd, bool fresh, const struct buf *records, uint16_t n);
void rig_init(struct rig *r);
/* The KEEP items of the last reply are added as they come; how many. */
uint16_t rig_collect(const struct rig *r, struct buf *records);
/* Another server, to which the guest gives its records back. */
void rig_come_back(struct rig *r, const struct buf *records, uint16_t n);

/* One request, arg and up to two strings after it, then its reply. Returns its error. */
int rig_call(struct rig *r, uint32_t opcode, uint64_t node, const void *arg, size_t len,
	     const char *name, const char *name2);
#define RIG_CALL(r, opcode, node, arg, name) \
	rig_call(r, opcode, node, arg, sizeof(*(arg)), name, NULL)
/* The two halves of it. */
uint64_t rig_send(struct rig *r, uint32_t opcode, uint64_t node, const void *arg, size_t len,
		  const char *name, const char *name2);
void rig_receive(struct rig *r);
/* Whatever comes next, also a frame without a message. */
void rig_receive_frame(struct rig *r);
/* Sends bytes as they are; true when the server is still there afterwards. */
void rig_raw(struct rig *r, const void *data, size_t len);
/* Waits until the server has cut the stream. */
bool rig_is_cut(struct rig *r);

/* Shorthands that fail the test when they do not work. */
uint64_t rig_lookup(struct rig *r, uint64_t dir, const char *name);
int rig_lookup_error(struct rig *r, uint64_t dir, const char *name);
uint64_t rig_open(struct rig *r, uint64_t node, uint32_t flags);
uint64_t rig_mkdir(struct rig *r, uint64_t dir, const char *name);
/* CREATE with O_RDWR; *ret_fh may be NULL. */
uint64_t rig_create(struct rig *r, uint64_t dir, const char *name, mode_t mode, uint64_t *ret_fh);
/* A path below the served directory, on the host. Freed with the next call. */
const char *rig_path(struct rig *r, const char *name);
void rig_write_file(struct rig *r, const char *name, const char *text);
void rig_need_root(void);

#endif
