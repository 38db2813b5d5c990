/* fp_process.h - the server of one directory as a process of its own (`fcvm internal volumes`),
 * which its VM's supervisor starts, tells what to do over an inherited socket, and outlives never.
 *
 * The socket is SOCK_SEQPACKET. Orders are one byte, FP_ORDER_STREAM and FP_ORDER_SAVE with one
 * descriptor; the first word back is FP_SAYS_READY, or FP_SAYS_FAILED and a sentence. */
#ifndef FCVM_FUSE_PIPE_FP_PROCESS_H
#define FCVM_FUSE_PIPE_FP_PROCESS_H

#include "err.h"

#define FP_ORDER_STREAM 'S' /* serve the descriptor that comes along; blocking, and its own */
#define FP_ORDER_DRAIN 'D'  /* answered with FP_SAYS_DRAINED, at the latest after FP_DRAIN_MS */
#define FP_ORDER_SAVE                                                                            \
	'V'               /* fp_server_save() into the descriptor: FP_SAYS_SAVED, FP_SAYS_FAILED \
			   */
#define FP_ORDER_PING 'P' /* answered at once, but while an order before it is obeyed */
#define FP_SAYS_READY '+'
#define FP_SAYS_FAILED '-'
#define FP_SAYS_DRAINED 'd'
#define FP_SAYS_SAVED 'v'
#define FP_SAYS_PONG 'p'
#define FP_DRAIN_MS 3000
#define FP_SENTENCE_MAX 1024u

/* Returns when the socket ends. argv[0] is the command's name. */
int fp_process_internal(int argc, char **argv, struct err *err);

#endif
