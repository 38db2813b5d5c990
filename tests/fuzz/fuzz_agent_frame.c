/* fuzz_agent_frame.c - what a hostile host writes to the agent's services, and what a hostile
 * guest answers: framing through chan.c, then every decoder of the message. What a decoder accepts
 * must survive being encoded and decoded again, and is the same from then on (the first time,
 * defaults are filled in). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chan.h"
#include "cleanup.h"
#include "io.h"
#include "proto.h"
#include "proto_workload.h"
#include "tlv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond)              \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

static bool same(const struct buf *a, const struct buf *b)
{
	return a->len == b->len && memcmp(buf_str(a), buf_str(b), a->len) == 0;
}

/* What was encoded in this round is what the next one is compared with. */
static void next_round(struct buf *once, struct buf *twice)
{
	struct buf spare = *twice;

	*twice = *once;
	*once = spare;
	buf_reset(once);
}

/* The value of the one field in `once`. */
static void unwrap(const struct buf *once, uint16_t tag, const uint8_t **ret_value, size_t *ret_len)
{
	CHECK(proto_find((const uint8_t *)buf_str(once), once->len, tag, ret_value, ret_len,
			 NULL) == 1);
}

static void take_container(const uint8_t *value, size_t len)
{
	auto_buf struct buf once = BUF_INIT(SIZE_MAX), twice = BUF_INIT(SIZE_MAX);

	for (int i = 0; i < 3; i++) {
		auto_proto_container struct proto_container c = {0};
		int r = proto_get_container(value, len, &c, NULL);

		CHECK(r == 0 || i == 0);
		if (r < 0)
			return;
		next_round(&once, &twice);
		proto_put_container(&once, &c);
		if (!buf_ok(&once))
			return;
		unwrap(&once, TAG_CONTAINER, &value, &len);
	}
	CHECK(same(&once, &twice));
}

static void take_health(const uint8_t *value, size_t len)
{
	auto_buf struct buf once = BUF_INIT(SIZE_MAX), twice = BUF_INIT(SIZE_MAX);

	for (int i = 0; i < 3; i++) {
		auto_proto_health struct proto_health h = {0};
		int r = proto_get_health(value, len, &h, NULL);

		CHECK(r == 0 || i == 0);
		if (r < 0)
			return;
		next_round(&once, &twice);
		proto_put_health(&once, &h);
		if (!buf_ok(&once))
			return;
		unwrap(&once, TAG_HEALTH, &value, &len);
	}
	CHECK(same(&once, &twice));
}

static void take_resume(const uint8_t *body, size_t len)
{
	auto_buf struct buf once = BUF_INIT(SIZE_MAX), twice = BUF_INIT(SIZE_MAX);

	for (int i = 0; i < 3; i++) {
		auto_proto_resume struct proto_resume id = {0};
		int r = proto_get_resume(body, len, &id, NULL);

		CHECK(r == 0 || i == 0);
		if (r < 0)
			return;
		next_round(&once, &twice);
		proto_put_resume(&once, &id);
		if (!buf_ok(&once))
			return;
		body = (const uint8_t *)buf_str(&once);
		len = once.len;
	}
	CHECK(same(&once, &twice));
}

/* Numbers and texts as either side reads them. */
static void take_plain(const struct frame *f)
{
	size_t pos = 0;
	struct tlv t;

	while (tlv_next(f->body, f->len, &pos, &t, NULL) > 0) {
		auto_free char *text = NULL, *first = NULL;
		uint64_t n;

		CHECK(t.value >= f->body && t.value + t.len <= f->body + f->len);
		(void)tlv_u64(&t, &n, NULL);
		(void)proto_find_u64(f->body, f->len, t.tag, 7, &n, NULL);
		if (tlv_str(&t, 4096, &text, NULL) == 0)
			CHECK(strlen(text) == t.len && t.len <= 4096);
		(void)proto_find_str(f->body, f->len, t.tag, 4096, &first, NULL);
	}
}

static void on_frame(struct chan *chan, void *data, const struct frame *f)
{
	auto_proto_hooks struct proto_hooks hooks = {0};
	const uint8_t *value;
	size_t len;

	(void)chan;
	(void)data;
	CHECK(f->len <= AGENT_CONTROL_MAX);
	CHECK(agent_msg_name(f->type));
	take_plain(f);
	take_resume(f->body, f->len);
	(void)proto_get_hooks(f->body, f->len, &hooks, NULL);
	if (proto_find(f->body, f->len, TAG_CONTAINER, &value, &len, NULL) > 0)
		take_container(value, len);
	if (proto_find(f->body, f->len, TAG_HEALTH, &value, &len, NULL) > 0)
		take_health(value, len);
}

static void on_closed(struct chan *chan, void *data)
{
	bool *closed = data;

	(void)chan;
	*closed = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct chan_ops ops = {on_frame, NULL, on_closed};
	auto_loop struct loop *loop = NULL;
	struct chan *chan = NULL;
	bool closed = false;
	int pair[2];

	CHECK(loop_new(&loop, NULL) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	CHECK(chan_new(loop, pair[0], AGENT_CONTROL_MAX, &ops, &closed, &chan, NULL) == 0);
	CHECK(io_set_nonblock(pair[1], true) == 0);
	for (size_t at = 0; at < size && !closed;) {
		ssize_t n = send(pair[1], data + at, size - at, MSG_NOSIGNAL);

		at += n > 0 ? (size_t)n : 0;
		(void)loop_once(loop, 0, NULL);
	}
	(void)close(pair[1]);
	while (!closed)
		CHECK(loop_once(loop, 1000, NULL) >= 0);
	return 0;
}
