/* mux.h - many byte streams over one (virtio-serial port, host side: the chardev socket).
 *
 * The same code runs in agent and supervisor. Every stream ends in a local descriptor (a socket):
 * the mux pumps between it and frames. Credits per stream (MUX_WINDOW bytes unacknowledged) keep a
 * slow reader from blocking others; control frames go ahead of data. All input is bounded and
 * checked; a malformed frame ends the link (on_lost), never the process.
 *
 * Frames: u32 LE stream id, u8 type, u8 0, u16 LE payload length (<= MUX_PAYLOAD_MAX), payload.
 *   SYNC {u8 version, u8 keep, u8[16] link id}  host: first frame of every link; keep=0 resets all
 *   SYNC_ACK {u8 version, u8[16] link id}       guest; before it the host sends nothing else
 *   OPEN {u32 port} / OPENED / REFUSED {u16 errno}   ids: host even, guest odd
 *   DATA / WINDOW {u32 bytes consumed} / FIN (half close) / RESET
 *   QUIESCE / QUIESCED: the guest finishes the frame it is writing, answers, and then sends
 *   nothing until the next SYNC: a snapshot always cuts between frames, in both directions. */
#ifndef FCVM_AGENT_MUX_H
#define FCVM_AGENT_MUX_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "loop.h"

#define MUX_HEAD_SIZE 8
#define MUX_PAYLOAD_MAX 16384u
#define MUX_WINDOW (256u << 10)
#define MUX_STREAMS_MAX 1024u
#define MUX_VERSION 1

struct mux;

struct mux_ops {
	/* The peer opens a stream to port: return 0 and a connected local socket (the mux owns it),
	 * or a negative errno (sent as REFUSED). */
	int (*accept)(void *data, uint32_t port, int *ret_fd);
	/* Link is up (host: SYNC_ACK came; guest: SYNC came; fresh = streams were reset). */
	void (*synced)(void *data, bool fresh);
	/* Host: the guest answered QUIESCED. */
	void (*quiesced)(void *data);
	/* Peer gone or malformed input; all local descriptors are closed already. The host's mux is
	 * finished: every call fails, free it (here is fine). The guest's waits for the next SYNC.
	 */
	void (*lost)(void *data, const char *why);
};

/* fd is borrowed and made non-blocking. host: which end we are. */
int mux_new(struct loop *loop, int fd, bool host, const struct mux_ops *ops, void *data,
	    struct mux **ret, struct err *err);
/* Closes all local descriptors; NULL is fine. From outside of callbacks, or from `lost`. */
void mux_free(struct mux *mux);
/* Host: starts the link. keep: streams go on (source after a snapshot). */
int mux_sync(struct mux *mux, bool keep, struct err *err);
/* Host: asks for silence; ops->quiesced follows. */
int mux_quiesce(struct mux *mux, struct err *err);
/* Opens a stream to the peer's port over local (owned from now on, even on failure). opened (may
 * be NULL) tells the outcome once: code 0 or negative errno; on failure local is closed after. */
int mux_open(struct mux *mux, uint32_t port, int local,
	     void (*opened)(void *data, int local, int code), void *data, struct err *err);

#endif
