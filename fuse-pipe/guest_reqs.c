#include "guest_reqs.h"

#include <stdlib.h>

#include "frame.h"
#include "xalloc.h"

#define HEAD_FLAGS_AT 4 /* in the head of a frame */
#define SPARE_MIN (256u << 10)

static struct guest_req **bucket(struct guest_reqs *reqs, uint64_t unique)
{
	/* The kernel counts in steps of two. */
	return &reqs->buckets[(unique >> 1) % GUEST_REQS_BUCKETS];
}

struct guest_req *guest_req_new(struct guest_reqs *reqs, size_t cap)
{
	struct guest_req *req = reqs->spare;

	if (req && cap >= SPARE_MIN && req->cap >= cap) {
		reqs->spare = NULL;
		cap = req->cap;
	} else {
		req = xmalloc(sizeof(*req) + cap);
	}
	*req = (struct guest_req){.cap = cap};
	return req;
}

static void release(struct guest_reqs *reqs, struct guest_req *req)
{
	if (!reqs->spare && req->cap >= SPARE_MIN)
		reqs->spare = req;
	else
		free(req);
}

void guest_reqs_add(struct guest_reqs *reqs, struct guest_req *req)
{
	struct guest_req **b = bucket(reqs, req->unique);

	req->prev = reqs->last;
	req->next = NULL;
	if (reqs->last)
		reqs->last->next = req;
	else
		reqs->first = req;
	reqs->last = req;
	if (!reqs->unsent)
		reqs->unsent = req;
	reqs->bytes += req->len;
	req->chain = *b;
	*b = req;
}

size_t guest_reqs_iov(const struct guest_reqs *reqs, struct iovec *iov, size_t n)
{
	size_t off = reqs->unsent_off, used = 0;

	for (struct guest_req *req = reqs->unsent; req && used < n; req = req->next) {
		iov[used++] =
			(struct iovec){.iov_base = req->frame + off, .iov_len = req->len - off};
		off = 0;
	}
	return used;
}

void guest_reqs_remove(struct guest_reqs *reqs, struct guest_req *req)
{
	struct guest_req **p = bucket(reqs, req->unique);

	while (*p && *p != req)
		p = &(*p)->chain;
	if (*p)
		*p = req->chain;
	if (reqs->unsent == req) {
		reqs->unsent = req->next;
		reqs->unsent_off = 0;
	}
	if (req->prev)
		req->prev->next = req->next;
	else
		reqs->first = req->next;
	if (req->next)
		req->next->prev = req->prev;
	else
		reqs->last = req->prev;
	reqs->bytes -= req->len;
	release(reqs, req);
}

void guest_reqs_sent(struct guest_reqs *reqs, size_t bytes)
{
	while (reqs->unsent && bytes >= reqs->unsent->len - reqs->unsent_off) {
		struct guest_req *req = reqs->unsent;

		bytes -= req->len - reqs->unsent_off;
		reqs->unsent = req->next;
		reqs->unsent_off = 0;
		req->sent = true;
		if (!req->wants_answer)
			guest_reqs_remove(reqs, req);
	}
	if (reqs->unsent)
		reqs->unsent_off += bytes;
}

struct guest_req *guest_reqs_find(const struct guest_reqs *reqs, uint64_t unique)
{
	struct guest_req *req = reqs->buckets[(unique >> 1) % GUEST_REQS_BUCKETS];

	while (req && req->unique != unique)
		req = req->chain;
	return req;
}

void guest_reqs_rewind(struct guest_reqs *reqs, uint16_t flags)
{
	if (reqs->unsent && reqs->unsent_off)
		reqs->unsent->sent = true;
	for (struct guest_req *req = reqs->first; req; req = req->next) {
		uint8_t *at = req->frame + HEAD_FLAGS_AT;

		if (req->sent)
			store_le16(at, load_le16(at) | flags);
	}
	reqs->unsent = reqs->first;
	reqs->unsent_off = 0;
}

void guest_reqs_free(struct guest_reqs *reqs)
{
	struct guest_req *next;

	for (struct guest_req *req = reqs->first; req; req = next) {
		next = req->next;
		free(req);
	}
	free(reqs->spare);
	*reqs = (struct guest_reqs){0};
}
