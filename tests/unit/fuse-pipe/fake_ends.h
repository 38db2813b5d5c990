/* fake_ends.h - both ends of a pump in a test: a kernel behind a SOCK_SEQPACKET socket that stands
 * for /dev/fuse, and a host on the streams that the pump connects. All waits have a deadline. */
#ifndef FCVM_TESTS_FAKE_ENDS_H
#define FCVM_TESTS_FAKE_ENDS_H

#include <linux/fuse.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "fp_wire.h"
#include "guest_pump.h"

struct ends {
	struct guest_pump_config config;
	struct guest_pump *pump;
	struct err err;
	int start_result;
	pthread_t starter;

	int kernel;       /* ours */
	int pump_kernel;  /* the pump's, taken by mount */
	int streams[2];   /* a socket pair of datagrams: one byte a stream, with the host's end */
	bool refuse;      /* connect fails: nobody listens */
	int host;         /* the stream at hand */
	struct buf in;    /* of it, not yet parsed */
	struct buf frame; /* the last frame, whole */
};

/* Starts guest_pump_start() in a thread, an INIT waiting to be read. */
void ends_start(struct ends *e, unsigned int reconnect_ms);
/* Host: takes the next stream and says hello with these flags and this status. */
void ends_accept(struct ends *e, uint16_t flags, int32_t status, struct fp_hello *ret);
/* Host: READY, with one rule when opcode is not 0. */
void ends_ready(struct ends *e, uint16_t opcode);
/* The usual: accept, read the records away, READY, answer INIT, join. Fails unless it works. */
void ends_up(struct ends *e, uint16_t rule_opcode);
/* Join of guest_pump_start(). */
int ends_join(struct ends *e);
void ends_down(struct ends *e);

void kernel_send(struct ends *e, uint32_t opcode, uint64_t unique, const void *body, size_t len);
/* The answer the kernel gets: its error; unique must be as said. */
int kernel_expect(struct ends *e, uint64_t unique);
/* True when nothing comes for 50 ms: for what must not happen. */
bool kernel_is_quiet(struct ends *e);

/* Host: the next frame; its message begins with *ret_in unless it is bare. */
struct fp_frame host_expect(struct ends *e, struct fuse_in_header *ret_in);
void host_answer(struct ends *e, uint64_t unique, int error, const struct buf *items, uint16_t n);
/* Host: false at the end of the stream. Waits for either. */
bool host_has_more(struct ends *e);
void host_hang_up(struct ends *e);

#endif
