#include "host_rules.h"

#include <inttypes.h>
#include <stdio.h>

#include "buf.h"

/* FNV-1a: which rules these are, not a secret, and libcrypto takes milliseconds to wake up. */
#define FNV_BASIS UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

/* Set types never change: a set of another type gets another name, since the old one may hold live
 * VMs' elements. */
static const char rules[] =
	"table ip fcvm {\n"
	"  set vmif { type ifname; }\n"
	"  set uplink { type ifname; }\n"
	"  set spoofok { type ifname . ipv4_addr; }\n"
	"  map pub { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }\n"
	"  map pub_any { type inet_proto . inet_service : ipv4_addr . inet_service; }\n"
	"  set restricted { type ifname; }\n"
	"  set allow4 { type ifname . ipv4_addr . inet_proto . inet_service;"
	" flags interval, timeout; }\n"
	"  set allow4_proto { type ifname . ipv4_addr . inet_proto; flags interval, timeout; }\n"
	"  set allow4_addr { type ifname . ipv4_addr; flags interval, timeout; }\n"
	/* Before connection tracking sees it. Nothing a VM sends is for the host's loopback. */
	"  chain c_raw {\n"
	"    type filter hook prerouting priority raw; policy accept;\n"
	"    iifname != @vmif accept\n"
	"    iifname . ip saddr != @spoofok drop\n"
	"    ip daddr 127.0.0.0/8 drop\n"
	"  }\n"
	/* What comes from outside for 127/8 must stay a martian: it is not published there. */
	"  chain c_pre {\n"
	"    type nat hook prerouting priority dstnat; policy accept;\n"
	"    ip daddr 127.0.0.0/8 accept\n"
	"    dnat ip to ip daddr . meta l4proto . th dport map @pub\n"
	"    fib daddr type local dnat ip to meta l4proto . th dport map @pub_any\n"
	"  }\n"
	"  chain c_output {\n"
	"    type nat hook output priority -100; policy accept;\n"
	"    dnat ip to ip daddr . meta l4proto . th dport map @pub\n"
	"    fib daddr type local dnat ip to meta l4proto . th dport map @pub_any\n"
	"  }\n"
	"  chain c_post {\n"
	"    type nat hook postrouting priority srcnat; policy accept;\n"
	"    iifname @vmif oifname != @vmif masquerade\n"
	"    ip saddr 127.0.0.0/8 oifname @vmif masquerade\n"
	"  }\n"
	/* Where forwarding is on because of us, it is on for VMs only. */
	"  chain c_forward {\n"
	"    type filter hook forward priority filter; policy accept;\n"
	"    iifname @uplink oifname != @vmif drop\n"
	"    ct state established,related accept\n"
	"    iifname @vmif jump from_vm\n"
	"    oifname @vmif ct status dnat accept\n"
	"    oifname @vmif drop\n"
	"  }\n"
	"  chain from_vm {\n"
	"    oifname @vmif reject with icmp type admin-prohibited\n"
	"    ip daddr { 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3 }"
	" reject with icmp type admin-prohibited\n"
	"    iifname @restricted jump restricted_vm\n"
	"    accept\n"
	"  }\n"
	/* Only what matches is accepted: a packet without ports matches no port. */
	"  chain restricted_vm {\n"
	"    iifname . ip daddr @allow4_addr accept\n"
	"    iifname . ip daddr . meta l4proto @allow4_proto accept\n"
	"    iifname . ip daddr . meta l4proto . th dport @allow4 accept\n"
	"    meta l4proto tcp reject with tcp reset\n"
	"    reject with icmp type admin-prohibited\n"
	"  }\n"
	"  chain c_input {\n"
	"    type filter hook input priority filter; policy accept;\n"
	"    iifname @vmif jump vm_to_host\n"
	"  }\n"
	"  chain vm_to_host {\n"
	"    ct state established,related accept\n"
	"    icmp type echo-request limit rate 20/second accept\n"
	"    reject with icmp type admin-prohibited\n"
	"  }\n"
	"}\n";

void host_rules_marker(char ret[HOST_RULES_MARKER_SIZE])
{
	uint64_t hash = FNV_BASIS;

	for (size_t i = 0; i + 1 < sizeof(rules); i++)
		hash = (hash ^ (unsigned char)rules[i]) * FNV_PRIME;
	(void)snprintf(ret, HOST_RULES_MARKER_SIZE, HOST_RULES_MARKER "%016" PRIx64, hash);
}

char *host_rules_text(const struct strv *stale)
{
	struct buf text = BUF_INIT(1u << 20);
	char marker[HOST_RULES_MARKER_SIZE];

	host_rules_marker(marker);
	buf_add_str(&text, "add table ip fcvm\nflush table ip fcvm\n");
	for (size_t i = 0; i < stale->n; i++)
		buf_addf(&text, "delete chain ip fcvm %s\n", stale->v[i]);
	buf_add_str(&text, rules);
	buf_addf(&text, "add chain ip fcvm %s\n", marker);
	return buf_detach(&text);
}
