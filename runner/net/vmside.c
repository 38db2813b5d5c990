#include "vmside.h"

#include "net.h"
#include "netns.h"
#include "rtlink.h"
#include "vmrules.h"

#define TAP_ADDR 0xac100002u /* NET_GATEWAY_IP */
#define DNS_ADDR 0xac100003u /* NET_DNS_IP: the relay listens here */
#define TAP_PREFIX 24

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

	return r < 0 ? r : vmrules_load(err);
}
