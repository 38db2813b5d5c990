/* fuzz_fuse_guest.c - what a host sends to the guest's pump: the stream of one queue with two
 * requests waiting, the kernel's end of it watched. Whatever comes, the kernel gets whole messages
 * only, and a request leaves the queue only by its own answer. */
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "guest_queue.h"
#include "xalloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond)              \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

static void kernel_asks(int kernel, uint64_t unique)
{
	const struct fuse_in_header in = {
		.len = sizeof(in), .opcode = FUSE_LOOKUP, .unique = unique, .nodeid = 1};

	CHECK(send(kernel, &in, sizeof(in), 0) == (ssize_t)sizeof(in));
}

/* Returns which of the two requests were answered, as bits. */
static unsigned int kernel_hears(int kernel)
{
	static uint8_t msg[FP_MSG_MAX];
	struct fuse_out_header out;
	unsigned int answered = 0;
	ssize_t n;

	while ((n = recv(kernel, msg, sizeof(msg), MSG_DONTWAIT)) > 0) {
		CHECK(n >= (ssize_t)sizeof(out));
		memcpy(&out, msg, sizeof(out));
		CHECK(out.len == (uint32_t)n);
		answered |= out.unique == 2 ? 1u : out.unique == 4 ? 2u : 0u;
	}
	return answered;
}

static struct guest_pump *pump_new(void)
{
	struct guest_pump *pump = xcalloc(1, sizeof(*pump));

	pump->config.queues = 1;
	pump->queues[0] = (struct guest_queue){.pump = pump, .in = xmalloc(GUEST_IN_SIZE)};
	(void)pthread_mutex_init(&pump->lock, NULL);
	(void)pthread_cond_init(&pump->start_cond, NULL);
	return pump;
}

static void pump_free(struct guest_pump *pump)
{
	guest_reqs_free(&pump->queues[0].reqs);
	free(pump->queues[0].scratch);
	free(pump->queues[0].in);
	guest_records_free(&pump->records);
	free(pump);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct guest_pump *pump = pump_new();
	struct guest_queue *q = &pump->queues[0];
	int kernel[2], host[2];
	ssize_t n = 1;

	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, kernel) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, host) == 0);
	q->fuse_fd = kernel[0];
	q->sock = host[0];
	kernel_asks(kernel[1], 2);
	kernel_asks(kernel[1], 4);
	CHECK(guest_queue_round(q) > 0);
	/* What does not fit in the socket is another input's. */
	(void)!send(host[1], data, size, MSG_NOSIGNAL);
	CHECK(shutdown(host[1], SHUT_WR) == 0);
	unsigned int answered = 0;
	while (n > 0) {
		n = guest_queue_round(q);
		answered |= kernel_hears(kernel[1]);
	}
	CHECK(n < 0);
	CHECK((guest_reqs_find(&q->reqs, 2) == NULL) == (answered & 1));
	CHECK((guest_reqs_find(&q->reqs, 4) == NULL) == (answered >> 1));
	CHECK(pump->n_rules <= FP_GROUP_RULES_MAX && pump->records.n <= FP_RECORDS_MAX);
	guest_queue_rewind(q);
	for (int i = 0; i < 2; i++) {
		(void)close(kernel[i]);
		(void)close(host[i]);
	}
	pump_free(pump);
	return 0;
}
