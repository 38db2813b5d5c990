/* guest_reqs.h - the requests of one queue that are not answered yet, in the order they came: those
 * after the cursor are still to be sent. Kept as whole frames, so that they are sent without a copy
 * and can be sent again to a server that took the other's place. One thread. */
#ifndef FCVM_FUSE_PIPE_GUEST_REQS_H
#define FCVM_FUSE_PIPE_GUEST_REQS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define GUEST_REQS_BUCKETS 1024u

struct guest_req {
	struct guest_req *prev, *next, *chain;
	uint64_t unique;
	size_t len, cap;   /* of frame */
	bool wants_answer; /* FORGET and INTERRUPT have none: gone once sent */
	bool sent;
	uint8_t frame[];
};

struct guest_reqs {
	struct guest_req *first, *last;
	struct guest_req *unsent; /* the cursor; NULL = all are sent */
	size_t unsent_off;        /* bytes of *unsent that are sent already */
	size_t bytes;             /* of all frames */
	struct guest_req *buckets[GUEST_REQS_BUCKETS];
	struct guest_req *spare; /* the largest kind, kept for guest_req_new() */
};

/* Room for a frame of cap bytes; guest_reqs_add() takes it over. */
struct guest_req *guest_req_new(struct guest_reqs *reqs, size_t cap);
void guest_reqs_add(struct guest_reqs *reqs, struct guest_req *req);
/* What is to be sent, at most n pieces. */
size_t guest_reqs_iov(const struct guest_reqs *reqs, struct iovec *iov, size_t n);
void guest_reqs_sent(struct guest_reqs *reqs, size_t bytes);
/* NULL when there is none; also one that was not sent yet is found. */
struct guest_req *guest_reqs_find(const struct guest_reqs *reqs, uint64_t unique);
void guest_reqs_remove(struct guest_reqs *reqs, struct guest_req *req);
/* The stream is gone: everything is to be sent again, what was sent before with `flags` in its
 * head. */
void guest_reqs_rewind(struct guest_reqs *reqs, uint16_t flags);
void guest_reqs_free(struct guest_reqs *reqs);

#endif
