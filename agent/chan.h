/* chan.h - a framed connection of one of the services: whole frames in, frames out, back-pressure
 * both ways. A peer that breaks the framing or does not read is dropped, nothing else happens. */
#ifndef FCVM_AGENT_CHAN_H
#define FCVM_AGENT_CHAN_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "frame.h"
#include "loop.h"

#define CHAN_OUT_HIGH (128u << 10) /* chan_full() above this */
#define CHAN_OUT_MAX (2u << 20)    /* the peer is dropped above this */

struct chan;

struct chan_ops {
	/* Called for each frame; body is borrowed. May close the channel. */
	void (*frame)(struct chan *chan, void *data, const struct frame *frame);
	/* The queue fell below half of CHAN_OUT_HIGH after chan_full() was true. May be NULL. */
	void (*drained)(struct chan *chan, void *data);
	/* The peer is gone, or was dropped. The channel is freed after this. Not called for
	 * chan_close() and chan_finish(). */
	void (*closed)(struct chan *chan, void *data);
};

/* Takes fd. */
int chan_new(struct loop *loop, int fd, uint32_t frame_max, const struct chan_ops *ops, void *data,
	     struct chan **ret, struct err *err);
void chan_send(struct chan *chan, uint16_t type, const void *body, size_t len);
/* A TLV body; an overflown one is a bug and drops the peer. */
void chan_send_buf(struct chan *chan, uint16_t type, const struct buf *body);
bool chan_full(const struct chan *chan);
/* Stops and goes on taking frames. */
void chan_pause(struct chan *chan, bool paused);
void chan_close(struct chan *chan);
/* Ends the output once everything sent so far is written, and closes when the peer does; what it
 * still sends is dropped. No callbacks any more, but that of chan_on_finished(). */
void chan_finish(struct chan *chan);
/* fn runs once when chan_finish() has done its work: the peer has read everything and closed, or is
 * gone. The channel is freed after this; not called for chan_close(). */
void chan_on_finished(struct chan *chan, void (*fn)(void *data), void *data);

#endif
