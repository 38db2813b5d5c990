#include "vmside.h"

#include "net.h"
#include "netns.h"
#include "nftext.h"
#include "rtlink.h"

#define TAP_ADDR 0xac100002u /* NET_GATEWAY_IP */
#define DNS_ADDR 0xac100003u /* NET_DNS_IP: the relay listens here */
#define TAP_PREFIX 24

/* Says nothing of the VM, so it is the same for all. Isolation is the host table's; what can be
 * said here without knowing the host holds as well while that table is being reloaded. */
static const char rules[] =
	"table ip fcvm {\n"
	"  chain c_raw {\n"
	"    type filter hook prerouting priority raw; policy accept;\n"
	"    iifname \"" NETNS_TAP "\" ip saddr != " NET_GUEST_IP " drop\n"
	"  }\n"
	"  chain c_pre {\n"
	"    type nat hook prerouting priority dstnat; policy accept;\n"
	"    iifname \"" VMSIDE_UPLINK "\" dnat to " NET_GUEST_IP "\n"
	"  }\n"
	"  chain c_post {\n"
	"    type nat hook postrouting priority srcnat; policy accept;\n"
	"    oifname \"" VMSIDE_UPLINK "\" masquerade\n"
	"  }\n"
	"  chain c_forward {\n"
	"    type filter hook forward priority filter; policy drop;\n"
	"    ct state established,related accept\n"
	"    iifname \"" VMSIDE_UPLINK "\" ct status dnat accept\n"
	"    ip daddr { 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3, " SLOT_NET " }"
	" reject with icmp type admin-prohibited\n"
	"    iifname \"" NETNS_TAP "\" oifname \"" VMSIDE_UPLINK "\" accept\n"
	"  }\n"
	"  chain c_input {\n"
	"    type filter hook input priority filter; policy drop;\n"
	"    iifname \"lo\" accept\n"
	"    ct state established,related accept\n"
	"    iifname \"" NETNS_TAP "\" ip daddr " NET_DNS_IP
	" meta l4proto { tcp, udp } th dport 53"
	" accept\n"
	"    iifname \"" NETNS_TAP "\" icmp type echo-request limit rate 20/second accept\n"
	"    reject with icmp type admin-prohibited\n"
	"  }\n"
	"}\n"
	/* There is no IPv6 inside: nothing of it comes in, goes out or goes through. */
	"table ip6 fcvm {\n"
	"  chain c_raw { type filter hook prerouting priority raw; policy drop; }\n"
	"  chain c_output { type filter hook output priority raw; policy drop; }\n"
	"}\n";

static int set_links(struct nl_sock *sock, const struct slot *s, struct err *err)
{
	static const struct rtlink_conf conf = {.forwarding = true};
	int r = rtlink_configure(sock, NETNS_TAP, &conf, err);

	if (r >= 0)
		r = rtlink_configure(sock, VMSIDE_UPLINK, &conf, err);
	if (r >= 0)
		r = rtlink_add_address(sock, NETNS_TAP, TAP_ADDR, TAP_PREFIX, err);

	if (r >= 0)
		r = rtlink_add_address(sock, NETNS_TAP, DNS_ADDR, 32, err);
	if (r >= 0)
		r = rtlink_add_address(sock, VMSIDE_UPLINK, s->vm_addr, SLOT_PREFIX, err);
	if (r >= 0)
		r = rtlink_set_up(sock, VMSIDE_UPLINK, err);
	return r < 0 ? r : rtlink_add_default_route(sock, s->host_addr, err);
}

int vmside_make(struct nl_sock *sock, const struct slot *s, struct err *err)
{
	int r = set_links(sock, s, err);

	return r < 0 ? r : nftext_run(rules, err);
}
