#include "bridge.h"

#include <errno.h>
#include <linux/if.h>
#include <netlink/addr.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/bridge.h>
#include <netlink/socket.h>
#include <sys/socket.h>

#include "net.h"
#include "netns.h"
#include "slirp.h"

#define PREFIX "/24"

static void free_sock(struct nl_sock **s)
{
	nl_socket_free(*s);
}
static void put_link(struct rtnl_link **l)
{
	rtnl_link_put(*l);
}
static void put_addr(struct nl_addr **a)
{
	nl_addr_put(*a);
}
static void put_local(struct rtnl_addr **a)
{
	rtnl_addr_put(*a);
}
#define auto_nl(fn) __attribute__((cleanup(fn)))

static int fail(int nl, const char *verb, const char *link, struct err *err)
{
	return err_set(err, ERR_HOST, -EIO, "cannot %s '%s': %s", verb, link, nl_geterror(nl));
}

static int open_netlink(struct nl_sock **ret, struct err *err)
{
	struct nl_sock *s = nl_socket_alloc();
	int r = s ? nl_connect(s, NETLINK_ROUTE) : -NLE_NOMEM;

	if (r < 0) {
		nl_socket_free(s);
		return fail(r, "speak to the kernel about", BRIDGE_LINK, err);
	}
	*ret = s;
	return 0;
}

static int index_of(struct nl_sock *s, const char *name, int *ret, struct err *err)
{
	auto_nl(put_link) struct rtnl_link *l = NULL;
	int r = rtnl_link_get_kernel(s, 0, name, &l);

	if (r < 0)
		return fail(r, "find", name, err);
	*ret = rtnl_link_get_ifindex(l);
	return 0;
}

/* `with` has what is to become of the link. */
static int change(struct nl_sock *s, const char *name, struct rtnl_link *with, struct err *err)
{
	auto_nl(put_link) struct rtnl_link *l = NULL;
	int r = rtnl_link_get_kernel(s, 0, name, &l);

	if (r >= 0)
		r = rtnl_link_change(s, l, with, 0);
	return r < 0 ? fail(r, "set up", name, err) : 0;
}

static int join(struct nl_sock *s, const char *name, unsigned int mtu, struct err *err)
{
	auto_nl(put_link) struct rtnl_link *with = rtnl_link_alloc();
	int bridge = 0;
	int r = index_of(s, BRIDGE_LINK, &bridge, err);

	if (r < 0)
		return r;
	rtnl_link_set_master(with, bridge);
	rtnl_link_set_mtu(with, mtu);
	rtnl_link_set_flags(with, IFF_UP);
	return change(s, name, with, err);
}

static int add_bridge(struct nl_sock *s, struct err *err)
{
	auto_nl(put_link) struct rtnl_link *l = rtnl_link_bridge_alloc();
	auto_nl(put_addr) struct nl_addr *mac = NULL;
	int r = nl_addr_parse(BRIDGE_MAC, AF_LLC, &mac);

	rtnl_link_set_name(l, BRIDGE_LINK);
	/* The guest has it in its ARP table, and a snapshot is restored elsewhere. */
	if (r >= 0)
		rtnl_link_set_addr(l, mac);
	if (r >= 0)
		r = rtnl_link_add(s, l, NLM_F_CREATE | NLM_F_EXCL);
	return r < 0 ? fail(r, "make", BRIDGE_LINK, err) : 0;
}

static int add_address(struct nl_sock *s, struct err *err)
{
	auto_nl(put_local) struct rtnl_addr *a = rtnl_addr_alloc();
	auto_nl(put_addr) struct nl_addr *local = NULL;
	int index = 0, r = index_of(s, BRIDGE_LINK, &index, err);

	if (r < 0)
		return r;
	rtnl_addr_set_ifindex(a, index);
	r = nl_addr_parse(NET_DNS_IP PREFIX, AF_INET, &local);
	if (r >= 0)
		r = rtnl_addr_set_local(a, local);
	if (r >= 0)
		r = rtnl_addr_add(s, a, 0);
	return r < 0 ? fail(r, "give " NET_DNS_IP " to", BRIDGE_LINK, err) : 0;
}

static int raise_bridge(struct nl_sock *s, unsigned int mtu, struct err *err)
{
	auto_nl(put_link) struct rtnl_link *with = rtnl_link_alloc();

	rtnl_link_set_mtu(with, mtu);
	rtnl_link_set_flags(with, IFF_UP);
	return change(s, BRIDGE_LINK, with, err);
}

int bridge_make(unsigned int mtu, struct err *err)
{
	auto_nl(free_sock) struct nl_sock *s = NULL;
	int r = open_netlink(&s, err);

	if (r == 0)
		r = add_bridge(s, err);
	if (r == 0)
		r = join(s, NETNS_TAP, mtu, err);
	if (r == 0)
		r = raise_bridge(s, mtu, err);
	return r < 0 ? r : add_address(s, err);
}

int bridge_add_uplink(unsigned int mtu, struct err *err)
{
	auto_nl(free_sock) struct nl_sock *s = NULL;
	int r = open_netlink(&s, err);

	return r < 0 ? r : join(s, SLIRP_LINK, mtu, err);
}
