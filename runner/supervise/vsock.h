/* vsock.h - streams to the guest where the VMM has a vsock: a socket of its own that takes
 * "CONNECT <port>\n" and answers "OK <n>\n", or hangs up when nobody listens there. Same shape as
 * the mux, with two differences that are the VMM's: streams do not outlive a snapshot (the guest's
 * driver resets them), and the end of one direction ends both, so half-closes are not passed on.
 *
 * Everything on the far side is the VMM's: bounded and checked. */
#ifndef FCVM_SUPERVISE_VSOCK_H
#define FCVM_SUPERVISE_VSOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"
#include "loop.h"

#define VSOCK_STREAMS_MAX 512u

struct vsock;

struct vsock_ops {
	/* The agent answers; fresh as it was asked for. */
	void (*synced)(void *data, bool fresh);
	void (*quiesced)(void *data);
};

/* The VMM's socket: dir/name, which must be uid's. All are copied. */
struct vsock_far {
	const char *dir, *name;
	uid_t uid;
};

void vsock_new(struct loop *loop, const struct vsock_far *far, const struct vsock_ops *ops,
	       void *data, struct vsock **ret);
void vsock_free(struct vsock *v); /* closes all streams; NULL is fine */
/* Knocks until the agent answers. keep: after a snapshot of a VM that goes on; streams are closed
 * either way. */
int vsock_sync(struct vsock *v, bool keep, struct err *err);
int vsock_quiesce(struct vsock *v, struct err *err);
/* local (non-blocking) is owned from now on, even on failure. opened (may be NULL) tells the
 * outcome once: code 0 or negative errno; on failure local is closed after. */
int vsock_open(struct vsock *v, uint32_t port, int local,
	       void (*opened)(void *data, int local, int code), void *data, struct err *err);

#endif
