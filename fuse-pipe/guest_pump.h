/* guest_pump.h - the guest's half of a mounted host directory: /dev/fuse on one side, streams to
 * the host's server on the other. Messages pass unread but for their header; what they mean is
 * between the kernel and the host. Libc only: the agent links it.
 *
 * One thread and one stream a queue, a queue being a clone of the /dev/fuse descriptor. A lost
 * stream is connected again for as long as the mount lives; callers wait for reconnect_ms, after
 * that they get ENOTCONN until the host is back. */
#ifndef FCVM_FUSE_PIPE_GUEST_PUMP_H
#define FCVM_FUSE_PIPE_GUEST_PUMP_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct guest_pump;

struct guest_pump_config {
	unsigned int queues;       /* 1 to FP_STREAMS_MAX */
	unsigned int spin_us;      /* how long a queue looks for more before it sleeps */
	unsigned int reconnect_ms; /* how long callers wait for a lost host */

	/* A new stream to the host; *ret_fd is the pump's. Called from the queues' threads, one
	 * call at a time; is to come back at once when nobody listens. */
	int (*connect)(void *data, uint16_t stream, int *ret_fd, struct err *err);
	/* Mounts and gives the /dev/fuse descriptor; called once, when the host has answered. */
	int (*mount)(void *data, int *ret_fd, struct err *err);
	void *data;
};

#define GUEST_PUMP_RECONNECT_MS 10000
#define GUEST_PUMP_SPIN_US 30

/* Connects, mounts and returns once the host has answered the kernel's first request: the mount can
 * be used then. Blocks up to reconnect_ms for a host that does not answer (-ETIMEDOUT); what was
 * mounted by then stays with the caller. */
int guest_pump_start(const struct guest_pump_config *config, struct guest_pump **ret,
		     struct err *err);
/* Readable when the mount is gone (unmounted). Owned by the pump. */
int guest_pump_fd(const struct guest_pump *pump);
/* Ends the threads and closes everything: callers that still wait get ECONNABORTED. Does not
 * unmount. */
void guest_pump_free_p(struct guest_pump **pump);
#define auto_guest_pump __attribute__((cleanup(guest_pump_free_p)))

struct guest_mount_config {
	const char *target; /* a directory */
	const char *source; /* shown in mountinfo */
	bool read_only;
	bool trusted; /* device nodes and set-id bits work */
};
/* mount(2) with default_permissions and allow_other; needs root. *ret_fd is the caller's. */
int guest_mount(const struct guest_mount_config *config, int *ret_fd, struct err *err);

#endif
