#include "ctl.h"

#include "buf.h"
#include "cleanup.h"
#include "client.h"
#include "frame.h"
#include "io.h"
#include "utf8.h"
#include "xalloc.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define OUT_MAX (4u << 20)
#define PROGRESS_QUEUE_MAX (64u << 10)
#define FLUSH_MS 1000

struct ctl_conn {
	struct ctl *ctl;
	struct ctl_conn *prev, *next;
	struct loop_source src;
	struct buf in, out;
	bool greeted;
	bool asked;   /* its one request was taken */
	bool closing; /* gone as soon as out is empty */
	bool gone;    /* on the list of the dead */
	struct ctl_request *req;
};

struct ctl_request {
	struct ctl_conn *conn; /* NULL: the client is gone */
	void (*gone)(void *data, struct ctl_request *req);
	void *gone_data;
};

struct ctl {
	struct loop *loop;
	char *path;
	struct loop_source listener;
	ctl_handler fn;
	void *data;
	struct ctl_conn *conns, *dead;
	size_t n_conns;
};

/* Its memory stays until sweep(): callers further up still look at it. */
static void conn_free(struct ctl_conn *c)
{
	struct ctl_request *req = c->req;

	c->gone = true;
	c->req = NULL;
	loop_remove(c->ctl->loop, &c->src);
	close(c->src.fd);
	if (c->prev)
		c->prev->next = c->next;
	else
		c->ctl->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	c->ctl->n_conns--;
	buf_free(&c->in);
	buf_free(&c->out);
	c->next = c->ctl->dead;
	c->ctl->dead = c;
	if (!req)
		return;
	req->conn = NULL;
	if (req->gone)
		req->gone(req->gone_data, req);
}

/* From the loop's top only. */
static void sweep(struct ctl *ctl)
{
	struct ctl_conn *next = NULL;

	for (struct ctl_conn *c = ctl->dead; c; c = next) {
		next = c->next;
		free(c);
	}
	ctl->dead = NULL;
}

/* False: the connection is gone. */
static bool conn_flush(struct ctl_conn *c)
{
	while (c->out.len > 0) {
		ssize_t n = send(c->src.fd, c->out.data, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			conn_free(c);
			return false;
		}
		buf_consume(&c->out, (size_t)n);
	}
	if (c->out.len == 0 && c->closing) {
		conn_free(c);
		return false;
	}
	(void)loop_mod(c->ctl->loop, &c->src, EPOLLIN | (c->out.len > 0 ? EPOLLOUT : 0u));
	return true;
}

static bool conn_send(struct ctl_conn *c, enum ctl_frame type, struct json_object *o)
{
	auto_free char *text = json_line(o);

	frame_put(&c->out, (uint16_t)type, 0, text, strlen(text));
	if (!buf_ok(&c->out)) {
		conn_free(c);
		return false;
	}
	return conn_flush(c);
}

static void conn_answer(struct ctl_conn *c, struct json_object *reply)
{
	c->closing = true;
	(void)conn_send(c, CTL_REPLY, reply);
}

/* Sentences hold what guests said. */
static void add_text(struct json_object *o, const char *key, const char *text)
{
	auto_free char *clean = utf8_clean(text);

	json_add_str(o, key, clean);
}

static struct json_object *failure(const struct err *why)
{
	struct json_object *o = json_object_new_object();

	json_add_bool(o, "ok", false);
	json_add(o, "class", json_object_new_int((int)why->class));
	json_add(o, "code", json_object_new_int(why->code));
	add_text(o, "msg", why->msg);
	add_text(o, "hint", why->hint);
	return o;
}

static void conn_refuse(struct ctl_conn *c, const struct err *why)
{
	auto_json struct json_object *o = failure(why);

	conn_answer(c, o);
}

static void take_hello(struct ctl_conn *c, struct json_object *o)
{
	auto_json struct json_object *mine = json_object_new_object();
	uint64_t proto = json_opt_u64(o, "proto", 0);
	struct err err = {0};

	json_add_u64(mine, "proto", SUPERVISE_PROTO_VERSION);
	json_add_str(mine, "fcvm", FCVM_VERSION);
	c->greeted = true;
	if (!conn_send(c, CTL_HELLO, mine) || proto == SUPERVISE_PROTO_VERSION)
		return;
	(void)err_set(
		&err, ERR_FAILED, -EPROTONOSUPPORT,
		"the VM is running under fcvm %s (protocol %d), not protocol %llu; restart it "
		"to upgrade",
		FCVM_VERSION, SUPERVISE_PROTO_VERSION, (unsigned long long)proto);
	conn_refuse(c, &err);
}

static void take_request(struct ctl_conn *c, struct json_object *o)
{
	struct ctl_request *req = NULL;
	struct err err = {0};
	const char *verb = NULL;

	if (json_get_str(o, "verb", &verb, &err) < 0) {
		conn_refuse(c, &err);
		return;
	}
	req = xcalloc(1, sizeof(*req));
	req->conn = c;
	c->req = req;
	c->asked = true;
	c->ctl->fn(c->ctl->data, req, verb, json_opt_obj(o, "args"));
}

/* One frame. Nothing but c->gone may be looked at afterwards without asking that first. */
static void take_frame(struct ctl_conn *c, const struct frame *f)
{
	auto_json struct json_object *o = NULL;
	struct err err = {0};

	if (json_parse((const char *)f->body, f->len, &o, &err) < 0)
		conn_refuse(c, &err);
	else if (f->type == CTL_HELLO && !c->greeted)
		take_hello(c, o);
	else if (f->type == CTL_REQUEST && c->greeted && !c->asked)
		take_request(c, o);
	else
		conn_free(c);
}

/* One read: the loop is level-triggered and comes back for more. False: the connection is gone. */
static bool conn_read(struct ctl_conn *c)
{
	uint8_t chunk[16384];
	ssize_t n = recv(c->src.fd, chunk, sizeof(chunk), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0) {
		conn_free(c);
		return false;
	}
	if (c->closing || c->asked)
		return true; /* nothing more is wanted of it; its end still is */
	buf_add(&c->in, chunk, (size_t)n);
	return true;
}

static void conn_drain(struct ctl_conn *c)
{
	while (!c->gone && !c->closing && !c->asked) {
		struct frame f = {0};
		struct err err = {0};
		size_t used = 0;
		int r = frame_get((const uint8_t *)buf_str(&c->in), c->in.len, FRAME_BODY_MAX, &f,
				  &used, &err);

		if (r < 0)
			conn_refuse(c, &err);
		if (r <= 0)
			return;
		auto_free uint8_t *body = xmalloc(f.len + 1);

		memcpy(body, f.body, f.len);
		f.body = body;
		buf_consume(&c->in, used);
		take_frame(c, &f);
	}
}

static void on_conn(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct ctl_conn *c = src->data;

	(void)loop;
	sweep(c->ctl);
	if (!(events & EPOLLOUT) || conn_flush(c))
		if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && conn_read(c))
			conn_drain(c);
}

static bool peer_allowed(int fd)
{
	struct ucred cred = {0};
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	return cred.uid == 0 || cred.uid == geteuid();
}

static void on_accept(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct ctl *ctl = src->data;
	auto_close int fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ctl_conn *c = NULL;

	(void)events;
	sweep(ctl);
	if (fd < 0 || ctl->n_conns >= CTL_CONNS_MAX || !peer_allowed(fd))
		return;
	c = xcalloc(1, sizeof(*c));
	c->ctl = ctl;
	c->in = (struct buf)BUF_INIT(FRAME_HEAD_SIZE + FRAME_BODY_MAX + 16384);
	c->out = (struct buf)BUF_INIT(OUT_MAX);
	if (loop_add(loop, &c->src, fd, EPOLLIN, on_conn, c, NULL) < 0) {
		free(c);
		return;
	}
	(void)TAKE_FD(fd);
	c->next = ctl->conns;
	if (c->next)
		c->next->prev = c;
	ctl->conns = c;
	ctl->n_conns++;
}

int ctl_new(struct loop *loop, const char *path, ctl_handler fn, void *data, struct ctl **ret,
	    struct err *err)
{
	auto_close int fd = -1;
	struct ctl *ctl = NULL;
	int r = io_unix_listen(path, 64, &fd, err);

	if (r < 0)
		return r;
	(void)io_set_nonblock(fd, true);
	ctl = xcalloc(1, sizeof(*ctl));
	ctl->loop = loop;
	ctl->fn = fn;
	ctl->data = data;
	r = loop_add(loop, &ctl->listener, fd, EPOLLIN, on_accept, ctl, err);
	if (r < 0) {
		free(ctl);
		return r;
	}
	ctl->path = xstrdup(path);
	(void)TAKE_FD(fd);
	*ret = ctl;
	return 0;
}

static void conn_linger(struct ctl_conn *c, uint64_t deadline_ms)
{
	if (c->out.len > 0)
		(void)io_write_full(c->src.fd, c->out.data, c->out.len, deadline_ms, NULL);
	buf_reset(&c->out);
}

void ctl_free(struct ctl *ctl)
{
	uint64_t deadline_ms = deadline_in(FLUSH_MS);
	struct ctl_conn *c = NULL, *next = NULL;

	if (!ctl)
		return;
	(void)unlink(ctl->path);
	loop_remove(ctl->loop, &ctl->listener);
	close(ctl->listener.fd);
	for (c = ctl->conns; c; c = next) {
		next = c->next;
		conn_linger(c, deadline_ms);
		conn_free(c);
	}
	sweep(ctl);
	free(ctl->path);
	free(ctl);
}

void ctl_progress(struct ctl_request *req, const char *text)
{
	auto_json struct json_object *o = NULL;

	if (!req || !req->conn || req->conn->out.len > PROGRESS_QUEUE_MAX)
		return;
	o = json_object_new_object();
	add_text(o, "text", text);
	(void)conn_send(req->conn, CTL_PROGRESS, o);
}

static void request_end(struct ctl_request *req, struct json_object *reply)
{
	struct ctl_conn *c = req->conn;

	if (c) {
		c->req = NULL;
		conn_answer(c, reply);
	}
	free(req);
}

void ctl_reply(struct ctl_request *req, struct json_object *result)
{
	auto_json struct json_object *o = json_object_new_object();

	json_add_bool(o, "ok", true);
	json_add(o, "result", result);
	request_end(req, o);
}

void ctl_fail(struct ctl_request *req, const struct err *why)
{
	auto_json struct json_object *o = failure(why);

	request_end(req, o);
}

void ctl_on_gone(struct ctl_request *req, void (*fn)(void *data, struct ctl_request *req),
		 void *data)
{
	req->gone = fn;
	req->gone_data = data;
}
