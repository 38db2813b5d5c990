/* fake_peer.h - a v.sock with one scripted connection behind it, in a child process. */
#ifndef FCVM_TESTS_FAKE_PEER_H
#define FCVM_TESTS_FAKE_PEER_H

#include <stdint.h>
#include <sys/types.h>

#include "frame.h"

struct peer {
	char *dir;
	pid_t pid;
};

/* serve gets the accepted connection and ends with the child's exit status. */
void peer_start(struct peer *p, int (*serve)(int fd));
/* The child's exit status; removes the directory. */
int peer_end(struct peer *p);

/* For serve: reads "CONNECT 4998\n" and says OK; one frame of that type (others are skipped). */
void peer_accept_exec(int fd);
void peer_await(int fd, uint16_t type, struct frame *ret, struct buf *body);
void peer_send(int fd, uint16_t type, const void *body, size_t len);
void peer_exit(int fd, uint64_t code, const char *text);

#endif
