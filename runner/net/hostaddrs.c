#include "hostaddrs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <netlink/addr.h>
#include <netlink/cache.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/socket.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "xalloc.h"

struct hostaddrs {
	struct nl_sock
		*events; /* says that something has changed, which is all that is read of it */
	struct nl_sock *ask;
};

static int fail(int nl, const char *what, struct err *err)
{
	return err_set(err, ERR_HOST, -EIO, "cannot %s: %s", what, nl_geterror(nl));
}

static int open_both(struct hostaddrs *h, struct err *err)
{
	int r;

	h->events = nl_socket_alloc();
	h->ask = nl_socket_alloc();
	if (!h->events || !h->ask)
		return err_set(err, ERR_FAILED, -ENOMEM, "no memory for a netlink socket");
	r = nl_connect(h->events, NETLINK_ROUTE);
	if (r == 0)
		r = nl_connect(h->ask, NETLINK_ROUTE);
	if (r == 0)
		r = nl_socket_set_nonblocking(h->events);
	if (r == 0)
		r = nl_socket_add_membership(h->events, RTNLGRP_IPV4_IFADDR);
	return r < 0 ? fail(r, "follow the host's addresses", err) : 0;
}

int hostaddrs_open(struct hostaddrs **ret, struct err *err)
{
	struct hostaddrs *h = xcalloc(1, sizeof(*h));
	int r = open_both(h, err);

	if (r < 0) {
		hostaddrs_close(h);
		return r;
	}
	*ret = h;
	return 0;
}

void hostaddrs_close(struct hostaddrs *h)
{
	if (!h)
		return;
	nl_socket_free(h->events);
	nl_socket_free(h->ask);
	free(h);
}

int hostaddrs_fd(const struct hostaddrs *h)
{
	return nl_socket_get_fd(h->events);
}

/* Before the question is asked: what changes afterwards makes the descriptor readable again. A full
 * queue is told by an error, which is read like any other event. */
static void forget_events(const struct hostaddrs *h)
{
	char chunk[8192];

	while (recv(hostaddrs_fd(h), chunk, sizeof(chunk), MSG_DONTWAIT) >= 0 || errno == ENOBUFS)
		continue;
}

struct list {
	uint32_t *v;
	size_t n, cap;
};

static void take(struct nl_object *object, void *data)
{
	struct list *l = data;
	/* Every object of an address cache is an address. */
	const struct nl_addr *a = rtnl_addr_get_local((struct rtnl_addr *)(void *)object);
	uint32_t addr;

	if (!a || nl_addr_get_family(a) != AF_INET || nl_addr_get_len(a) != sizeof(addr))
		return;
	memcpy(&addr, nl_addr_get_binary_addr(a), sizeof(addr));
	l->v = xgrow(l->v, &l->cap, l->n + 1, sizeof(*l->v));
	l->v[l->n++] = ntohl(addr);
}

int hostaddrs_list(struct hostaddrs *h, uint32_t **ret, size_t *ret_n, struct err *err)
{
	struct nl_cache *cache = NULL;
	struct list l = {0};
	int r;

	forget_events(h);
	r = rtnl_addr_alloc_cache(h->ask, &cache);
	if (r < 0)
		return fail(r, "list the host's addresses", err);
	nl_cache_foreach(cache, take, &l);
	nl_cache_free(cache);
	*ret = l.v;
	*ret_n = l.n;
	return 0;
}
