#include "rootless_ports.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "sockets.h"
#include "xalloc.h"

void forwards_free(struct forwards *f)
{
	free(f->v);
	*f = (struct forwards){0};
}

void forwards_of(const struct net_config *c, const char *loopback, struct forwards *ret)
{
	struct forwards f = {.v = xcalloc(c->n_ports + 1, sizeof(*f.v)), .n = c->n_ports};

	for (size_t i = 0; i < f.n; i++) {
		struct net_port *p = &f.v[i].port;

		*p = c->ports[i];
		if (!p->host_ip[0])
			(void)snprintf(p->host_ip, sizeof(p->host_ip), "%s", loopback);
	}
	*ret = f;
}

static const struct forward *find(const struct forwards *f, const struct net_port *port)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct net_port *p = &f->v[i].port;

		if (p->udp == port->udp && p->host_port == port->host_port &&
		    p->guest_port == port->guest_port && strcmp(p->host_ip, port->host_ip) == 0)
			return &f->v[i];
	}
	return NULL;
}

int forwards_bind(struct outside *outside, const struct net_port *port, int *ret_fd,
		  struct err *err)
{
	auto_close int fd = -1;
	int r = outside_socket(outside, AF_INET, port->udp ? SOCK_DGRAM : SOCK_STREAM, &fd, err);

	if (r == 0)
		r = sockets_bind(fd, port, err);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* slirp4netns only says that it could not: what it will bind is bound first, to hear why. */
static int add_tcp(const struct forwarders *by, struct forward *f, struct err *err)
{
	auto_close int fd = -1;
	int r = forwards_bind(by->outside, &f->port, &fd, err);

	if (r < 0)
		return r;
	cleanup_close_p(&fd);
	fd = -1;
	return slirp_forward(by->slirp, &f->port, &f->id, err);
}

static int add(const struct forwarders *by, struct forward *f, struct err *err)
{
	return f->port.udp ? udpfwd_add(by->udp, &f->port, &f->id, err) : add_tcp(by, f, err);
}

static void drop_those_not_in(const struct forwarders *by, const struct forwards *f,
			      const struct forwards *but)
{
	for (size_t i = 0; i < f->n; i++) {
		if (find(but, &f->v[i].port))
			continue;
		if (f->v[i].port.udp)
			udpfwd_remove(by->udp, f->v[i].id);
		else
			(void)slirp_unforward(by->slirp, f->v[i].id, NULL);
	}
}

/* Those that are there keep their ids; *ret_n: how far it got. */
static int add_missing(const struct forwarders *by, const struct forwards *have,
		       struct forwards *want, size_t *ret_n, struct err *err)
{
	for (size_t i = 0; i < want->n; i++) {
		struct forward *w = &want->v[i];
		const struct forward *h = find(have, &w->port);
		int r = 0;

		*ret_n = i;
		if (h)
			w->id = h->id;
		else
			r = add(by, w, err);
		if (r < 0)
			return r;
	}
	*ret_n = want->n;
	return 0;
}

/* The way back: what was added goes, what was dropped returns. */
static void restore(const struct forwarders *by, struct forwards *have, const struct forwards *want,
		    size_t n)
{
	const struct forwards added = {want->v, n};

	drop_those_not_in(by, &added, have);
	for (size_t i = 0; i < have->n; i++)
		if (!find(want, &have->v[i].port))
			(void)add(by, &have->v[i], NULL);
}

int forwards_change(const struct forwarders *by, struct forwards *have, struct forwards *want,
		    struct err *err)
{
	size_t n = 0;
	int r;

	/* First: a port may go to another guest port. */
	drop_those_not_in(by, have, want);
	r = add_missing(by, have, want, &n, err);
	if (r < 0)
		restore(by, have, want, n);
	return r;
}

int forwards_renew(const struct forwarders *by, struct forwards *f, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < f->n && r == 0; i++)
		if (!f->v[i].port.udp)
			r = slirp_forward(by->slirp, &f->v[i].port, &f->v[i].id, err);
	return r;
}
