#include "rtlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/inet.h>
#include <netlink/route/link/inet6.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <netlink/socket.h>

static void put_link(struct rtnl_link **l)
{
	rtnl_link_put(*l);
}

static void put_rtaddr(struct rtnl_addr **a)
{
	rtnl_addr_put(*a);
}

static void put_addr(struct nl_addr **a)
{
	nl_addr_put(*a);
}

static void put_route(struct rtnl_route **r)
{
	rtnl_route_put(*r);
}

static void put_msg(struct nl_msg **m)
{
	nlmsg_free(*m);
}

#define auto_link __attribute__((cleanup(put_link)))
#define auto_rtaddr __attribute__((cleanup(put_rtaddr)))
#define auto_addr __attribute__((cleanup(put_addr)))
#define auto_route __attribute__((cleanup(put_route)))
#define auto_msg __attribute__((cleanup(put_msg)))

static const struct {
	int nl, code;
} codes[] = {
	{NLE_EXIST, -EEXIST},         {NLE_PERM, -EPERM}, {NLE_OBJ_NOTFOUND, -ENOENT},
	{NLE_NODEV, -ENODEV},         {NLE_BUSY, -EBUSY}, {NLE_NOMEM, -ENOMEM},
	{NLE_OPNOTSUPP, -EOPNOTSUPP},
};

/* libnl's own numbers: those that callers tell apart become errno, all keep libnl's words. */
__attribute__((format(printf, 3, 4))) static int fail(int nl, struct err *err, const char *fmt, ...)
{
	char what[200];
	int code = -EIO;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].nl == -nl)
			code = codes[i].code;
	return err_set(err, ERR_HOST, code, "cannot %s: %s", what, nl_geterror(nl));
}

void rtlink_close_p(struct nl_sock **sock)
{
	nl_socket_free(*sock);
	*sock = NULL;
}

int rtlink_open(struct nl_sock **ret, struct err *err)
{
	auto_rtlink struct nl_sock *sock = nl_socket_alloc();
	int r = sock ? nl_connect(sock, NETLINK_ROUTE) : -NLE_NOMEM;

	if (r < 0)
		return fail(r, err, "open a route socket");
	*ret = sock;
	sock = NULL;
	return 0;
}

int rtlink_add_veth(struct nl_sock *sock, const char *name, const char *peer, int peer_ns,
		    struct err *err)
{
	auto_link struct rtnl_link *veth = rtnl_link_veth_alloc();
	auto_link struct rtnl_link *other = veth ? rtnl_link_veth_get_peer(veth) : NULL;
	int r = 0;

	if (!veth || !other)
		return fail(-NLE_NOMEM, err, "make link '%s'", peer);
	rtnl_link_set_name(veth, name);
	rtnl_link_set_name(other, peer);
	rtnl_link_set_ns_fd(other, peer_ns);
	r = rtnl_link_add(sock, veth, NLM_F_CREATE | NLM_F_EXCL);
	return r < 0 ? fail(r, err, "make link '%s'", peer) : 0;
}

int rtlink_exists(struct nl_sock *sock, const char *name, struct err *err)
{
	auto_link struct rtnl_link *found = NULL;
	int r = rtnl_link_get_kernel(sock, 0, name, &found);

	if (r == -NLE_OBJ_NOTFOUND || r == -NLE_NODEV)
		return 0;
	return r < 0 ? fail(r, err, "look for link '%s'", name) : 1;
}

static int index_of(const char *link, int *ret, struct err *err)
{
	unsigned int index = if_nametoindex(link);

	if (index == 0)
		return err_set(err, ERR_HOST, -ENODEV, "link '%s' is gone", link);
	*ret = (int)index;
	return 0;
}

static struct nl_addr *make_addr(uint32_t addr, unsigned int prefix)
{
	struct in_addr in = {.s_addr = htonl(addr)};
	struct nl_addr *a = nl_addr_build(AF_INET, &in, sizeof(in));

	if (a)
		nl_addr_set_prefixlen(a, (int)prefix);
	return a;
}

int rtlink_add_address(struct nl_sock *sock, const char *link, uint32_t addr, unsigned int prefix,
		       struct err *err)
{
	auto_rtaddr struct rtnl_addr *a = rtnl_addr_alloc();
	auto_addr struct nl_addr *local = make_addr(addr, prefix);
	int index = 0, r = index_of(link, &index, err);

	if (r < 0)
		return r;
	if (!a || !local)
		return fail(-NLE_NOMEM, err, "give '%s' its address", link);
	rtnl_addr_set_ifindex(a, index);
	r = rtnl_addr_set_local(a, local);
	if (r >= 0)
		r = rtnl_addr_add(sock, a, 0);
	return r < 0 ? fail(r, err, "give '%s' its address", link) : 0;
}

/* ipv6: say something of it; a kernel without it refuses the whole message. */
static int change_conf(struct nl_sock *sock, int index, const struct rtlink_conf *conf, bool ipv6)
{
	auto_link struct rtnl_link *which = rtnl_link_alloc();
	auto_link struct rtnl_link *change = rtnl_link_alloc();
	int r = 0;

	if (!which || !change)
		return -NLE_NOMEM;
	rtnl_link_set_ifindex(which, index);
	if (ipv6)
		r = rtnl_link_inet6_set_addr_gen_mode(change, IN6_ADDR_GEN_MODE_NONE);
	if (r >= 0)
		r = rtnl_link_inet_set_conf(change, IPV4_DEVCONF_FORWARDING, conf->forwarding);
	if (r >= 0)
		r = rtnl_link_inet_set_conf(change, IPV4_DEVCONF_ROUTE_LOCALNET,
					    conf->route_localnet);
	return r < 0 ? r : rtnl_link_change(sock, which, change, 0);
}

int rtlink_configure(struct nl_sock *sock, const char *link, const struct rtlink_conf *conf,
		     struct err *err)
{
	int index = 0, r = index_of(link, &index, err);

	if (r < 0)
		return r;
	r = change_conf(sock, index, conf, true);
	if (r == -NLE_AF_NOSUPPORT)
		r = change_conf(sock, index, conf, false);
	return r < 0 ? fail(r, err, "configure '%s'", link) : 0;
}

int rtlink_set_up(struct nl_sock *sock, const char *link, struct err *err)
{
	auto_link struct rtnl_link *which = rtnl_link_alloc();
	auto_link struct rtnl_link *change = rtnl_link_alloc();
	int index = 0, r = index_of(link, &index, err);

	if (r < 0)
		return r;
	if (!which || !change)
		return fail(-NLE_NOMEM, err, "bring up '%s'", link);
	rtnl_link_set_ifindex(which, index);
	rtnl_link_set_flags(change, IFF_UP);
	r = rtnl_link_change(sock, which, change, 0);
	return r < 0 ? fail(r, err, "bring up '%s'", link) : 0;
}

int rtlink_add_default_route(struct nl_sock *sock, uint32_t gateway, struct err *err)
{
	auto_route struct rtnl_route *route = rtnl_route_alloc();
	auto_addr struct nl_addr *dst = make_addr(0, 0), *via = make_addr(gateway, 32);
	struct rtnl_nexthop *hop = rtnl_route_nh_alloc();
	int r = -NLE_NOMEM;

	if (route && dst && via && hop) {
		rtnl_route_nh_set_gateway(hop, via);
		rtnl_route_add_nexthop(route, hop);
		hop = NULL;
		r = rtnl_route_set_dst(route, dst);
		if (r >= 0)
			r = rtnl_route_add(sock, route, NLM_F_CREATE);
	}
	if (hop)
		rtnl_route_nh_free(hop);
	return r < 0 ? fail(r, err, "add the default route") : 0;
}

/* --- looking a route up ---------------------------------------------------------------------- */

static int take_match(struct nl_msg *msg, void *data)
{
	struct nlmsghdr *head = nlmsg_hdr(msg);
	struct nlattr *attrs[RTA_MAX + 1];
	struct rtlink_match *m = data;
	const struct rtmsg *rt = nlmsg_data(head);

	if (head->nlmsg_type != RTM_NEWROUTE ||
	    nlmsg_parse(head, sizeof(*rt), attrs, RTA_MAX, NULL) < 0)
		return NL_SKIP;
	m->prefix = rt->rtm_dst_len;
	m->dst = attrs[RTA_DST] ? ntohl(nla_get_u32(attrs[RTA_DST])) : 0;
	m->link = attrs[RTA_OIF] ? nla_get_u32(attrs[RTA_OIF]) : 0;
	return NL_OK;
}

/* The route itself (RTM_F_FIB_MATCH), not what it resolves to. */
static int ask_route(struct nl_sock *sock, uint32_t addr)
{
	auto_msg struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETROUTE, NLM_F_REQUEST);
	struct rtmsg head = {
		.rtm_family = AF_INET, .rtm_dst_len = 32, .rtm_flags = RTM_F_FIB_MATCH};
	int r = 0;

	if (!msg)
		return -NLE_NOMEM;
	r = nlmsg_append(msg, &head, sizeof(head), NLMSG_ALIGNTO);
	if (r >= 0)
		r = nla_put_u32(msg, RTA_DST, htonl(addr));
	return r < 0 ? r : nl_send_auto(sock, msg);
}

int rtlink_match_route(struct nl_sock *sock, uint32_t addr, struct rtlink_match *ret,
		       struct err *err)
{
	struct rtlink_match m = {0};
	int r = nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, take_match, &m);

	if (r >= 0)
		r = ask_route(sock, addr);
	/* Request and acknowledgement: the answer, then an ACK, both or an error. */
	if (r >= 0)
		r = nl_recvmsgs_default(sock);
	if (r >= 0)
		r = nl_wait_for_ack(sock);
	(void)nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_DEFAULT, NULL, NULL);
	/* The kernel says "unreachable" in several ways, libnl has a word for none. */
	if (r < 0 && r != -NLE_NOMEM && r != -NLE_PERM)
		return 0;
	if (r < 0)
		return fail(r, err, "look up a route");
	*ret = m;
	return 1;
}
