/* control.c - connections to server.sock: a supervisor with its one VM, or a question. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "frame.h"
#include "io.h"
#include "log.h"
#include "memserver.h"
#include "server.h"
#include "wire.h"
#include "xalloc.h"

#define OUT_MAX (FRAME_BODY_MAX + 65536)

struct conn {
	struct server *server;
	struct loop_source src;
	int fd;
	struct buf in, out;
	int passed; /* descriptor that came with the frame being read; -1 = none */
	bool greeted;
	bool closing; /* once everything is sent */
	struct served *served;
	struct conn *next, **link;
};

struct conn *control_next(const struct conn *c)
{
	return c->next;
}

struct served *control_served(const struct conn *c)
{
	return c->served;
}

static void free_conn(struct conn *c)
{
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	c->server->n_conns--;
	loop_remove(c->server->loop, &c->src);
	served_free(c->served);
	cleanup_close_p(&c->fd);
	cleanup_close_p(&c->passed);
	buf_free(&c->in);
	buf_free(&c->out);
	free(c);
}

void control_free_all(struct server *s)
{
	struct conn *next = NULL;

	for (struct conn *c = s->conns; c; c = next) {
		next = c->next;
		free_conn(c);
	}
}

/* Sends what fits; the rest goes when the peer reads. Negative when the peer is gone. */
static int flush(struct conn *c)
{
	while (c->out.len > 0) {
		ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return loop_mod(c->server->loop, &c->src, EPOLLIN | EPOLLOUT);
		if (n < 0)
			return -errno;
		buf_consume(&c->out, (size_t)n);
	}
	return c->closing ? -EPIPE : loop_mod(c->server->loop, &c->src, EPOLLIN);
}

/* Takes body over; NULL = none. */
static int send_frame(struct conn *c, enum wire_type type, struct json_object *body)
{
	auto_json struct json_object *owned = body;
	auto_free char *text = owned ? json_line(owned) : NULL;

	frame_put(&c->out, (uint16_t)type, 0, text, text ? strlen(text) : 0);
	return buf_ok(&c->out) ? flush(c) : -ENOBUFS;
}

static struct json_object *err_to_json(const struct err *err)
{
	struct json_object *o = json_object_new_object();

	json_add_u64(o, "class", (uint64_t)err->class);
	json_add_u64(o, "code", (uint64_t)-err->code);
	json_add_str(o, "message", err->msg);
	json_add_str(o, "hint", err->hint);
	return o;
}

void control_note_handoff(struct conn *c, uint64_t bytes)
{
	struct json_object *o = json_object_new_object();

	json_add_u64(o, "bytes", bytes);
	if (send_frame(c, WIRE_HANDOFF, o) < 0)
		free_conn(c);
}

void control_report(struct conn *c, const struct err *why)
{
	c->closing = true;
	if (send_frame(c, WIRE_REPORT, err_to_json(why)) < 0)
		free_conn(c);
}

/* --- requests: each returns a negative errno when the connection must end --- */

static int reply_err(struct conn *c, const struct err *err)
{
	return send_frame(c, WIRE_ERROR, err_to_json(err));
}

static struct json_object *hello(const struct server *s)
{
	struct json_object *o = json_object_new_object();

	json_add_u64(o, "proto", MEMSERVER_PROTO_VERSION);
	json_add_str(o, "version", FCVM_VERSION);
	json_add_u64(o, "pid", (uint64_t)s->self.pid);
	json_add_u64(o, "start_time", s->self.start_time);
	json_add_str(o, "boot_id", s->self.boot_id);
	return o;
}

static int on_hello(struct conn *c, struct json_object *body)
{
	uint64_t proto = json_opt_u64(body, "proto", 0);
	struct err err = {0};

	if (proto == MEMSERVER_PROTO_VERSION) {
		c->greeted = true;
		return send_frame(c, WIRE_HELLO, hello(c->server));
	}
	(void)err_set(&err, ERR_FAILED, -EPROTO,
		      "page server %d speaks protocol %d (fcvm %s), asked for %ju: it is running "
		      "under another version; restart to upgrade",
		      c->server->self.pid, MEMSERVER_PROTO_VERSION, FCVM_VERSION, (uintmax_t)proto);
	c->closing = true;
	return reply_err(c, &err);
}

static int on_announce(struct conn *c, struct json_object *body)
{
	struct err err = {0};
	int r;

	if (c->served || c->passed < 0)
		r = err_set(&err, ERR_FAILED, -EINVAL,
			    "a connection announces one VM, with its listening socket");
	else
		r = served_announce(c->server, c, body, TAKE_FD(c->passed), &c->served, &err);
	return r < 0 ? reply_err(c, &err) : send_frame(c, WIRE_OK, NULL);
}

/* A thread that hangs is a server that hangs: silence makes the supervisors act. */
static int on_ping(struct conn *c, struct json_object *body)
{
	(void)body;
	return serve_alive(c->server->serve) ? send_frame(c, WIRE_PONG, NULL) : 0;
}

static int on_metrics(struct conn *c, struct json_object *body)
{
	(void)body;
	return send_frame(c, WIRE_METRICS, server_metrics(c->server));
}

static int on_stop(struct conn *c, struct json_object *body)
{
	struct server *s = c->server;
	struct err err = {0};
	unsigned int live = 0;

	for (const struct conn *at = s->conns; at; at = at->next)
		live += at->served && served_is_live(at->served);
	if (live > 0 && !json_opt_bool(body, "force", false)) {
		(void)err_set(&err, ERR_BUSY, -EBUSY, "page server %d still serves %u VM%s",
			      s->self.pid, live, live == 1 ? "" : "s");
		return reply_err(c, &err);
	}
	log_debug("told to stop, serving %u VMs", live);
	loop_stop(s->loop, 0);
	return send_frame(c, WIRE_OK, NULL);
}

static const struct {
	int (*run)(struct conn *c, struct json_object *body);
} requests[] = {
	[WIRE_HELLO] = {on_hello},     [WIRE_ANNOUNCE] = {on_announce}, [WIRE_PING] = {on_ping},
	[WIRE_METRICS] = {on_metrics}, [WIRE_STOP] = {on_stop},
};

static int run_request(struct conn *c, const struct frame *f)
{
	auto_json struct json_object *body = NULL;
	int r = 0;

	if (f->type >= ARRAY_SIZE(requests) || !requests[f->type].run ||
	    (!c->greeted && f->type != WIRE_HELLO))
		return -EPROTO;
	if (f->len > 0)
		r = json_parse((const char *)f->body, f->len, &body, NULL);
	if (r == 0)
		r = requests[f->type].run(c, body);
	/* What came with a frame belongs to that frame. */
	cleanup_close_p(&c->passed);
	return r;
}

static int run_requests(struct conn *c)
{
	while (!c->closing) {
		struct frame f;
		size_t used = 0;
		int r = frame_get((const uint8_t *)c->in.data, c->in.len, WIRE_BODY_MAX, &f, &used,
				  NULL);

		if (r > 0)
			r = run_request(c, &f);
		else
			return r;
		if (r < 0)
			return r;
		buf_consume(&c->in, used);
	}
	return 0;
}

static int receive(struct conn *c)
{
	char data[WIRE_BODY_MAX];
	struct err why = {0};
	size_t n_fds = 0;
	int fd = -1;
	ssize_t n = io_recv_fds(c->fd, data, sizeof(data), &fd, 1, &n_fds, MSG_DONTWAIT, &why);

	if (n == -EAGAIN)
		return 0;
	if (n <= 0)
		return n < 0 ? (int)n : -EPIPE;
	if (n_fds > 0) {
		cleanup_close_p(&c->passed);
		c->passed = fd;
	}
	buf_add(&c->in, data, (size_t)n);
	return buf_ok(&c->in) ? run_requests(c) : -EMSGSIZE;
}

static void on_event(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct conn *c = src->data;
	int r = 0;

	(void)loop;
	if (events & EPOLLOUT)
		r = flush(c);
	if (r >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		r = receive(c);
	if (r < 0)
		free_conn(c);
}

static bool may_connect(const struct server *s, int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	       (peer.uid == 0 || peer.uid == s->owner);
}

int control_accept(struct server *s, int fd, struct err *err)
{
	auto_close int owned = fd;
	int r;

	if (s->n_conns >= SERVER_CONNS_MAX || !may_connect(s, fd)) {
		s->refused++;
		return 0;
	}
	struct conn *c = xcalloc(1, sizeof(*c));
	c->server = s;
	c->passed = -1;
	c->in = (struct buf)BUF_INIT((size_t)3 * WIRE_BODY_MAX);
	c->out = (struct buf)BUF_INIT(OUT_MAX);
	c->fd = TAKE_FD(owned);
	c->next = s->conns;
	c->link = &s->conns;
	if (c->next)
		c->next->link = &c->next;
	s->conns = c;
	s->n_conns++;
	r = loop_add(s->loop, &c->src, c->fd, EPOLLIN, on_event, c, err);
	if (r < 0)
		free_conn(c);
	return r;
}
