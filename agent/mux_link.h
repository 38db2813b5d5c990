/* mux_link.h - what mux.c (link), mux_frames.c and mux_stream.c (streams, pumping) share; nobody
 * else includes it. */
#ifndef FCVM_AGENT_MUX_LINK_H
#define FCVM_AGENT_MUX_LINK_H

#include "buf.h"
#include "mux.h"

#define MUX_LINK_ID_SIZE 16
#define MUX_SYNC_SIZE (2u + MUX_LINK_ID_SIZE)
#define MUX_SYNC_ACK_SIZE (1u + MUX_LINK_ID_SIZE)
#define MUX_TX_HIGH (64u << 10)   /* data queued for the link above which streams wait */
#define MUX_CTL_HIGH (256u << 10) /* control queued above which the link is not read */
#define MUX_RX_SIZE (64u << 10)
#define MUX_HASH_SIZE 256u

enum mux_type {
	MUX_SYNC = 1,
	MUX_SYNC_ACK,
	MUX_OPEN,
	MUX_OPENED,
	MUX_REFUSED,
	MUX_DATA,
	MUX_WINDOW_ADD,
	MUX_FIN,
	MUX_RESET,
	MUX_QUIESCE,
	MUX_QUIESCED,
};

/* One frame on its way out. */
struct mux_node {
	struct mux_node *next;
	uint32_t len;
	uint32_t off;  /* bytes already written */
	bool hold;     /* nothing follows this frame until the link is released */
	uint8_t raw[]; /* head and payload */
};

struct mux_queue {
	struct mux_node *head;
	struct mux_node *tail;
	size_t bytes;
};

struct mux_stream {
	struct mux *mux;
	struct mux_stream *hash_next;
	struct mux_stream *wait_next; /* in the line of streams with something to send */
	bool waiting;
	uint32_t id;
	int fd;
	struct loop_source src;
	struct buf in; /* from the peer, not yet taken by fd */
	size_t in_off;
	uint32_t credit;   /* bytes the peer lets us send */
	uint32_t consumed; /* bytes taken by fd and not yet announced */
	bool readable;     /* fd may have bytes for us; edge-triggered, so remembered */
	bool hup;          /* fd's other end is closed for good */
	bool open;         /* the peer agreed (or asked) */
	bool fin_sent;     /* fd ended, the peer was told */
	bool fin_got;      /* the peer ended: shut fd down once `in` is empty */
	bool shut;         /* done so */
	bool deaf;         /* the peer takes nothing any more */
	void (*opened)(void *data, int local, int code);
	void *opened_data;
};

struct mux {
	struct loop *loop;
	int fd;
	bool host;
	struct mux_ops ops;
	void *data;
	struct loop_source src;
	struct mux_stream *streams[MUX_HASH_SIZE];
	uint32_t n_streams;
	uint32_t next_id;
	struct mux_stream *wait_head;
	struct mux_stream *wait_tail;
	struct mux_node *cur; /* being written; always finished before another */
	struct mux_queue ctl;
	struct mux_queue bulk;
	bool held;   /* nothing but SYNC and SYNC_ACK may be written */
	bool synced; /* guest: false = looking for a SYNC; host: false = waiting for its answer */
	bool sync_keep; /* host: what the SYNC under way asked for */
	bool failed;
	bool ended; /* the failure is the peer's end of file, not its bytes */
	char why[128];
	uint8_t link_id[MUX_LINK_ID_SIZE];
	size_t rx_len;
	uint8_t rx[MUX_RX_SIZE];
};

/* mux.c */
struct mux_node *mux_node_new(enum mux_type type, uint32_t id, uint32_t len);
uint8_t *mux_node_payload(struct mux_node *node);
void mux_node_set_len(struct mux_node *node, uint32_t len);
void mux_queue_put(struct mux_queue *queue, struct mux_node *node);
void mux_queue_put_front(struct mux_queue *queue, struct mux_node *node);
void mux_queue_clear(struct mux_queue *queue);
void mux_send_ctl(struct mux *mux, enum mux_type type, uint32_t id, const void *payload,
		  uint32_t len);
void mux_send_u32(struct mux *mux, enum mux_type type, uint32_t id, uint32_t value);
/* Ends the link once the current handler returns; the first reason wins. */
__attribute__((format(printf, 2, 3))) void mux_fail(struct mux *mux, const char *fmt, ...);
/* Writes what may be written now. */
void mux_flush(struct mux *mux);
/* After mux_fail: drops everything and tells the owner, who may free mux. */
void mux_lost(struct mux *mux);

/* A fresh link: every stream and everything queued belongs to a peer that is gone. */
void mux_reset(struct mux *mux);

/* mux_frames.c: one frame off the front of data: its size, or 0 when it is not whole or the link
 * failed. */
size_t mux_take_frame(struct mux *mux, const uint8_t *data, size_t len);

/* mux_stream.c */
struct mux_stream *mux_stream_find(struct mux *mux, uint32_t id);
/* Takes fd. NULL (fd closed) when it cannot be watched. */
struct mux_stream *mux_stream_new(struct mux *mux, uint32_t id, int fd);
void mux_stream_opened(struct mux_stream *st);
/* The stream is gone for both sides; tells a pending opener `code`. */
void mux_stream_drop(struct mux_stream *st, int code);
void mux_stream_drop_all(struct mux *mux);
void mux_stream_data(struct mux_stream *st, const uint8_t *data, uint32_t len);
void mux_stream_window(struct mux_stream *st, uint32_t bytes);
void mux_stream_fin(struct mux_stream *st);
void mux_stream_reset(struct mux_stream *st);
/* While the link has room, lets the streams that have something to send do so in turn. */
void mux_stream_pump(struct mux *mux);

#endif
