#include "netcfg.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "buf.h"
#include "cleanup.h"
#include "gates.h"
#include "netlink.h"

#define MSG_ROOM 256u
#define NEIGHBOURS_MAX 1024u

struct link_request {
	struct nlmsghdr head;
	struct ifinfomsg body;
	char room[MSG_ROOM];
};
struct addr_request {
	struct nlmsghdr head;
	struct ifaddrmsg body;
	char room[MSG_ROOM];
};
struct route_request {
	struct nlmsghdr head;
	struct rtmsg body;
	char room[MSG_ROOM];
};
struct neigh_request {
	struct nlmsghdr head;
	struct ndmsg body;
	char room[MSG_ROOM];
};

static int link_set(int fd, unsigned int index, uint32_t mtu, struct err *err)
{
	struct link_request req = {
		.head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
			 .nlmsg_type = RTM_NEWLINK},
		.body = {.ifi_index = (int)index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP},
	};

	if (mtu)
		netlink_attr(&req.head, sizeof(req), IFLA_MTU, &mtu, sizeof(mtu));
	int r = netlink_ack(fd, &req.head);
	return r < 0 ? err_sys_code(err, r, "cannot bring link %u up", index) : 0;
}

static int addr_add(int fd, unsigned int index, struct err *err)
{
	struct addr_request req = {
		.head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifaddrmsg)),
			 .nlmsg_type = RTM_NEWADDR,
			 .nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE},
		.body = {.ifa_family = AF_INET, .ifa_prefixlen = NETCFG_PREFIX, .ifa_index = index},
	};
	struct in_addr addr;

	(void)inet_pton(AF_INET, NETCFG_ADDRESS, &addr);
	netlink_attr(&req.head, sizeof(req), IFA_LOCAL, &addr, sizeof(addr));
	netlink_attr(&req.head, sizeof(req), IFA_ADDRESS, &addr, sizeof(addr));
	int r = netlink_ack(fd, &req.head);
	return r < 0 ? err_sys_code(err, r, "cannot set the guest's address") : 0;
}

static int route_add(int fd, struct err *err)
{
	struct route_request req = {
		.head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
			 .nlmsg_type = RTM_NEWROUTE,
			 .nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE},
		.body = {.rtm_family = AF_INET,
			 .rtm_table = RT_TABLE_MAIN,
			 .rtm_protocol = RTPROT_BOOT,
			 .rtm_type = RTN_UNICAST},
	};
	struct in_addr gateway;

	(void)inet_pton(AF_INET, NETCFG_GATEWAY, &gateway);
	netlink_attr(&req.head, sizeof(req), RTA_GATEWAY, &gateway, sizeof(gateway));
	int r = netlink_ack(fd, &req.head);
	return r < 0 ? err_sys_code(err, r, "cannot set the guest's default route") : 0;
}

int netcfg_setup(struct err *err)
{
	auto_close int fd = -1;
	unsigned int eth = if_nametoindex(NETCFG_LINK);
	int r = netlink_open(NETLINK_ROUTE, &fd, err);

	if (r == 0)
		r = link_set(fd, if_nametoindex("lo"), 0, err);
	if (r < 0 || !eth)
		return r;
	r = link_set(fd, eth, 0, err);
	if (r == 0)
		r = addr_add(fd, eth, err);
	return r == 0 ? route_add(fd, err) : r;
}

/* --- gate ------------------------------------------------------------------------------------ */

struct neighbour {
	struct ndmsg nd;
	uint8_t dst[16];
	size_t dst_len;
};

/* The attribute NDA_DST of a neighbour message. */
static bool find_dst(const struct nlmsghdr *m, struct neighbour *n)
{
	size_t at = NLMSG_LENGTH(sizeof(n->nd));
	struct rtattr attr;

	while (at + sizeof(attr) <= m->nlmsg_len) {
		memcpy(&attr, (const char *)m + at, sizeof(attr));
		size_t len = attr.rta_len - RTA_LENGTH(0);
		if (attr.rta_len < RTA_LENGTH(0) || at + attr.rta_len > m->nlmsg_len)
			return false;
		if (attr.rta_type == NDA_DST && len <= sizeof(n->dst)) {
			memcpy(n->dst, (const char *)m + at + RTA_LENGTH(0), len);
			n->dst_len = len;
			return true;
		}
		at += RTA_ALIGN(attr.rta_len);
	}
	return false;
}

static void collect(void *data, const struct nlmsghdr *m)
{
	struct neighbour n = {0};

	if (m->nlmsg_type != RTM_NEWNEIGH || m->nlmsg_len < NLMSG_LENGTH(sizeof(n.nd)))
		return;
	memcpy(&n.nd, (const char *)m + NLMSG_HDRLEN, sizeof(n.nd));
	if (!(n.nd.ndm_state & (NUD_PERMANENT | NUD_NOARP)) && find_dst(m, &n))
		buf_add(data, &n, sizeof(n));
}

static void forget(int fd, const struct neighbour *n)
{
	struct neigh_request req = {
		.head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ndmsg)),
			 .nlmsg_type = RTM_DELNEIGH},
		.body = n->nd,
	};

	netlink_attr(&req.head, sizeof(req), NDA_DST, n->dst, n->dst_len);
	/* It may expire between listing and here. */
	(void)netlink_ack(fd, &req.head);
}

static int flush_neighbours(int fd, unsigned int index, struct err *err)
{
	auto_buf struct buf found = BUF_INIT(NEIGHBOURS_MAX * sizeof(struct neighbour));
	struct neigh_request req = {
		.head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ndmsg)),
			 .nlmsg_type = RTM_GETNEIGH},
		.body = {.ndm_family = AF_UNSPEC},
	};
	int r = netlink_dump(fd, &req.head, collect, &found);

	if (r < 0)
		return err_sys_code(err, r, "cannot list the guest's neighbours");
	for (size_t at = 0; at < found.len; at += sizeof(struct neighbour)) {
		struct neighbour n;

		memcpy(&n, found.data + at, sizeof(n));
		if ((unsigned int)n.nd.ndm_ifindex == index)
			forget(fd, &n);
	}
	return 0;
}

int gate_network(uint32_t mtu, struct err *err)
{
	auto_close int fd = -1;
	unsigned int eth = if_nametoindex(NETCFG_LINK);

	if (!eth)
		return 0;
	int r = netlink_open(NETLINK_ROUTE, &fd, err);
	if (r == 0)
		r = link_set(fd, eth, mtu, err);
	return r == 0 ? flush_neighbours(fd, eth, err) : r;
}
