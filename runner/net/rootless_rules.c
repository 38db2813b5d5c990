#include "rootless_rules.h"

#include "net.h"
#include "netns.h"
#include "slirp.h"

#define TABLE "netdev fcvm"
#define GUEST_MAC "02:fc:00:00:00:64"

/* At the devices' own ingress: kernels that can filter bridges but neither reject nor track there
 * are common. So this does without conntrack: slirp4netns is the other end of every TCP
 * connection of the VM, so one begins with a SYN or not at all: from a published port that is
 * refused, whatever the policy, and anything else is an answer. A fragment would hide the SYN, and
 * TCP needs none: it measures its path. UDP's callers are the relay's address (udpfwd.h). All that
 * the VM begins is asked for its policy packet by packet: what is forbidden later ends at once. */
static const char base[] =
	"	set host4 { type ipv4_addr; }\n"
	"	set pub_tcp { type inet_service; }\n"
	"	set pub_udp { type inet_service; }\n"
	"	set named4 { type ipv4_addr; flags timeout; }\n"
	"	set named_proto4 { type ipv4_addr . inet_proto; flags timeout; }\n"
	"	set named_port4 { type ipv4_addr . inet_proto . inet_service; flags timeout; }\n"
	"	set never4 { type ipv4_addr; flags interval; elements = { 0.0.0.0/8, 127.0.0.0/8, "
	"169.254.0.0/16, 172.16.0.0/24, 224.0.0.0/3 }; }\n"
	/* The relay's address is ours: slirp4netns would answer for it, too. */
	"	chain to_vm {\n"
	"		type filter hook ingress device \"" SLIRP_LINK
	"\" priority 0; policy accept;\n"
	"		ether type arp arp saddr ip " NET_DNS_IP " drop\n"
	"		ether type arp accept\n"
	"		ether type != ip drop\n"
	"	}\n"
	"	chain from_vm {\n"
	"		type filter hook ingress device \"" NETNS_TAP
	"\" priority 0; policy accept;\n"
	"		ether saddr != " GUEST_MAC " drop\n"
	"		ether type arp arp saddr ether " GUEST_MAC " arp saddr ip " NET_GUEST_IP
	" accept\n"
	"		ether type != ip drop\n"
	"		ip saddr != " NET_GUEST_IP " drop\n"
	"		meta l4proto tcp ip frag-off & 0x3fff != 0 drop\n"
	"		tcp sport @pub_tcp tcp flags & (syn | ack) == syn reject with tcp reset\n"
	"		tcp sport @pub_tcp accept\n"
	"		ip daddr " NET_DNS_IP " udp sport @pub_udp accept\n"
	"		ip daddr " NET_DNS_IP " meta l4proto { tcp, udp } th dport 53 accept\n"
	"		ip daddr " NET_GATEWAY_IP " icmp type echo-request accept\n"
	"		ip daddr @never4 reject with icmp type admin-prohibited\n"
	"		ip daddr @host4 reject with icmp type admin-prohibited\n"
	"		jump c_egress\n"
	"	}\n";

/* In host byte order, as nft reads it. */
static void add_addr(uint32_t addr, struct buf *out)
{
	buf_addf(out, "%u.%u.%u.%u", addr >> 24, addr >> 16 & 255, addr >> 8 & 255, addr & 255);
}

static const char *proto_text(enum net_proto proto)
{
	switch (proto) {
	case NET_PROTO_TCP:
		return "tcp";
	case NET_PROTO_UDP:
		return "udp";
	case NET_PROTO_ANY:
		break;
	}
	return "{ tcp, udp }";
}

static void add_allowed(const struct net_allow *a, struct buf *out)
{
	buf_add_str(out, "add rule " TABLE " c_egress ip daddr ");
	add_addr(a->addr, out);
	buf_addf(out, "/%u", a->prefix);
	if (a->proto != NET_PROTO_ANY || a->port)
		buf_addf(out, " meta l4proto %s", proto_text(a->proto));
	if (a->port)
		buf_addf(out, " th dport %u", a->port);
	buf_add_str(out, " accept\n");
}

static void add_policy(const struct net_config *c, struct buf *out)
{
	if (!c->egress_deny)
		return;
	for (size_t i = 0; i < c->n_allow; i++)
		if (!c->allow[i].name)
			add_allowed(&c->allow[i], out);
	buf_add_str(out,
		    "add rule " TABLE " c_egress ip daddr @named4 accept\n"
		    "add rule " TABLE " c_egress ip daddr . meta l4proto @named_proto4 accept\n"
		    "add rule " TABLE
		    " c_egress ip daddr . meta l4proto . th dport @named_port4 accept\n"
		    "add rule " TABLE " c_egress meta l4proto tcp reject with tcp reset\n"
		    "add rule " TABLE " c_egress reject with icmp type admin-prohibited\n");
}

static void add_host(const uint32_t *host, size_t n_host, struct buf *out)
{
	for (size_t i = 0; i < n_host; i++) {
		buf_add_str(out, "add element " TABLE " host4 { ");
		add_addr(host[i], out);
		buf_add_str(out, " }\n");
	}
}

static void add_ports(const struct net_port *ports, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n; i++)
		buf_addf(out, "add element " TABLE " %s { %u }\n",
			 ports[i].udp ? "pub_udp" : "pub_tcp", ports[i].guest_port);
}

void rootless_rules_table(const struct net_config *c, const uint32_t *host, size_t n_host,
			  struct buf *out)
{
	buf_add_str(out, "table " TABLE " {}\ndelete table " TABLE "\ntable " TABLE " {\n"
			 "	chain c_egress {\n	}\n");
	buf_add_str(out, base);
	buf_add_str(out, "}\n");
	add_host(host, n_host, out);
	add_ports(c->ports, c->n_ports, out);
	add_policy(c, out);
}

void rootless_rules_ports(const struct net_port *ports, size_t n, struct buf *out)
{
	buf_add_str(out, "flush set " TABLE " pub_tcp\nflush set " TABLE " pub_udp\n");
	add_ports(ports, n, out);
}

void rootless_rules_policy(const struct net_config *c, struct buf *out)
{
	buf_add_str(out, "flush chain " TABLE " c_egress\nflush set " TABLE " named4\n"
			 "flush set " TABLE " named_proto4\nflush set " TABLE " named_port4\n");
	add_policy(c, out);
}

void rootless_rules_host(const uint32_t *host, size_t n_host, struct buf *out)
{
	buf_add_str(out, "flush set " TABLE " host4\n");
	add_host(host, n_host, out);
}

/* Seen again, its time begins anew: an element that is there keeps its own unless it goes first.
 * Added before that, so that there is one to go. */
static void add_named(const char *set, const char *key, uint32_t ttl_s, struct buf *out)
{
	buf_addf(out, "add element " TABLE " %s { %s timeout %us }\n", set, key, ttl_s);
	buf_addf(out, "delete element " TABLE " %s { %s }\n", set, key);
	buf_addf(out, "add element " TABLE " %s { %s timeout %us }\n", set, key, ttl_s);
}

void rootless_rules_named(const struct net_allow *a, uint32_t addr, uint32_t ttl_s, struct buf *out)
{
	static const struct {
		enum net_proto proto;
		const char *text;
	} protos[] = {{NET_PROTO_TCP, "tcp"}, {NET_PROTO_UDP, "udp"}};
	auto_buf struct buf ip = BUF_INIT(64), key = BUF_INIT(128);

	add_addr(addr, &ip);
	if (a->proto == NET_PROTO_ANY && !a->port) {
		add_named("named4", buf_str(&ip), ttl_s, out);
		return;
	}
	for (size_t i = 0; i < sizeof(protos) / sizeof(protos[0]); i++) {
		if (a->proto != NET_PROTO_ANY && a->proto != protos[i].proto)
			continue;
		buf_reset(&key);
		buf_addf(&key, "%s . %s", buf_str(&ip), protos[i].text);
		if (a->port)
			buf_addf(&key, " . %u", a->port);
		add_named(a->port ? "named_port4" : "named_proto4", buf_str(&key), ttl_s, out);
	}
}
