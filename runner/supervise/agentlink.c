#include "agentlink.h"

#include "cleanup.h"
#include "frame.h"
#include "io.h"
#include "tlv.h"
#include "xalloc.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK 16384u
#define OUT_MAX (4u << 20)

struct pending {
	uint64_t id; /* 0: free */
	uint64_t deadline_ms;
	agentlink_done done;
	void *data;
};

struct agentlink {
	struct loop *loop;
	struct loop_source src, timer;
	struct agentlink_ops ops;
	void *data;
	struct buf in, out;
	struct pending pending[AGENTLINK_PENDING_MAX];
	uint64_t next_id;
};

/* One frame from the agent, its known fields taken apart. */
struct message {
	uint64_t id, code, ms, exit_code, version, stream;
	bool has_exit;
	char *name, *state, *text, *boot_id;
};

static void message_free(struct message *m)
{
	free(m->name);
	free(m->state);
	free(m->text);
	free(m->boot_id);
}

static const char *text_or_empty(const char *s)
{
	return s ? s : "";
}

static int take_text(const struct tlv *t, char **ret, struct err *err)
{
	char *s = NULL;
	int r = tlv_str(t, AGENTLINK_TEXT_MAX, &s, err);

	if (r < 0)
		return r;
	free(*ret);
	*ret = s;
	return 0;
}

static int take_field(struct message *m, const struct tlv *t, struct err *err)
{
	struct {
		uint16_t tag;
		uint64_t *number;
		char **text;
	} fields[] = {
		{TAG_ID, &m->id, NULL},           {TAG_CODE, &m->code, NULL},
		{TAG_MS, &m->ms, NULL},           {TAG_EXIT_CODE, &m->exit_code, NULL},
		{TAG_VERSION, &m->version, NULL}, {TAG_NAME, NULL, &m->name},
		{TAG_STATE, NULL, &m->state},     {TAG_TEXT, NULL, &m->text},
		{TAG_BOOT_ID, NULL, &m->boot_id}, {TAG_STREAM, &m->stream, NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (fields[i].tag != t->tag)
			continue;
		m->has_exit |= t->tag == TAG_EXIT_CODE;
		return fields[i].number ? tlv_u64(t, fields[i].number, err)
					: take_text(t, fields[i].text, err);
	}
	return 0;
}

static int take_message(const struct frame *f, struct message *m, struct err *err)
{
	size_t pos = 0;
	struct tlv t = {0};
	int r = 0;

	while ((r = tlv_next(f->body, f->len, &pos, &t, err)) > 0) {
		r = take_field(m, &t, err);
		if (r < 0)
			break;
	}
	return r;
}

static void arm_timer(struct agentlink *c);

static void answer(struct agentlink *c, struct pending *p, const struct agentlink_answer *a)
{
	struct pending done = *p;

	*p = (struct pending){0};
	arm_timer(c);
	if (done.done)
		done.done(done.data, a);
}

static void take_reply(struct agentlink *c, const struct message *m)
{
	struct agentlink_answer a = {
		.code = m->code > 0 && m->code < 4096 ? -(int)m->code
			: m->code                     ? -EIO
						      : 0,
		.text = text_or_empty(m->text),
		.version = m->version,
		.boot_id = text_or_empty(m->boot_id),
	};

	/* An id nobody waits for any more: its deadline has passed. */
	for (size_t i = 0; m->id && i < AGENTLINK_PENDING_MAX; i++) {
		if (c->pending[i].id == m->id) {
			answer(c, &c->pending[i], &a);
			return;
		}
	}
}

static void take_event(struct agentlink *c, enum agent_msg msg, const struct message *m)
{
	struct agentlink_event ev = {
		.name = text_or_empty(m->name),
		.state = text_or_empty(m->state),
		.text = text_or_empty(m->text),
		.exit_code = m->has_exit ? (int)(m->exit_code & 255) : -1,
		.ms = m->ms,
		.stream = m->stream,
	};

	c->ops.event(c->data, msg, &ev);
}

static int take_frame(struct agentlink *c, const struct frame *f, struct err *err)
{
	struct message m = {0};
	int r = take_message(f, &m, err);

	if (r >= 0 && f->type == MSG_REPLY)
		take_reply(c, &m);
	else if (r >= 0 && f->type >= MSG_EVENT_CONTAINER && f->type <= MSG_EVENT_VOLUME)
		take_event(c, (enum agent_msg)f->type, &m);
	message_free(&m);
	return r;
}

static int drain(struct agentlink *c, struct err *err)
{
	for (;;) {
		struct frame f = {0};
		size_t used = 0;
		int r = frame_get((const uint8_t *)buf_str(&c->in), c->in.len, AGENT_CONTROL_MAX,
				  &f, &used, err);

		if (r > 0)
			r = take_frame(c, &f, err) < 0 ? -EBADMSG : 1;
		if (r <= 0)
			return r;
		buf_consume(&c->in, used);
	}
}

static void lose(struct agentlink *c, const char *why)
{
	loop_remove(c->loop, &c->src);
	loop_remove(c->loop, &c->timer);
	c->ops.lost(c->data, why);
}

static int flush(struct agentlink *c)
{
	while (c->out.len > 0) {
		ssize_t n = send(c->src.fd, c->out.data, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return -errno;
		buf_consume(&c->out, (size_t)n);
	}
	return loop_mod(c->loop, &c->src, EPOLLIN | (c->out.len > 0 ? EPOLLOUT : 0u));
}

static void on_control(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct agentlink *c = src->data;
	uint8_t chunk[CHUNK];
	struct err err = {0};
	ssize_t n = 0;

	(void)loop;
	if ((events & EPOLLOUT) && flush(c) < 0) {
		lose(c, "cannot write to the agent");
		return;
	}
	n = recv(src->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		lose(c, "the agent closed its control connection");
		return;
	}
	buf_add(&c->in, chunk, (size_t)n);
	if (drain(c, &err) < 0)
		lose(c, err.msg);
}

static void on_timer(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct agentlink *c = src->data;
	const struct agentlink_answer late = {.code = -ETIMEDOUT, .text = "no answer in time"};

	(void)loop;
	(void)events;
	for (size_t i = 0; i < AGENTLINK_PENDING_MAX; i++) {
		struct pending *p = &c->pending[i];

		if (p->id && now_ms() >= p->deadline_ms)
			answer(c, p, &late);
	}
	arm_timer(c);
}

static void arm_timer(struct agentlink *c)
{
	uint64_t first_ms = UINT64_MAX, now = now_ms();

	for (size_t i = 0; i < AGENTLINK_PENDING_MAX; i++)
		if (c->pending[i].id && c->pending[i].deadline_ms < first_ms)
			first_ms = c->pending[i].deadline_ms;
	if (first_ms == UINT64_MAX)
		loop_remove(c->loop, &c->timer);
	else
		(void)loop_timer(c->loop, &c->timer, first_ms > now ? first_ms - now : 0, 0,
				 on_timer, c, NULL);
}

int agentlink_new(struct loop *loop, int fd, const struct agentlink_ops *ops, void *data,
		  struct agentlink **ret, struct err *err)
{
	auto_close int owned = fd;
	struct agentlink *c = xcalloc(1, sizeof(*c));
	int r = 0;

	c->loop = loop;
	c->ops = *ops;
	c->data = data;
	c->in = (struct buf)BUF_INIT(FRAME_HEAD_SIZE + AGENT_CONTROL_MAX + CHUNK);
	c->out = (struct buf)BUF_INIT(OUT_MAX);
	r = loop_add(loop, &c->src, fd, EPOLLIN, on_control, c, err);
	if (r < 0) {
		free(c);
		return r;
	}
	(void)TAKE_FD(owned);
	*ret = c;
	return 0;
}

void agentlink_free(struct agentlink *c)
{
	const struct agentlink_answer over = {
		.code = -ECANCELED, .over = true, .text = "the VM has ended"};

	if (!c)
		return;
	for (size_t i = 0; i < AGENTLINK_PENDING_MAX; i++)
		if (c->pending[i].id)
			answer(c, &c->pending[i], &over);
	loop_remove(c->loop, &c->src);
	loop_remove(c->loop, &c->timer);
	close(c->src.fd);
	buf_free(&c->in);
	buf_free(&c->out);
	free(c);
}

static struct pending *free_slot(struct agentlink *c)
{
	for (size_t i = 0; i < AGENTLINK_PENDING_MAX; i++)
		if (!c->pending[i].id)
			return &c->pending[i];
	return NULL;
}

int agentlink_request(struct agentlink *c, enum agent_msg msg, const struct buf *body,
		      uint64_t timeout_ms, agentlink_done done, void *data, struct err *err)
{
	auto_buf struct buf whole = BUF_INIT(AGENT_CONTROL_MAX);
	struct pending *p = free_slot(c);

	if (!p)
		return err_set(err, ERR_GUEST, -EBUSY, "the agent owes %u answers already",
			       AGENTLINK_PENDING_MAX);
	tlv_put_u64(&whole, TAG_ID, ++c->next_id);
	if (body)
		buf_add(&whole, body->data, body->len);
	frame_put(&c->out, (uint16_t)msg, 0, whole.data, whole.len);
	if (!buf_ok(&whole) || !buf_ok(&c->out))
		return err_set(err, ERR_GUEST, -EMSGSIZE, "%s is too big for the agent",
			       agent_msg_name((uint16_t)msg));
	*p = (struct pending){.id = c->next_id,
			      .deadline_ms = deadline_in(timeout_ms),
			      .done = done,
			      .data = data};
	arm_timer(c);
	/* A failure shows up as the end of the connection, in the loop. */
	(void)flush(c);
	return 0;
}
