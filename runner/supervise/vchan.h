/* vchan.h - the guest's channel as everybody else sees it: <instance>/v.sock, which speaks
 * Firecracker's "CONNECT <port>\n" -> "OK <n>\n" in front of the mux, and v.sock_<port> for what
 * the guest opens by itself. */
#ifndef FCVM_SUPERVISE_VCHAN_H
#define FCVM_SUPERVISE_VCHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/* fd (the engine's channel) is borrowed. v.sock appears with the first synced. dir: the instance's.
 */
int vchan_new(struct loop *loop, const char *dir, int fd, const struct vchan_ops *ops, void *data,
	      struct vchan **ret, struct err *err);
void vchan_free(struct vchan *ch); /* NULL is fine */
int vchan_sync(struct vchan *ch, bool keep, struct err *err);
int vchan_quiesce(struct vchan *ch, struct err *err);
/* A stream to a port of the guest: *ret_fd is ours at once, and reads end of file when the guest
 * refuses. */
int vchan_open(struct vchan *ch, uint32_t port, int *ret_fd, struct err *err);

/* 1: a whole line stands in front, *ret_port and *ret_used are set; 0: more is needed; -EINVAL. */
int vchan_parse_connect(const char *data, size_t len, uint32_t *ret_port, size_t *ret_used);

#endif
