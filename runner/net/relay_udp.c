/* relay_udp.c - queries over UDP: each has a socket of its own on the host's side, connected to the
 * resolver it asks, so that nobody else can answer. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "relay_priv.h"
#include "xalloc.h"

struct exchange {
	struct relay *relay;
	struct exchange *prev, *next;
	struct loop_source src;
	struct sockaddr_in guest;
	struct dns_question q;
	uint16_t id; /* ours */
	size_t resolver;
	uint64_t deadline_ms;
	size_t len;
	uint8_t query[];
};

static void close_socket(struct exchange *x)
{
	loop_remove(x->relay->spec.loop, &x->src);
	cleanup_close_p(&x->src.fd);
	x->src.fd = -1;
}

static void exchange_free(struct exchange *x)
{
	struct relay *r = x->relay;

	close_socket(x);
	if (x->prev)
		x->prev->next = x->next;
	else
		r->exchanges = x->next;
	if (x->next)
		x->next->prev = x->prev;
	r->n_exchanges--;
	free(x);
}

/* A guest that cannot take it asks again. */
static void tell_guest(struct relay *r, const struct sockaddr_in *guest, const uint8_t *msg,
		       size_t len)
{
	(void)sendto(r->udp.fd, msg, len, MSG_DONTWAIT | MSG_NOSIGNAL,
		     (const struct sockaddr *)guest, sizeof(*guest));
}

static void give_up(struct exchange *x)
{
	uint8_t reply[DNS_QUERY_MAX];
	size_t len = dns_make_reply(x->query, &x->q, DNS_SERVFAIL, reply);

	dns_set_id(reply, x->q.id);
	tell_guest(x->relay, &x->guest, reply, len);
	exchange_free(x);
}

static void on_answer(struct loop *loop, struct loop_source *src, uint32_t events);

static int ask_one(struct exchange *x, const struct resolver *to)
{
	const struct relay_spec *spec = &x->relay->spec;
	int fd = spec->host_socket(spec->data, to->at.ss_family, SOCK_DGRAM);

	if (fd < 0)
		return fd;
	x->src.fd = fd;
	if (connect(fd, (const struct sockaddr *)&to->at, to->len) < 0)
		return -errno;
	x->id = relay_draw_id();
	dns_set_id(x->query, x->id);
	if (send(fd, x->query, x->len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return -errno;
	return loop_add(spec->loop, &x->src, fd, EPOLLIN, on_answer, x, NULL);
}

/* The next resolver that can be asked at all; when there is none the exchange is over. */
static void ask(struct exchange *x)
{
	struct resolvers *to = &x->relay->resolvers;

	while (x->resolver < to->n) {
		close_socket(x);
		x->deadline_ms = deadline_in(RELAY_ASK_MS);
		if (ask_one(x, &to->v[x->resolver++]) >= 0)
			return;
	}
	give_up(x);
}

static void on_answer(struct loop *loop, struct loop_source *src, uint32_t events)
{
	static uint8_t msg[DNS_MESSAGE_MAX];
	struct exchange *x = src->data;
	ssize_t n = recv(src->fd, msg, sizeof(msg), MSG_DONTWAIT);

	(void)loop;
	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		ask(x);
		return;
	}
	if (!dns_is_answer(msg, (size_t)n, &x->q, x->id))
		return;
	if (!relay_admit(x->relay, &x->q, msg, (size_t)n)) {
		give_up(x);
		return;
	}
	dns_set_id(msg, x->q.id);
	tell_guest(x->relay, &x->guest, msg, (size_t)n);
	exchange_free(x);
}

static void begin(struct relay *r, const struct sockaddr_in *guest, const struct dns_question *q,
		  const uint8_t *msg, size_t len)
{
	struct exchange *x = NULL;

	if (r->n_exchanges >= RELAY_QUERIES_MAX)
		return;
	resolvers_refresh(&r->resolvers);
	x = xcalloc(1, sizeof(*x) + len);
	x->relay = r;
	x->src.fd = -1;
	x->guest = *guest;
	x->q = *q;
	x->len = len;
	memcpy(x->query, msg, len);
	x->next = r->exchanges;
	if (x->next)
		x->next->prev = x;
	r->exchanges = x;
	r->n_exchanges++;
	ask(x);
}

/* One datagram a round: the loop is level-triggered, and a flood must not starve the rest. */
static void on_query(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct relay *r = src->data;
	uint8_t msg[DNS_QUERY_MAX + 1], reply[DNS_QUERY_MAX];
	struct sockaddr_in guest = {0};
	socklen_t guest_len = sizeof(guest);
	struct dns_question q = {0};
	size_t len = 0;
	ssize_t n = recvfrom(src->fd, msg, sizeof(msg), MSG_DONTWAIT, (struct sockaddr *)&guest,
			     &guest_len);

	(void)loop;
	(void)events;
	if (n <= 0 || guest_len != sizeof(guest))
		return;
	switch (relay_judge(r, msg, (size_t)n, &q, reply, &len)) {
	case RELAY_DROP:
		break;
	case RELAY_REPLY:
		tell_guest(r, &guest, reply, len);
		break;
	case RELAY_ASK:
		begin(r, &guest, &q, msg, (size_t)n);
		break;
	}
}

int relay_udp_listen(struct relay *r, const char *ip, struct err *err)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(RELAY_PORT)};
	auto_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int e = 0;

	if (fd < 0)
		return err_sys(err, "cannot open a socket");
	(void)inet_pton(AF_INET, ip, &at.sin_addr);
	if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
		return err_sys(err, "cannot bind %s:%d/udp", ip, RELAY_PORT);
	e = loop_add(r->spec.loop, &r->udp, fd, EPOLLIN, on_query, r, err);
	if (e >= 0)
		(void)TAKE_FD(fd);
	return e;
}

void relay_udp_tick(struct relay *r, uint64_t now_ms)
{
	struct exchange *next = NULL;

	for (struct exchange *x = r->exchanges; x; x = next) {
		next = x->next;
		if (x->deadline_ms <= now_ms)
			ask(x);
	}
}

void relay_udp_free(struct relay *r)
{
	struct exchange *next = NULL;

	for (struct exchange *x = r->exchanges; x; x = next) {
		next = x->next;
		exchange_free(x);
	}
	loop_remove(r->spec.loop, &r->udp);
	cleanup_close_p(&r->udp.fd);
}
