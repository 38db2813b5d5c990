#include "rootless_rules.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bridge.h"
#include "cleanup.h"
#include "eth.h"
#include "net.h"
#include "netns.h"
#include "nftext.h"
#include "slirp.h"
#include "user.h"
#include "userns.h"

#define UPLINK_MAC "52:55:ac:10:00:02"

/* A VM's namespace with a test at both ends of its bridge: tap is the guest's side, up slirp's. */
struct bed {
	int tap, up;
};

static int say(const struct err *err)
{
	(void)dprintf(STDOUT_FILENO, "%s\n", err->msg);
	return -1;
}

static int make_uplink(void)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct ifreq req = {.ifr_flags = IFF_TAP | IFF_NO_PI};

	(void)snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", SLIRP_LINK);
	return fd >= 0 && ioctl(fd, TUNSETIFF, &req) == 0 ? fd : -1;
}

static int bed_make(struct bed *b, struct err *err)
{
	cpu_set_t one;
	int r = userns_enter(err);

	/* One processor: frames arrive in the order they are sent. */
	CPU_ZERO(&one);
	CPU_SET((unsigned int)sched_getcpu(), &one);
	(void)sched_setaffinity(0, sizeof(one), &one);
	if (r == 0)
		r = netns_enter(&b->tap, err);
	if (r < 0)
		return r;
	b->up = make_uplink();
	if (b->up < 0)
		return err_sys(err, "cannot make the uplink");
	r = bridge_make(SLIRP_MTU, err);
	return r < 0 ? r : bridge_add_uplink(SLIRP_MTU, err);
}

/* Whether f gets from one end to the other: a frame sent behind it, which certainly does, tells. */
static bool passes(int from, bool from_tap, int to, const struct eth *f, const struct eth *marker)
{
	bool seen = false;
	struct eth got;

	eth_send(from, from_tap, f);
	eth_send(from, from_tap, marker);
	while (eth_read(to, !from_tap, &got)) {
		if (eth_equal(&got, marker))
			return seen;
		seen = seen || eth_equal(&got, f);
	}
	(void)dprintf(STDOUT_FILENO, "the marker was lost\n");
	return seen;
}

static struct eth arp_of_guest(void)
{
	return eth_arp(NULL, NULL, NET_GATEWAY_IP, false);
}

struct sent {
	const char *what;
	struct packet packet; /* proto 0: frame */
	struct eth frame;
	bool passes;
};

static void judge(const struct bed *b, const struct sent *cases, size_t n)
{
	const struct eth marker = arp_of_guest();

	for (size_t i = 0; i < n; i++) {
		struct eth f = cases[i].packet.proto ? eth_ip(&cases[i].packet) : cases[i].frame;

		if (passes(b->tap, true, b->up, &f, &marker) != cases[i].passes)
			(void)dprintf(STDOUT_FILENO, "%s: %s\n", cases[i].what,
				      cases[i].passes ? "stopped" : "let through");
	}
}

static const uint32_t host[] = {0xc0a80105u /* 192.168.1.5 */, 0xcb007102u /* 203.0.113.2 */};

static int load(const struct net_config *c, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);

	rootless_rules_table(c, host, ARRAY_SIZE(host), &text);
	return nftext_run(buf_str(&text), err);
}

static int send_by_default(void *data)
{
	const struct net_config c = {.mode = NET_ROOTLESS};
	const struct eth to_port_80 =
		eth_ip(&(struct packet){.to = "1.2.3.4", .proto = IPPROTO_TCP, .dport = 80});
	struct eth tagged = to_port_80;
	const struct sent cases[] = {
		{"the world", {.to = "1.2.3.4", .proto = IPPROTO_TCP, .dport = 80}, {{0}, 0}, true},
		{"udp", {.to = "1.2.3.4", .proto = IPPROTO_UDP, .dport = 53}, {{0}, 0}, true},
		{"ping", {.to = "1.2.3.4", .proto = IPPROTO_ICMP, .sport = 8}, {{0}, 0}, true},
		{"the lan",
		 {.to = "192.168.1.6", .proto = IPPROTO_TCP, .dport = 80},
		 {{0}, 0},
		 true},
		{"the gateway's echo",
		 {.to = NET_GATEWAY_IP, .proto = IPPROTO_ICMP, .sport = 8},
		 {{0}, 0},
		 true},
		{"the gateway's ports",
		 {.to = NET_GATEWAY_IP, .proto = IPPROTO_TCP, .dport = 22},
		 {{0}, 0},
		 false},
		{"the gateway's subnet",
		 {.to = "172.16.0.7", .proto = IPPROTO_TCP, .dport = 80},
		 {{0}, 0},
		 false},
		{"the host on the lan",
		 {.to = "192.168.1.5", .proto = IPPROTO_TCP, .dport = 80},
		 {{0}, 0},
		 false},
		{"the host's public address",
		 {.to = "203.0.113.2", .proto = IPPROTO_UDP, .dport = 80},
		 {{0}, 0},
		 false},
		{"loopback",
		 {.to = "127.0.0.1", .proto = IPPROTO_TCP, .dport = 80},
		 {{0}, 0},
		 false},
		{"another VM's port",
		 {.to = "127.9.1.1", .proto = IPPROTO_TCP, .dport = 80},
		 {{0}, 0},
		 false},
		{"metadata",
		 {.to = "169.254.169.254", .proto = IPPROTO_TCP, .dport = 80},
		 {{0}, 0},
		 false},
		{"multicast",
		 {.to = "224.0.0.251", .proto = IPPROTO_UDP, .dport = 5353},
		 {{0}, 0},
		 false},
		{"broadcast",
		 {.to = "255.255.255.255", .proto = IPPROTO_UDP, .dport = 67},
		 {{0}, 0},
		 false},
		{"nowhere", {.to = "0.0.0.0", .proto = IPPROTO_TCP, .dport = 80}, {{0}, 0}, false},
		{"another address",
		 {.from = "172.16.0.101", .to = "1.2.3.4", .proto = IPPROTO_TCP, .dport = 80},
		 {{0}, 0},
		 false},
		{"the gateway's own",
		 {.from = NET_GATEWAY_IP, .to = "1.2.3.4", .proto = IPPROTO_UDP, .dport = 80},
		 {{0}, 0},
		 false},
		{"another MAC",
		 {.mac = "02:fc:00:00:00:65", .to = "1.2.3.4", .proto = IPPROTO_TCP, .dport = 80},
		 {{0}, 0},
		 false},
		{"arp as another",
		 {0},
		 eth_arp(NULL, "172.16.0.101", NET_GATEWAY_IP, false),
		 false},
		{"arp as the gateway",
		 {0},
		 eth_arp(NULL, NET_GATEWAY_IP, NET_GUEST_IP, true),
		 false},
		{"arp with another MAC",
		 {0},
		 eth_arp("02:fc:00:00:00:65", NULL, NET_GATEWAY_IP, false),
		 false},
		{"IPv6", {0}, eth_of_type(ETHERTYPE_IPV6), false},
		{"something else", {0}, eth_of_type(0x88cc), false},
		{"a VLAN", {0}, *(tagged.bytes[12] = 0x81, tagged.bytes[13] = 0, &tagged), false},
	};
	struct err err = {0};
	struct bed b;

	(void)data;
	if (bed_make(&b, &err) < 0 || load(&c, &err) < 0)
		return say(&err);
	judge(&b, cases, ARRAY_SIZE(cases));
	return 0;
}

static void in_a_bed(int (*fn)(void *data))
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(65536);

	user_make(&u, "rules");
	user_open_tun();
	user_call(&u, fn, NULL, &out);
	cr_expect_str_eq(buf_str(&out), "");
}

Test(rootless_rules, a_vm_is_nobody_else_and_reaches_the_world_but_not_the_host)
{
	in_a_bed(send_by_default);
}

static int send_under_deny(void *data)
{
	char name[] = "repo.example";
	struct net_allow allow[] = {
		{.addr = 0x0a010000u, .prefix = 16},
		{.addr = 0x0a020304u, .prefix = 32, .port = 443, .proto = NET_PROTO_TCP},
		{.addr = 0x0a030000u, .prefix = 24, .port = 53},
		{.addr = 0x0a040000u, .prefix = 24, .proto = NET_PROTO_UDP},
		{.addr = 0xc0a80100u, .prefix = 24}, /* the host's own is in it */
		{.name = name, .port = 80, .proto = NET_PROTO_TCP},
	};
	const struct net_config c = {.mode = NET_ROOTLESS,
				     .egress_deny = true,
				     .allow = allow,
				     .n_allow = ARRAY_SIZE(allow)};
	const struct sent cases[] = {
		{"not allowed",
		 {.to = "1.2.3.4", .proto = IPPROTO_TCP, .dport = 80},
		 {{0}, 0},
		 false},
		{"all of a net",
		 {.to = "10.1.9.9", .proto = IPPROTO_TCP, .dport = 9},
		 {{0}, 0},
		 true},
		{"ping into it",
		 {.to = "10.1.9.9", .proto = IPPROTO_ICMP, .sport = 8},
		 {{0}, 0},
		 true},
		{"its port",
		 {.to = "10.2.3.4", .proto = IPPROTO_TCP, .dport = 443},
		 {{0}, 0},
		 true},
		{"another port",
		 {.to = "10.2.3.4", .proto = IPPROTO_TCP, .dport = 80},
		 {{0}, 0},
		 false},
		{"not by udp",
		 {.to = "10.2.3.4", .proto = IPPROTO_UDP, .dport = 443},
		 {{0}, 0},
		 false},
		{"any by tcp",
		 {.to = "10.3.0.1", .proto = IPPROTO_TCP, .dport = 53},
		 {{0}, 0},
		 true},
		{"any by udp",
		 {.to = "10.3.0.1", .proto = IPPROTO_UDP, .dport = 53},
		 {{0}, 0},
		 true},
		{"all of udp",
		 {.to = "10.4.0.1", .proto = IPPROTO_UDP, .dport = 9},
		 {{0}, 0},
		 true},
		{"none of tcp",
		 {.to = "10.4.0.1", .proto = IPPROTO_TCP, .dport = 9},
		 {{0}, 0},
		 false},
		{"a neighbour",
		 {.to = "192.168.1.6", .proto = IPPROTO_TCP, .dport = 9},
		 {{0}, 0},
		 true},
		{"the host",
		 {.to = "192.168.1.5", .proto = IPPROTO_TCP, .dport = 9},
		 {{0}, 0},
		 false},
		{"a name's", {.to = "10.9.9.9", .proto = IPPROTO_TCP, .dport = 80}, {{0}, 0}, true},
		{"not its port",
		 {.to = "10.9.9.9", .proto = IPPROTO_TCP, .dport = 81},
		 {{0}, 0},
		 false},
	};
	auto_buf struct buf text = BUF_INIT(4096);
	struct err err = {0};
	struct eth got;
	struct bed b;

	(void)data;
	if (bed_make(&b, &err) < 0 || load(&c, &err) < 0)
		return say(&err);
	rootless_rules_named(&allow[5], 0x0a090909u, 60, &text);
	rootless_rules_named(&allow[5], 0x0a090909u, 60, &text);
	if (nftext_run(buf_str(&text), &err) < 0)
		return say(&err);
	judge(&b, cases, ARRAY_SIZE(cases));
	/* It is told so: who waits for an answer need not wait for a timeout. */
	while (eth_read(b.tap, true, &got))
		if (got.bytes[ETH_HLEN + 9] == IPPROTO_ICMP && got.bytes[ETH_HLEN + 20] == 3 &&
		    got.bytes[ETH_HLEN + 21] == 13)
			return 0;
	(void)dprintf(STDOUT_FILENO, "nothing was rejected\n");
	return 0;
}

Test(rootless_rules, under_deny_what_is_allowed_passes_and_the_rest_is_rejected)
{
	in_a_bed(send_under_deny);
}

static struct eth from_caller(uint8_t proto, uint16_t sport, uint16_t dport)
{
	const struct packet p = {.from = "198.51.100.9",
				 .to = NET_GUEST_IP,
				 .proto = proto,
				 .sport = sport,
				 .dport = dport};

	return eth_from(UPLINK_MAC, eth_ip(&p));
}

static int answer_a_caller(void *data)
{
	struct net_port ports[] = {{.guest_port = 80}, {.guest_port = 53, .udp = true}};
	const struct net_config c = {
		.mode = NET_ROOTLESS, .egress_deny = true, .ports = ports, .n_ports = 2};
	const struct eth in_marker =
		eth_from(UPLINK_MAC, eth_arp(UPLINK_MAC, NET_GATEWAY_IP, NET_GUEST_IP, true));
	const struct eth relay =
		eth_from(UPLINK_MAC, eth_arp(UPLINK_MAC, NET_DNS_IP, NET_GUEST_IP, true));
	const struct eth calls[] = {from_caller(IPPROTO_TCP, 4000, 80),
				    from_caller(IPPROTO_UDP, 4000, 53)};
#define CALLER .to = "198.51.100.9"
	const struct sent cases[] = {
		{"the answer",
		 {CALLER, .proto = IPPROTO_TCP, .sport = 80, .dport = 4000, .ack = true},
		 {{0}, 0},
		 true},
		{"a call from the port",
		 {CALLER, .proto = IPPROTO_TCP, .sport = 80, .dport = 4000},
		 {{0}, 0},
		 false},
		{"an answer from a port that is not published",
		 {CALLER, .proto = IPPROTO_TCP, .sport = 81, .dport = 4000, .ack = true},
		 {{0}, 0},
		 false},
		{"udp of its own from the port",
		 {CALLER, .proto = IPPROTO_UDP, .sport = 53, .dport = 4000},
		 {{0}, 0},
		 false},
		{"udp from a port that is not published",
		 {CALLER, .proto = IPPROTO_UDP, .sport = 54, .dport = 4000},
		 {{0}, 0},
		 false},
	};
	struct err err = {0};
	struct bed b;

	(void)data;
	if (bed_make(&b, &err) < 0 || load(&c, &err) < 0)
		return say(&err);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if (!passes(b.up, false, b.tap, &calls[i], &in_marker))
			(void)dprintf(STDOUT_FILENO, "call %zu was stopped\n", i);
	judge(&b, cases, ARRAY_SIZE(cases));
	if (passes(b.up, false, b.tap, &relay, &in_marker))
		(void)dprintf(STDOUT_FILENO, "somebody else was the relay\n");
	return 0;
}

Test(rootless_rules, a_published_ports_callers_are_answered_whatever_the_policy)
{
	in_a_bed(answer_a_caller);
}

static int call_from_a_port(void *data)
{
	struct net_port ports[] = {{.guest_port = 80}, {.guest_port = 53, .udp = true}};
	const struct net_config c = {.mode = NET_ROOTLESS, .ports = ports, .n_ports = 2};
	const struct sent cases[] = {
		{"a call from the port",
		 {CALLER, .proto = IPPROTO_TCP, .sport = 80, .dport = 4000},
		 {{0}, 0},
		 false},
		{"an answer from it",
		 {CALLER, .proto = IPPROTO_TCP, .sport = 80, .dport = 4000, .ack = true},
		 {{0}, 0},
		 true},
		{"a call from a port of udp",
		 {CALLER, .proto = IPPROTO_TCP, .sport = 53, .dport = 4000},
		 {{0}, 0},
		 true},
		{"a call from the port in fragments, the flags in the second",
		 {CALLER, .proto = IPPROTO_TCP, .sport = 80, .dport = 4000, .first = true},
		 {{0}, 0},
		 false},
		{"udp in pieces", {CALLER, .proto = IPPROTO_UDP, .first = true}, {{0}, 0}, true},
		{"a call from any other port",
		 {CALLER, .proto = IPPROTO_TCP, .sport = 81, .dport = 4000},
		 {{0}, 0},
		 true},
	};
	struct err err = {0};
	struct bed b;

	(void)data;
	if (bed_make(&b, &err) < 0 || load(&c, &err) < 0)
		return say(&err);
	judge(&b, cases, ARRAY_SIZE(cases));
	return 0;
}

/* Its packets would be answers as long as it lasts, whatever the policy becomes. */
Test(rootless_rules, a_published_port_begins_no_connection_of_its_own)
{
	in_a_bed(call_from_a_port);
}

static int change_it(void *data)
{
	struct net_allow allow = {.addr = 0x01020304u, .prefix = 32};
	struct net_config c = {.mode = NET_ROOTLESS};
	const uint32_t moved[] = {0x01020305u};
	const struct sent open[] = {
		{"at first", {.to = "1.2.3.4", .proto = IPPROTO_UDP, .dport = 9}, {{0}, 0}, true},
	};
	const struct sent closed[] = {
		{"what was open",
		 {.to = "1.2.3.4", .proto = IPPROTO_UDP, .dport = 9},
		 {{0}, 0},
		 false},
	};
	const struct sent again[] = {
		{"what is allowed now",
		 {.to = "1.2.3.4", .proto = IPPROTO_UDP, .dport = 9},
		 {{0}, 0},
		 true},
		{"the rest", {.to = "1.2.3.6", .proto = IPPROTO_UDP, .dport = 9}, {{0}, 0}, false},
	};
	const struct sent elsewhere[] = {
		{"the host's old address",
		 {.to = "203.0.113.2", .proto = IPPROTO_UDP, .dport = 9},
		 {{0}, 0},
		 true},
		{"its new one",
		 {.to = "1.2.3.5", .proto = IPPROTO_UDP, .dport = 9},
		 {{0}, 0},
		 false},
	};
	auto_buf struct buf text = BUF_INIT(1u << 20);
	struct err err = {0};
	struct bed b;

	(void)data;
	if (bed_make(&b, &err) < 0 || load(&c, &err) < 0)
		return say(&err);
	judge(&b, open, ARRAY_SIZE(open));
	c.egress_deny = true;
	rootless_rules_policy(&c, &text);
	if (nftext_run(buf_str(&text), &err) < 0)
		return say(&err);
	judge(&b, closed, ARRAY_SIZE(closed));
	c.allow = &allow;
	c.n_allow = 1;
	buf_reset(&text);
	rootless_rules_policy(&c, &text);
	if (nftext_run(buf_str(&text), &err) < 0)
		return say(&err);
	judge(&b, again, ARRAY_SIZE(again));
	c.egress_deny = false;
	buf_reset(&text);
	rootless_rules_policy(&c, &text);
	rootless_rules_host(moved, ARRAY_SIZE(moved), &text);
	if (nftext_run(buf_str(&text), &err) < 0)
		return say(&err);
	judge(&b, elsewhere, ARRAY_SIZE(elsewhere));
	return 0;
}

/* The same flow before and after: one that runs is asked again with its next packet. */
Test(rootless_rules, policy_and_host_addresses_change_in_place)
{
	in_a_bed(change_it);
}
