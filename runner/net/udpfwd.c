#include "udpfwd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "net.h"
#include "rootless_ports.h"
#include "xalloc.h"

#define DATAGRAM_MAX 65536u
/* At one go: one caller that never stops must not keep the loop from everything else. */
#define BATCH 64

/* One published port. */
struct place {
	struct udpfwd *owner;
	uint64_t id;
	struct net_port port;
	int fd;
	struct loop_source src;
	struct place *next;
};

/* Somebody who calls it, and the socket the guest sees him as. */
struct caller {
	struct place *place; /* NULL: free */
	struct sockaddr_in at;
	int fd;
	uint64_t last_ms;
	struct loop_source src;
};

struct udpfwd {
	struct outside *outside;
	struct loop *loop; /* NULL until udpfwd_serve() */
	struct place *places;
	uint64_t last_id;
	struct caller callers[UDPFWD_CALLERS_MAX];
	char datagram[DATAGRAM_MAX];
};

struct udpfwd *udpfwd_new(struct outside *outside)
{
	struct udpfwd *u = xcalloc(1, sizeof(*u));

	u->outside = outside;
	return u;
}

/* --- callers --- */

static void hang_up(struct udpfwd *u, struct caller *c)
{
	if (!c->place)
		return;
	loop_remove(u->loop, &c->src);
	cleanup_close_p(&c->fd);
	*c = (struct caller){0};
}

static struct caller *find_caller(struct udpfwd *u, const struct place *p,
				  const struct sockaddr_in *at)
{
	for (size_t i = 0; i < UDPFWD_CALLERS_MAX; i++) {
		struct caller *c = &u->callers[i];

		if (c->place == p && c->at.sin_port == at->sin_port &&
		    c->at.sin_addr.s_addr == at->sin_addr.s_addr)
			return c;
	}
	return NULL;
}

static struct caller *make_room(struct udpfwd *u)
{
	struct caller *oldest = &u->callers[0];

	for (size_t i = 0; i < UDPFWD_CALLERS_MAX; i++) {
		struct caller *c = &u->callers[i];

		if (!c->place)
			return c;
		if (c->last_ms < oldest->last_ms)
			oldest = c;
	}
	hang_up(u, oldest);
	return oldest;
}

/* Connected: only the guest's own port is heard. */
static int open_inside(uint16_t guest_port)
{
	struct sockaddr_in us = {.sin_family = AF_INET}, guest = {.sin_family = AF_INET};
	auto_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	guest.sin_port = htons(guest_port);
	if (fd < 0 || inet_pton(AF_INET, NET_DNS_IP, &us.sin_addr) != 1 ||
	    inet_pton(AF_INET, NET_GUEST_IP, &guest.sin_addr) != 1 ||
	    bind(fd, (const struct sockaddr *)&us, sizeof(us)) < 0 ||
	    connect(fd, (const struct sockaddr *)&guest, sizeof(guest)) < 0)
		return -1;
	return TAKE_FD(fd);
}

static void on_guest(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct caller *c = src->data;
	struct udpfwd *u = c->place->owner;

	(void)loop;
	(void)events;
	for (int i = 0; i < BATCH; i++) {
		ssize_t n = recv(c->fd, u->datagram, sizeof(u->datagram), 0);

		if (n < 0)
			return; /* nothing more, or the guest's refusal: UDP tells nobody */
		c->last_ms = now_ms();
		(void)sendto(c->place->fd, u->datagram, (size_t)n, 0,
			     (const struct sockaddr *)&c->at, sizeof(c->at));
	}
}

static struct caller *add_caller(struct place *p, const struct sockaddr_in *at)
{
	struct udpfwd *u = p->owner;
	struct caller *c = make_room(u);
	auto_close int fd = open_inside(p->port.guest_port);

	if (fd < 0)
		return NULL;
	*c = (struct caller){.place = p, .at = *at, .fd = fd};
	if (loop_add(u->loop, &c->src, fd, EPOLLIN, on_guest, c, NULL) < 0) {
		*c = (struct caller){0};
		return NULL;
	}
	(void)TAKE_FD(fd);
	return c;
}

/* --- ports --- */

static void on_call(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct place *p = src->data;
	struct udpfwd *u = p->owner;

	(void)loop;
	(void)events;
	for (int i = 0; i < BATCH; i++) {
		struct sockaddr_in at = {0};
		socklen_t len = sizeof(at);
		ssize_t n = recvfrom(p->fd, u->datagram, sizeof(u->datagram), 0,
				     (struct sockaddr *)&at, &len);

		if (n < 0)
			return;
		struct caller *c = find_caller(u, p, &at);

		if (!c)
			c = add_caller(p, &at);
		if (!c)
			continue; /* as any datagram may be lost */
		c->last_ms = now_ms();
		(void)send(c->fd, u->datagram, (size_t)n, 0);
	}
}

static int listen_to(struct place *p, struct err *err)
{
	struct udpfwd *u = p->owner;

	return u->loop ? loop_add(u->loop, &p->src, p->fd, EPOLLIN, on_call, p, err) : 0;
}

int udpfwd_add(struct udpfwd *u, const struct net_port *port, uint64_t *ret_id, struct err *err)
{
	auto_close int fd = -1;
	struct place *p;
	int r = forwards_bind(u->outside, port, &fd, err);

	if (r == 0 && (r = io_set_nonblock(fd, true)) < 0)
		return err_sys_code(err, r, "cannot prepare a socket");
	if (r < 0)
		return r;
	p = xcalloc(1, sizeof(*p));
	*p = (struct place){.owner = u, .id = u->last_id + 1, .port = *port, .fd = fd};
	r = listen_to(p, err);
	if (r < 0) {
		free(p);
		return r;
	}
	(void)TAKE_FD(fd);
	p->next = u->places;
	u->places = p;
	*ret_id = u->last_id = p->id;
	return 0;
}

static void drop(struct udpfwd *u, struct place *p)
{
	for (size_t i = 0; i < UDPFWD_CALLERS_MAX; i++)
		if (u->callers[i].place == p)
			hang_up(u, &u->callers[i]);
	if (u->loop)
		loop_remove(u->loop, &p->src);
	cleanup_close_p(&p->fd);
	free(p);
}

void udpfwd_remove(struct udpfwd *u, uint64_t id)
{
	for (struct place **at = &u->places; *at; at = &(*at)->next) {
		struct place *p = *at;

		if (p->id != id)
			continue;
		*at = p->next;
		drop(u, p);
		return;
	}
}

int udpfwd_serve(struct udpfwd *u, struct loop *loop, struct err *err)
{
	int r = 0;

	u->loop = loop;
	for (struct place *p = u->places; p && r == 0; p = p->next)
		r = listen_to(p, err);
	return r;
}

void udpfwd_free(struct udpfwd *u)
{
	if (!u)
		return;
	while (u->places)
		udpfwd_remove(u, u->places->id);
	free(u);
}
