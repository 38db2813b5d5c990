/* vchan.h - the guest's channel as everybody else sees it: <instance>/v.sock, which speaks
 * Firecracker's "CONNECT <port>\n" -> "OK <n>\n" in front of the mux or of the VMM's own vsock,
 * and v.sock_<port> for what the guest opens by itself. */
#ifndef FCVM_SUPERVISE_VCHAN_H
#define FCVM_SUPERVISE_VCHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"
#include "loop.h"

#define VCHAN_SOCK "v.sock"
#define VCHAN_LINE_MAX 32u
#define VCHAN_WAITING_MAX 64u /* connections that have not finished their CONNECT line */

struct vchan;

struct vchan_ops {
	void (*synced)(void *data, bool fresh);
	void (*quiesced)(void *data);
	void (*lost)(void *data, const char *why);
};

/* What the engine gives: a byte stream that the mux shares out (borrowed), or, with mux_fd -1, a
 * vsock. */
struct vchan_far {
	int mux_fd;
	const char *vsock_dir, *vsock_name;
	uid_t vsock_uid;
};

/* v.sock appears with the first synced. dir: the instance's. */
int vchan_new(struct loop *loop, const char *dir, const struct vchan_far *far,
	      const struct vchan_ops *ops, void *data, struct vchan **ret, struct err *err);
/* Whether streams live on in a VM that goes on after its snapshot. */
bool vchan_keeps_streams(const struct vchan *ch);
void vchan_free(struct vchan *ch); /* NULL is fine */
int vchan_sync(struct vchan *ch, bool keep, struct err *err);
int vchan_quiesce(struct vchan *ch, struct err *err);
/* A stream to a port of the guest: *ret_fd is ours at once, and reads end of file when the guest
 * refuses. */
int vchan_open(struct vchan *ch, uint32_t port, int *ret_fd, struct err *err);

/* 1: a whole line stands in front, *ret_port and *ret_used are set; 0: more is needed; -EINVAL. */
int vchan_parse_connect(const char *data, size_t len, uint32_t *ret_port, size_t *ret_used);

#endif
