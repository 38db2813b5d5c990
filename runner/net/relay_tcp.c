/* relay_tcp.c - queries over TCP: what did not fit a datagram. One question at a time on every
 * connection, each asked over a connection of its own. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "io.h"
#include "relay_priv.h"
#include "xalloc.h"

#define LENGTH_SIZE 2u /* before every message */

struct client {
	struct relay *relay;
	struct client *prev, *next;
	struct loop_source guest, host;
	struct buf in, out;   /* from and to the guest */
	struct buf ask, said; /* to and from the resolver */
	struct dns_question q;
	bool asking;
	uint16_t id;
	size_t resolver;
	uint64_t deadline_ms;
};

static void close_source(struct client *c, struct loop_source *src)
{
	loop_remove(c->relay->spec.loop, src);
	cleanup_close_p(&src->fd);
	src->fd = -1;
}

static void client_free(struct client *c)
{
	struct relay *r = c->relay;

	close_source(c, &c->guest);
	close_source(c, &c->host);
	if (c->prev)
		c->prev->next = c->next;
	else
		r->clients = c->next;
	if (c->next)
		c->next->prev = c->prev;
	r->n_clients--;
	buf_free(&c->in);
	buf_free(&c->out);
	buf_free(&c->ask);
	buf_free(&c->said);
	free(c);
}

/* The length of the message at the front of b, 0 while it is not whole. */
static size_t whole_message(const struct buf *b)
{
	const uint8_t *at = (const uint8_t *)b->data;
	size_t len = 0;

	if (b->len < LENGTH_SIZE)
		return 0;
	len = (size_t)(at[0] << 8 | at[1]);
	return b->len >= LENGTH_SIZE + len ? len : 0;
}

static void put_message(struct buf *b, const uint8_t *msg, size_t len)
{
	const uint8_t head[LENGTH_SIZE] = {(uint8_t)(len >> 8), (uint8_t)len};

	buf_add(b, head, sizeof(head));
	buf_add(b, msg, len);
}

/* Sends what there is; false: the connection is broken. */
static bool flush(struct loop *loop, struct loop_source *src, struct buf *b, uint32_t idle_events)
{
	ssize_t n = b->len ? send(src->fd, b->data, b->len, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return false;
	if (n > 0)
		buf_consume(b, (size_t)n);
	return loop_mod(loop, src, b->len ? EPOLLOUT : idle_events) >= 0;
}

static bool flush_guest(struct client *c)
{
	/* While a question is open the guest is not read: its next one waits in the kernel. */
	return flush(c->relay->spec.loop, &c->guest, &c->out, c->asking ? 0 : EPOLLIN);
}

static bool say(struct client *c, const uint8_t *msg, size_t len)
{
	c->asking = false;
	c->deadline_ms = deadline_in(RELAY_IDLE_MS);
	put_message(&c->out, msg, len);
	return flush_guest(c);
}

/* --- the resolver's side --------------------------------------------------------------------- */

static void on_host(struct loop *loop, struct loop_source *src, uint32_t events);

static int ask_one(struct client *c, const struct resolver *to)
{
	const struct relay_spec *spec = &c->relay->spec;
	int fd = spec->host_socket(spec->data, to->at.ss_family, SOCK_STREAM);

	if (fd < 0)
		return fd;
	c->host.fd = fd;
	if (connect(fd, (const struct sockaddr *)&to->at, to->len) < 0 && errno != EINPROGRESS)
		return -errno;
	return loop_add(spec->loop, &c->host, fd, EPOLLOUT, on_host, c, NULL);
}

static bool give_up(struct client *c)
{
	uint8_t reply[DNS_QUERY_MAX];
	size_t len = dns_make_reply((const uint8_t *)c->in.data + LENGTH_SIZE, &c->q, DNS_SERVFAIL,
				    reply);

	close_source(c, &c->host);
	buf_consume(&c->in, LENGTH_SIZE + whole_message(&c->in));
	return say(c, reply, len);
}

/* False: the client has to go. */
static bool ask(struct client *c)
{
	struct resolvers *to = &c->relay->resolvers;

	while (c->resolver < to->n) {
		close_source(c, &c->host);
		c->id = relay_draw_id();
		buf_reset(&c->ask);
		buf_reset(&c->said);
		put_message(&c->ask, (const uint8_t *)c->in.data + LENGTH_SIZE,
			    whole_message(&c->in));
		dns_set_id((uint8_t *)c->ask.data + LENGTH_SIZE, c->id);
		c->deadline_ms = deadline_in(RELAY_ASK_MS);
		if (ask_one(c, &to->v[c->resolver++]) >= 0)
			return true;
	}
	return give_up(c);
}

static bool answer(struct client *c)
{
	uint8_t *msg = (uint8_t *)c->said.data + LENGTH_SIZE;
	size_t len = whole_message(&c->said);

	if (!dns_is_answer(msg, len, &c->q, c->id) || !relay_admit(c->relay, &c->q, msg, len))
		return give_up(c);
	close_source(c, &c->host);
	buf_consume(&c->in, LENGTH_SIZE + whole_message(&c->in));
	dns_set_id(msg, c->q.id);
	return say(c, msg, len);
}

static bool take_guest(struct client *c);

static bool host_step(struct client *c, uint32_t events)
{
	uint8_t chunk[16384];
	ssize_t n = 0;

	if (events & EPOLLOUT)
		return flush(c->relay->spec.loop, &c->host, &c->ask, EPOLLIN) || ask(c);
	n = recv(c->host.fd, chunk, sizeof(chunk), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0)
		return ask(c);
	buf_add(&c->said, chunk, (size_t)n);
	if (whole_message(&c->said) == 0)
		return buf_ok(&c->said);
	return answer(c) && take_guest(c);
}

static void on_host(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct client *c = src->data;

	(void)loop;
	if (!host_step(c, events))
		client_free(c);
}

/* --- the guest's side ------------------------------------------------------------------------ */

/* Questions that are whole, up to the first one that has to be asked. */
static bool take_guest(struct client *c)
{
	while (!c->asking) {
		const uint8_t *msg = (const uint8_t *)c->in.data + LENGTH_SIZE;
		size_t len = whole_message(&c->in), reply_len = 0;
		uint8_t reply[DNS_QUERY_MAX];
		enum relay_verdict verdict = RELAY_DROP;

		if (len == 0)
			return buf_ok(&c->in);
		verdict = relay_judge(c->relay, msg, len, &c->q, reply, &reply_len);
		if (verdict == RELAY_DROP)
			return false;
		if (verdict == RELAY_ASK) {
			c->asking = true;
			c->resolver = 0;
			resolvers_refresh(&c->relay->resolvers);
			return flush_guest(c) && ask(c);
		}
		buf_consume(&c->in, LENGTH_SIZE + len);
		if (!say(c, reply, reply_len) || !buf_ok(&c->out))
			return false;
	}
	return true;
}

static bool guest_step(struct client *c, uint32_t events)
{
	uint8_t chunk[DNS_QUERY_MAX];
	ssize_t n = 0;

	if (events & EPOLLOUT)
		return flush_guest(c);
	if (!(events & EPOLLIN))
		return false;
	n = recv(c->guest.fd, chunk, sizeof(chunk), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0)
		return false;
	buf_add(&c->in, chunk, (size_t)n);
	return take_guest(c);
}

static void on_guest(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct client *c = src->data;

	(void)loop;
	if (!guest_step(c, events))
		client_free(c);
}

static void on_accept(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct relay *r = src->data;
	auto_close int fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c = NULL;

	(void)events;
	if (fd < 0 || r->n_clients >= RELAY_CLIENTS_MAX)
		return;
	c = xcalloc(1, sizeof(*c));
	c->relay = r;
	c->host.fd = -1;
	c->deadline_ms = deadline_in(RELAY_IDLE_MS);
	c->in = (struct buf)BUF_INIT(4 * DNS_QUERY_MAX);
	c->ask = (struct buf)BUF_INIT(LENGTH_SIZE + DNS_QUERY_MAX);
	c->out = c->said = (struct buf)BUF_INIT(2 * (LENGTH_SIZE + DNS_MESSAGE_MAX));
	if (loop_add(loop, &c->guest, fd, EPOLLIN, on_guest, c, NULL) < 0) {
		free(c);
		return;
	}
	(void)TAKE_FD(fd);
	c->next = r->clients;
	if (c->next)
		c->next->prev = c;
	r->clients = c;
	r->n_clients++;
}

int relay_tcp_listen(struct relay *r, const char *ip, struct err *err)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(RELAY_PORT)};
	auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int on = 1;
	int e = 0;

	if (fd < 0)
		return err_sys(err, "cannot open a socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	(void)inet_pton(AF_INET, ip, &at.sin_addr);
	if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
		return err_sys(err, "cannot bind %s:%d/tcp", ip, RELAY_PORT);
	if (listen(fd, (int)RELAY_CLIENTS_MAX) < 0)
		return err_sys(err, "cannot listen on %s:%d/tcp", ip, RELAY_PORT);
	e = loop_add(r->spec.loop, &r->tcp, fd, EPOLLIN, on_accept, r, err);
	if (e >= 0)
		(void)TAKE_FD(fd);
	return e;
}

void relay_tcp_tick(struct relay *r, uint64_t now_ms)
{
	struct client *next = NULL;

	for (struct client *c = r->clients; c; c = next) {
		next = c->next;
		if (c->deadline_ms > now_ms)
			continue;
		if (!c->asking || !ask(c))
			client_free(c);
	}
}

void relay_tcp_free(struct relay *r)
{
	struct client *next = NULL;

	for (struct client *c = r->clients; c; c = next) {
		next = c->next;
		client_free(c);
	}
	loop_remove(r->spec.loop, &r->tcp);
	cleanup_close_p(&r->tcp.fd);
}
