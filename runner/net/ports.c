#include "ports.h"

#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#include "cleanup.h"
#include "net.h"
#include "sockets.h"
#include "xalloc.h"

void ports_close(struct ports *p)
{
	for (size_t i = 0; i < p->n; i++)
		cleanup_close_p(&p->v[i].fd);
	free(p->v);
	*p = (struct ports){0};
}

bool ports_want_loopback(const struct net_config *c)
{
	for (size_t i = 0; i < c->n_ports; i++)
		if (!c->ports[i].host_ip[0])
			return true;
	return false;
}

bool ports_use_loopback(const struct ports *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (strncmp(p->v[i].port.host_ip, "127.", 4) == 0 ||
		    strcmp(p->v[i].port.host_ip, "0.0.0.0") == 0)
			return true;
	return false;
}

static bool same_place(const struct net_port *a, const struct net_port *b)
{
	return a->udp == b->udp && a->host_port == b->host_port &&
	       strcmp(a->host_ip, b->host_ip) == 0;
}

static struct held_port *find_in(const struct ports *p, const struct net_port *port)
{
	for (size_t i = 0; i < p->n; i++)
		if (same_place(&p->v[i].port, port))
			return &p->v[i];
	return NULL;
}

static struct held_port *find_place(const struct ports *p, const struct net_port *port)
{
	return p ? find_in(p, port) : NULL;
}

const struct held_port *ports_find(const struct ports *p, const struct net_port *port)
{
	const struct held_port *h = find_place(p, port);

	return h && h->port.guest_port == port->guest_port ? h : NULL;
}

static int taken(const struct net_port *port, struct err *err)
{
	struct net_holder by = {0};

	if (net_port_holder(port, &by, NULL) == 1 && by.pid > 0)
		return err_set(err, ERR_HOST, -EADDRINUSE,
			       "cannot publish %s:%u/%s: process %d (%s) has it", port->host_ip,
			       port->host_port, port->udp ? "udp" : "tcp", (int)by.pid, by.name);
	return -EADDRINUSE;
}

/* own: at the VM's own address, where only somebody who listens at every address can be in the way;
 * the packets reach the guest before they reach him. */
static int hold(struct held_port *h, bool own, struct err *err)
{
	struct err why = {0};
	int r = sockets_reserve(&h->port, &h->fd, &why);

	if (r >= 0 || (own && r == -EADDRINUSE))
		return 0;
	if (err)
		*err = why;
	return r == -EADDRINUSE ? taken(&h->port, err) : r;
}

/* A change under way: from `have` (may be NULL) to what `c` publishes. */
struct change {
	const struct net_config *c;
	const char *loopback;
	struct ports *have;
	bool *let_go; /* of `have`: closed on the way */
};

static struct net_port resolved(const struct change *ch, size_t i)
{
	struct net_port p = ch->c->ports[i];

	if (!p.host_ip[0])
		(void)snprintf(p.host_ip, sizeof(p.host_ip), "%s", ch->loopback);
	return p;
}

static bool is_kept(const struct change *ch, const struct net_port *port)
{
	for (size_t i = 0; i < ch->c->n_ports; i++) {
		struct net_port p = resolved(ch, i);

		if (same_place(&p, port))
			return true;
	}
	return false;
}

/* The VM's own sockets are in the way of the same port at another address. */
static bool make_room(struct change *ch, const struct net_port *port)
{
	bool found = false;

	for (size_t i = 0; ch->have && i < ch->have->n; i++) {
		struct held_port *h = &ch->have->v[i];

		if (h->fd < 0 || !net_port_clashes(&h->port, port) || is_kept(ch, &h->port))
			continue;
		cleanup_close_p(&h->fd);
		h->fd = -1;
		ch->let_go[i] = found = true;
	}
	return found;
}

static void take_back(struct change *ch)
{
	for (size_t i = 0; ch->have && i < ch->have->n; i++)
		if (ch->let_go[i])
			(void)sockets_reserve(&ch->have->v[i].port, &ch->have->v[i].fd, NULL);
}

static int hold_all(struct change *ch, struct ports *p, struct err *err)
{
	for (size_t i = 0; i < ch->c->n_ports; i++) {
		struct held_port *h = &p->v[i];
		bool own = !ch->c->ports[i].host_ip[0];
		struct err why = {0};
		int r;

		*h = (struct held_port){.port = resolved(ch, i), .fd = -1};
		p->n = i + 1;
		if (find_place(ch->have, &h->port))
			continue;
		r = hold(h, own, &why);
		if (r == -EADDRINUSE && make_room(ch, &h->port))
			r = hold(h, own, &why);
		if (r < 0) {
			if (err)
				*err = why;
			return r;
		}
	}
	return 0;
}

int ports_hold(const struct net_config *c, const char *loopback, struct ports *have,
	       struct ports *ret, struct err *err)
{
	auto_free bool *let_go = xcalloc(have ? have->n + 1 : 1, sizeof(*let_go));
	struct change ch = {.c = c, .loopback = loopback, .have = have, .let_go = let_go};
	struct ports p = {.v = xcalloc(c->n_ports + 1, sizeof(*p.v))};
	int r = hold_all(&ch, &p, err);

	if (r < 0) {
		ports_close(&p);
		take_back(&ch);
		return r;
	}
	for (size_t i = 0; have && i < p.n; i++) {
		struct held_port *before = find_place(have, &p.v[i].port);

		if (before)
			p.v[i].fd = TAKE_FD(before->fd);
	}
	*ret = p;
	return 0;
}

void ports_give_back(struct ports *p, struct ports *have)
{
	for (size_t i = 0; i < have->n; i++) {
		struct held_port *h = find_in(p, &have->v[i].port);

		if (h && have->v[i].fd < 0)
			have->v[i].fd = TAKE_FD(h->fd);
	}
	ports_close(p);
	/* What was let go to make room. */
	for (size_t i = 0; i < have->n; i++)
		if (have->v[i].fd < 0)
			(void)sockets_reserve(&have->v[i].port, &have->v[i].fd, NULL);
}

uint8_t ports_protocol(const struct net_port *port)
{
	return port->udp ? IPPROTO_UDP : IPPROTO_TCP;
}

void ports_copy(const struct ports *p, struct net_port **ret, size_t *ret_n)
{
	free(*ret);
	*ret = xcalloc(p->n + 1, sizeof(**ret));
	*ret_n = p->n;
	for (size_t i = 0; i < p->n; i++)
		(*ret)[i] = p->v[i].port;
}
