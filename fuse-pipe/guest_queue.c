/* guest_queue.c - messages of one queue: /dev/fuse to the stream, the stream to /dev/fuse. */
#include "guest_queue.h"

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "xalloc.h"

#define SMALL_MAX (128u << 10) /* copied to a frame of its size; larger: the buffer goes along */
#define UNSENT_MAX (1u << 20)  /* enough for one send */
#define BYTES_MAX (64u << 20)  /* unanswered; a waiting lock is 100 bytes of it */
#define ROUND_MAX 64           /* requests before the next send */
#define IOV_COUNT 64

bool guest_queue_has_output(const struct guest_queue *q)
{
	return q->reqs.unsent != NULL;
}

bool guest_queue_takes_requests(const struct guest_queue *q)
{
	return !guest_queue_has_output(q) && q->reqs.bytes < BYTES_MAX;
}

/* One message from the kernel into q->scratch; its length, 0 when there is none. */
static ssize_t read_request(struct guest_queue *q)
{
	if (!q->scratch)
		q->scratch = guest_req_new(&q->reqs, FP_FRAME_MAX);
	for (;;) {
		ssize_t n = read(q->fuse_fd, q->scratch->frame + FP_HEAD_SIZE, FP_MSG_MAX);

		if (n >= (ssize_t)sizeof(struct fuse_in_header))
			return n;
		if (n >= 0) /* never from the kernel */
			return -ENODEV;
		if (errno == EAGAIN)
			return 0;
		/* ENOENT: the caller gave up between the kernel's look and our read. */
		if (errno != EINTR && errno != ENOENT)
			return -ENODEV;
	}
}

static uint16_t add_groups(struct guest_queue *q, const struct fuse_in_header *in, size_t msg_len,
			   struct buf *trailer)
{
	const uint8_t *msg = q->scratch->frame + FP_HEAD_SIZE;

	pthread_mutex_lock(&q->pump->lock);
	bool wants = fp_wants_groups(q->pump->rules, q->pump->n_rules, msg, msg_len);
	pthread_mutex_unlock(&q->pump->lock);
	return wants ? guest_groups_item(in->pid, trailer) : 0;
}

/* Makes a frame of the message in q->scratch, which is used up when it is large. */
static struct guest_req *frame_request(struct guest_queue *q, size_t msg_len)
{
	auto_buf struct buf trailer = BUF_INIT(FP_TRAILER_MAX);
	struct guest_req *req = q->scratch;
	struct fuse_in_header in;
	size_t len = FP_HEAD_SIZE + fp_pad(msg_len);

	memcpy(&in, req->frame + FP_HEAD_SIZE, sizeof(in));
	uint16_t n = add_groups(q, &in, msg_len, &trailer);
	memset(req->frame + FP_HEAD_SIZE + msg_len, 0, fp_pad(msg_len) - msg_len);
	if (trailer.len)
		memcpy(req->frame + len, trailer.data, trailer.len);
	fp_head_put(req->frame, 0, n, msg_len, trailer.len);
	len += trailer.len;
	if (len > SMALL_MAX) {
		q->scratch = NULL;
	} else {
		req = guest_req_new(&q->reqs, len);
		memcpy(req->frame, q->scratch->frame, len);
	}
	req->len = len;
	req->unique = in.unique;
	req->wants_answer = in.opcode != FUSE_FORGET && in.opcode != FUSE_BATCH_FORGET &&
			    in.opcode != FUSE_INTERRUPT;
	return req;
}

/* For the day the interrupted request is sent again. */
static void note_interrupt(struct guest_pump *pump, const struct guest_req *req, size_t msg_len)
{
	struct guest_interrupt note = {.len = (uint8_t)req->len};
	struct fuse_interrupt_in in;

	if (msg_len < sizeof(struct fuse_in_header) + sizeof(in) || req->len > sizeof(note.frame))
		return;
	memcpy(&in, req->frame + FP_HEAD_SIZE + sizeof(struct fuse_in_header), sizeof(in));
	memcpy(note.frame, req->frame, req->len);
	note.target = in.unique;
	pthread_mutex_lock(&pump->lock);
	/* One that came too late for its request stays until it is overwritten. */
	if (pump->n_interrupted < GUEST_INTERRUPTED_MAX)
		pump->interrupted[pump->n_interrupted++] = note;
	else
		pump->interrupted[pump->oldest_interrupted++ % GUEST_INTERRUPTED_MAX] = note;
	pthread_mutex_unlock(&pump->lock);
}

static void forget_interrupt(struct guest_pump *pump, uint64_t target)
{
	if (atomic_load_explicit(&pump->n_interrupted, memory_order_relaxed) == 0)
		return;
	pthread_mutex_lock(&pump->lock);
	for (size_t i = 0; i < pump->n_interrupted;) {
		if (pump->interrupted[i].target == target)
			pump->interrupted[i] = pump->interrupted[--pump->n_interrupted];
		else
			i++;
	}
	pthread_mutex_unlock(&pump->lock);
}

static uint32_t opcode_of(const struct guest_req *req)
{
	struct fuse_in_header in;

	memcpy(&in, req->frame + FP_HEAD_SIZE, sizeof(in));
	return in.opcode;
}

static ssize_t take_requests(struct guest_queue *q)
{
	ssize_t taken = 0;

	if (!guest_queue_takes_requests(q))
		return 0;
	for (int i = 0; i < ROUND_MAX && taken < (ssize_t)UNSENT_MAX; i++) {
		ssize_t n = read_request(q);

		if (n < 0)
			return n;
		if (n == 0)
			break;
		struct guest_req *req = frame_request(q, (size_t)n);
		if (opcode_of(req) == FUSE_INTERRUPT)
			note_interrupt(q->pump, req, (size_t)n);
		guest_reqs_add(&q->reqs, req);
		taken += n;
	}
	return taken;
}

static ssize_t send_requests(struct guest_queue *q)
{
	struct iovec iov[IOV_COUNT];
	struct msghdr msg = {.msg_iov = iov};

	if (!guest_queue_has_output(q))
		return 0;
	msg.msg_iovlen = (__typeof__(msg.msg_iovlen))guest_reqs_iov(&q->reqs, iov, IOV_COUNT);
	ssize_t n = sendmsg(q->sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	guest_reqs_sent(&q->reqs, (size_t)n);
	return n;
}

/* The kernel's INIT is what a mount waits for before it is of any use. */
static void note_start(struct guest_pump *pump, int error)
{
	pthread_mutex_lock(&pump->lock);
	pump->started = true;
	pump->start_error = error;
	pthread_cond_broadcast(&pump->start_cond);
	pthread_mutex_unlock(&pump->lock);
}

/* ENOENT: nobody waits any more; EINVAL: the kernel has failed the request with EIO. Both leave the
 * queue usable. */
static int give_to_kernel(struct guest_queue *q, const void *msg, size_t len)
{
	if (write(q->fuse_fd, msg, len) < 0 && (errno == ENODEV || errno == EPERM))
		return -ENODEV;
	return 0;
}

static int answer(struct guest_queue *q, const uint8_t *msg, size_t len)
{
	struct fuse_out_header out;
	struct guest_req *req;

	memcpy(&out, msg, sizeof(out));
	req = out.unique ? guest_reqs_find(&q->reqs, out.unique) : NULL;
	int r = give_to_kernel(q, msg, len);
	if (!req)
		return r;
	if (opcode_of(req) == FUSE_INIT)
		note_start(q->pump, out.error);
	guest_reqs_remove(&q->reqs, req);
	forget_interrupt(q->pump, out.unique);
	return r;
}

static ssize_t take_answers(struct guest_queue *q)
{
	struct err err = {0};
	struct fp_frame f;
	ssize_t n = guest_link_receive(q);
	int r = 0;

	if (n <= 0)
		return n;
	while (r == 0 && guest_link_next(q, &f, &err) > 0) {
		r = guest_link_items(q, &f, &err);
		if (r == 0 && f.msg)
			r = answer(q, f.msg, f.msg_len);
	}
	if (r == 0)
		r = err.code;
	return r < 0 ? r : n;
}

ssize_t guest_queue_round(struct guest_queue *q)
{
	ssize_t taken = take_requests(q);
	ssize_t sent = taken < 0 ? taken : send_requests(q);
	ssize_t answered = sent < 0 ? sent : take_answers(q);

	return answered < 0 ? answered : taken + sent + answered;
}

static int refuse_one(struct guest_queue *q, const struct guest_req *req)
{
	struct fuse_out_header out = {
		.len = sizeof(out), .error = -ENOTCONN, .unique = req->unique};

	if (!req->wants_answer)
		return 0;
	forget_interrupt(q->pump, req->unique);
	if (opcode_of(req) == FUSE_INIT)
		note_start(q->pump, -ENOTCONN);
	return give_to_kernel(q, &out, sizeof(out));
}

/* Who is refused may ask again at once, and go on doing so. */
int guest_queue_refuse(struct guest_queue *q, uint64_t until_ms)
{
	int r = 0;

	do {
		while (r == 0 && q->reqs.first) {
			r = refuse_one(q, q->reqs.first);
			guest_reqs_remove(&q->reqs, q->reqs.first);
		}
		ssize_t n = r < 0 ? r : take_requests(q);
		r = n < 0 ? (int)n : 0;
	} while (r == 0 && q->reqs.first && now_ms() < until_ms);
	return r;
}

void guest_queue_rewind(struct guest_queue *q)
{
	struct guest_pump *pump = q->pump;

	guest_reqs_rewind(&q->reqs, FP_F_RESENT);
	pthread_mutex_lock(&pump->lock);
	for (size_t i = 0; i < pump->n_interrupted; i++) {
		const struct guest_interrupt *note = &pump->interrupted[i];
		struct guest_req *req;

		if (!guest_reqs_find(&q->reqs, note->target))
			continue;
		req = guest_req_new(&q->reqs, note->len);
		memcpy(req->frame, note->frame, note->len);
		req->len = note->len;
		guest_reqs_add(&q->reqs, req);
	}
	pthread_mutex_unlock(&pump->lock);
}
