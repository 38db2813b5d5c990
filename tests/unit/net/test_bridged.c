#include <criterion/criterion.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "net.h"
#include "net_place.h"
#include "net_rig.h"
#include "xalloc.h"

#define OPEN "\"egress\":\"allow\",\"allow\":[],\"dns\":[]}"
#define PLAIN "{\"mode\":\"bridged\",\"ports\":[]," OPEN

static const char ports[] =
	"{\"mode\":\"bridged\",\"ports\":["
	"{\"host_ip\":\"127.0.0.1\",\"host_port\":8080,\"guest_port\":80,\"proto\":\"tcp\"},"
	"{\"host_ip\":null,\"host_port\":80,\"guest_port\":80,\"proto\":\"tcp\"},"
	"{\"host_ip\":\"203.0.113.2\",\"host_port\":9090,\"guest_port\":80,\"proto\":\"tcp\"},"
	"{\"host_ip\":\"0.0.0.0\",\"host_port\":7070,\"guest_port\":80,\"proto\":\"tcp\"},"
	"{\"host_ip\":\"127.0.0.1\",\"host_port\":5353,\"guest_port\":53,\"proto\":\"udp\"}]," OPEN;

Test(bridged, a_guest_reaches_out_and_looks_like_its_host)
{
	auto_world struct net_world w;
	struct net_vm vm;

	net_world_make(&w, NULL);
	net_serve_at(w.inet, "inet", RIG_INET, 80, false);
	net_serve_at(w.inet, "inet", RIG_INET_2, 53, true);
	net_vm_up(&w, &vm, "vm", PLAIN);
	cr_expect_str_eq(net_vm_text(&vm, "ip"), "10.200.0.2");
	cr_expect_str_eq(net_vm_text(&vm, "loopback"), "");
	cr_expect_str_eq(net_hear(vm.guest, RIG_INET, 80, false, NULL), "inet " RIG_WAN);
	cr_expect_str_eq(net_hear(vm.guest, RIG_INET_2, 53, true, NULL), "inet " RIG_WAN);
	net_vm_down(&vm);
}

Test(bridged, published_ports_are_served_where_they_were_said_to_be)
{
	auto_world struct net_world w;
	struct net_vm vm;

	net_world_make(&w, NULL);
	net_vm_up(&w, &vm, "vm", ports);
	net_serve_at(vm.guest, "guest", "0.0.0.0", 80, false);
	net_serve_at(vm.guest, "guest", "0.0.0.0", 53, true);
	cr_expect_str_eq(net_vm_text(&vm, "loopback"), "127.64.0.1");
	cr_expect_str_eq(net_hear(0, "127.0.0.1", 8080, false, NULL), "guest 10.200.0.1");
	cr_expect_str_eq(net_hear(0, "127.64.0.1", 80, false, NULL), "guest 10.200.0.1");
	cr_expect_str_eq(net_hear(0, "127.0.0.1", 5353, true, NULL), "guest 10.200.0.1");
	cr_expect_str_eq(net_hear(0, "127.0.0.1", 7070, false, NULL), "guest 10.200.0.1");
	cr_expect_str_eq(net_hear(0, RIG_WAN, 9090, false, NULL), "guest " RIG_WAN);
	cr_expect_str_eq(net_hear(0, "10.200.0.2", 80, false, NULL), "guest 10.200.0.1");
	cr_expect_str_eq(net_hear(w.inet, RIG_WAN, 9090, false, NULL), "guest " RIG_INET);
	cr_expect_str_eq(net_hear(w.inet, RIG_WAN, 7070, false, NULL), "guest " RIG_INET);
	cr_expect_str_eq(net_hear(w.inet, RIG_WAN, 8080, false, NULL), "refused");
	cr_expect_str_eq(net_hear(0, "127.0.0.1", 80, false, NULL), "refused");
	net_vm_down(&vm);
	cr_expect_str_eq(net_hear(0, "127.0.0.1", 8080, false, NULL), "refused");
}

Test(bridged, two_guests_with_one_address_are_two)
{
	auto_world struct net_world w;
	struct net_vm a, b;

	net_world_make(&w, NULL);
	net_serve_at(w.inet, "inet", RIG_INET, 80, false);
	net_vm_up(&w, &a, "a", ports);
	net_vm_up(&w, &b, "b",
		  "{\"mode\":\"bridged\",\"ports\":[{\"host_ip\":null,\"host_port\":80,"
		  "\"guest_port\":80,\"proto\":\"tcp\"}]," OPEN);
	net_serve_at(a.guest, "a", "0.0.0.0", 80, false);
	net_serve_at(b.guest, "b", "0.0.0.0", 80, false);
	cr_expect_str_eq(net_vm_text(&b, "ip"), "10.200.0.6");
	cr_expect_str_eq(net_vm_text(&b, "loopback"), "127.64.0.2");
	cr_expect_str_eq(net_hear(0, "127.64.0.1", 80, false, NULL), "a 10.200.0.1");
	cr_expect_str_eq(net_hear(0, "127.64.0.2", 80, false, NULL), "b 10.200.0.5");
	cr_expect_str_eq(net_hear(a.guest, RIG_INET, 80, false, NULL), "inet " RIG_WAN);
	cr_expect_str_eq(net_hear(b.guest, RIG_INET, 80, false, NULL), "inet " RIG_WAN);
	net_vm_down(&a);
	cr_expect_str_eq(net_hear(0, "127.64.0.2", 80, false, NULL), "b 10.200.0.5");
	net_vm_down(&b);
}

Test(bridged, a_guest_reaches_neither_its_host_nor_other_guests_nor_metadata)
{
	auto_world struct net_world w;
	struct net_vm a, b;

	net_world_make(&w, NULL);
	net_vm_up(&w, &a, "a", ports);
	net_vm_up(&w, &b, "b", PLAIN);
	net_serve_at(a.guest, "a", "0.0.0.0", 80, false);
	net_serve_at(0, "host", "0.0.0.0", 22, false);
	net_serve_at(w.inet, "inet", "0.0.0.0", 80, false);
	net_ip_at(w.inet, "addr add 169.254.169.254/32 dev in0");
	net_ip_at(0, "route add 169.254.0.0/16 via " RIG_INET);
	cr_expect_str_eq(net_hear(0, "127.0.0.1", 22, false, NULL), "host 127.0.0.1");
	cr_expect_str_eq(net_hear(0, "169.254.169.254", 80, false, NULL), "inet " RIG_WAN);

	/* Once more from the VM's namespace, where what it filters itself is not in the way. */
	cr_expect_str_eq(net_hear(b.supervisor, RIG_WAN, 22, false, NULL), "filtered");
	cr_expect_str_eq(net_hear(b.supervisor, "10.200.0.2", 80, false, NULL), "filtered");
	cr_expect_str_eq(net_hear(b.supervisor, RIG_WAN, 9090, false, NULL), "filtered");
	cr_expect_str_eq(net_hear(b.supervisor, "169.254.169.254", 80, false, NULL), "filtered");
	cr_expect_str_eq(net_hear(b.guest, RIG_WAN, 22, false, NULL), "filtered");
	cr_expect_str_eq(net_hear(b.guest, "10.200.0.5", 22, false, NULL), "filtered");
	cr_expect_str_eq(net_hear(b.guest, "10.200.0.1", 22, false, NULL), "filtered");
	cr_expect_str_eq(net_hear(b.guest, "10.200.0.2", 80, false, NULL), "filtered");
	cr_expect_str_eq(net_hear(b.guest, RIG_WAN, 9090, false, NULL), "filtered");
	cr_expect_str_eq(net_hear(b.guest, RIG_WAN, 7070, false, NULL), "filtered");
	cr_expect_str_eq(net_hear(b.guest, "169.254.169.254", 80, false, NULL), "filtered");
	cr_expect_str_eq(net_hear(b.guest, NET_GATEWAY_IP, 22, false, NULL), "filtered");
	net_vm_down(&a);
	net_vm_down(&b);
}

static void expect_counted(pid_t where, const char *what, int n)
{
	static const char *const list[] = {"nft", "list", "table", "ip", "t", NULL};
	auto_buf struct buf seen = BUF_INIT(65536);
	auto_free char *want = xasprintf("%s counter packets %d ", what, n);

	cr_assert_eq(net_run_at(where, &seen, list), 0);
	cr_expect(strstr(buf_str(&seen), want), "%s", buf_str(&seen));
}

#define COUNT(hook)                                                                 \
	(const char *const[])                                                       \
	{                                                                           \
		"nft",                                                              \
			"add table ip t; add chain ip t c { type filter hook " hook \
			" priority 10; }; add rule ip t c udp dport 99 counter",    \
			NULL                                                        \
	}

/* A datagram sent in another's name gets nowhere, not even to where there is no way back from. */
Test(bridged, a_spoofed_source_gets_nowhere)
{
	static const char *const no_masquerade[] = {"nft", "flush chain ip fcvm c_post", NULL};
	auto_world struct net_world w;
	struct net_vm vm;

	net_world_make(&w, NULL);
	net_vm_up(&w, &vm, "vm", PLAIN);
	net_ip_at(vm.guest, "addr add 10.9.9.9/32 dev eth0");
	net_ip_at(vm.guest, "addr add " RIG_WAN "/32 dev eth0");
	cr_assert_eq(net_run_at(0, NULL, COUNT("prerouting")), 0);
	cr_assert_eq(net_run_at(w.inet, NULL, COUNT("prerouting")), 0);
	(void)net_hear(vm.guest, RIG_INET, 99, true, "10.9.9.9");
	(void)net_hear(vm.guest, RIG_INET, 99, true, RIG_WAN);
	expect_counted(0, "udp dport 99", 0);
	(void)net_hear(vm.guest, RIG_INET, 99, true, NULL);
	expect_counted(w.inet, "udp dport 99", 1);

	/* Should the VM's namespace fail to do its part, the host does. */
	net_ip_at(vm.supervisor, "addr add 10.9.9.9/32 dev up0");
	cr_assert_eq(net_run_at(vm.supervisor, NULL, no_masquerade), 0);
	(void)net_hear(vm.supervisor, RIG_INET, 99, true, "10.9.9.9");
	expect_counted(0, "udp dport 99", 1);
	net_vm_down(&vm);
}

#define DENY(allow) \
	"{\"mode\":\"bridged\",\"ports\":[],\"egress\":\"deny\",\"allow\":[" allow "],\"dns\":[]}"

Test(bridged, an_allowlist_is_all_there_is)
{
	static const struct {
		const char *config, *tcp80, *tcp81, *udp80, *other;
	} cases[] = {
		{DENY(""), "refused", "refused", "filtered", "refused"},
		{DENY("\"203.0.113.0/24\""), "inet " RIG_WAN, "inet " RIG_WAN, "inet " RIG_WAN,
		 "refused"},
		{DENY("\"203.0.113.0/29:80\""), "inet " RIG_WAN, "refused", "inet " RIG_WAN,
		 "refused"},
		{DENY("\"203.0.113.1:80/tcp\""), "inet " RIG_WAN, "refused", "filtered", "refused"},
		{DENY("\"203.0.113.1/udp\""), "refused", "refused", "inet " RIG_WAN, "refused"},
		{DENY("\"0.0.0.0/0/tcp\",\"203.0.113.1:80/tcp\""), "inet " RIG_WAN, "inet " RIG_WAN,
		 "filtered", "inet " RIG_WAN},
		{DENY("\"203.0.113.0/25:81\",\"203.0.113.0/24:81\",\"198.51.100.7\","
		      "\"198.51.100.0/24\""),
		 "refused", "inet " RIG_WAN, "filtered", "inet " RIG_WAN},
		{PLAIN, "inet " RIG_WAN, "inet " RIG_WAN, "inet " RIG_WAN, "inet " RIG_WAN},
	};
	auto_world struct net_world w;
	struct net_vm vm, other;

	net_world_make(&w, NULL);
	net_serve_at(w.inet, "inet", RIG_INET, 80, false);
	net_serve_at(w.inet, "inet", RIG_INET, 81, false);
	net_serve_at(w.inet, "inet", RIG_INET, 80, true);
	net_serve_at(w.inet, "inet", RIG_INET_2, 80, false);
	net_vm_up(&w, &other, "other", PLAIN);
	net_vm_up(&w, &vm, "vm", PLAIN);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *words = net_vm_update(&vm, cases[i].config);

		cr_assert_str_eq(words, "");
		cr_expect_str_eq(net_hear(vm.guest, RIG_INET, 80, false, NULL), cases[i].tcp80,
				 "%s", cases[i].config);
		cr_expect_str_eq(net_hear(vm.guest, RIG_INET, 81, false, NULL), cases[i].tcp81,
				 "%s", cases[i].config);
		cr_expect_str_eq(net_hear(vm.guest, RIG_INET, 80, true, NULL), cases[i].udp80, "%s",
				 cases[i].config);
		cr_expect_str_eq(net_hear(vm.guest, RIG_INET_2, 80, false, NULL), cases[i].other,
				 "%s", cases[i].config);
		cr_expect_str_eq(net_hear(other.guest, RIG_INET, 81, false, NULL), "inet " RIG_WAN);
	}
	net_vm_down(&vm);
	net_vm_down(&other);
}

/* The neighbours of a host may write any destination into what they send it. */
Test(bridged, nobody_outside_gets_in_but_by_what_is_published_there)
{
	static const char *const send_loopback[] = {
		"sh", "-ec",
		"ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.1/32 via 203.0.113.2; "
		"echo 1 >/proc/sys/net/ipv4/conf/in0/route_localnet",
		NULL};
	auto_world struct net_world w;
	struct net_vm vm;

	net_world_make(&w, NULL);
	net_vm_up(&w, &vm, "vm", ports);
	net_serve_at(vm.guest, "guest", "0.0.0.0", 80, false);
	net_ip_at(w.inet, "route add 10.200.0.0/16 via " RIG_WAN);
	cr_assert_eq(net_run_at(w.inet, NULL, send_loopback), 0);
	cr_expect_str_eq(net_hear(0, "127.0.0.1", 8080, false, NULL), "guest 10.200.0.1");
	cr_expect_str_eq(net_hear(w.inet, "127.0.0.1", 8080, false, NULL), "timeout");
	cr_expect_str_eq(net_hear(w.inet, "10.200.0.2", 80, false, NULL), "timeout");
	net_vm_down(&vm);
}

/* Forwarding is on at the uplink for VMs; the host is no router for anybody else. */
Test(bridged, a_host_with_vms_is_no_router_for_its_neighbours)
{
	auto_world struct net_world w;
	struct net_vm vm;

	net_world_make(&w, NULL);
	net_vm_up(&w, &vm, "vm", PLAIN);
	net_ip_at(0, "link add lan0 type veth peer name lan1");
	net_ip_at(0, "addr add 198.18.0.1/24 dev lan0");
	net_ip_at(0, "link set lan0 up");
	net_ip_at(0, "link set lan1 up");
	net_ip_at(0, "neigh add 198.18.0.9 lladdr 02:00:00:00:00:09 dev lan0");
	net_ip_at(w.inet, "route add 198.18.0.0/24 via " RIG_WAN);
	cr_assert_eq(net_run_at(0, NULL, COUNT("forward")), 0);
	(void)net_hear(w.inet, "198.18.0.9", 99, true, NULL);
	expect_counted(0, "udp dport 99", 0);
	net_vm_down(&vm);
}

/* Nothing of it: the host's end has no address to talk to, and inside all of it is dropped. */
Test(bridged, there_is_no_ipv6)
{
	static const char *const look[] = {"ip", "-6", "addr", "show", "dev", "fv0", NULL};
	auto_world struct net_world w;
	auto_buf struct buf out = BUF_INIT(65536);
	struct net_vm vm;

	net_world_make(&w, NULL);
	net_vm_up(&w, &vm, "vm", PLAIN);
	cr_assert_eq(net_run_at(0, &out, look), 0);
	cr_expect_str_eq(buf_str(&out), "");
	cr_assert_eq(net_run_at(vm.supervisor, &out,
				(const char *const[]){"nft", "list", "table", "ip6", "fcvm", NULL}),
		     0);
	cr_expect(strstr(buf_str(&out), "hook prerouting priority raw; policy drop;"));
	cr_expect(strstr(buf_str(&out), "hook output priority raw; policy drop;"));
	net_vm_down(&vm);
}

Test(bridged, one_process_gives_back_all_it_took)
{
	auto_world struct net_world w;
	auto_free char *dir = NULL;
	auto_loop struct loop *loop = NULL;
	struct net_port port = {"", 80, 80, false};
	struct net_config c = {.mode = NET_BRIDGED, .ports = &port, .n_ports = 1};
	struct net *n = NULL;
	struct err err = {0};

	net_world_make(&w, NULL);
	dir = path_join(w.dir, "vm");
	cr_assert_geq(file_mkdir_p(dir, 0711, &err), 0, "%s", err.msg);
	const struct net_spec spec = {.host = &w.host, .dir = dir, .config = &c};

	cr_assert_geq(loop_new(&loop, &err), 0);
	cr_assert_geq(net_up(&spec, &n, &err), 0, "%s", err.msg);
	cr_assert_geq(net_serve(n, loop, &err), 0, "%s", err.msg);
	cr_expect_eq(net_mtu(n), 1500u);
	cr_expect_geq(net_tap_fd(n), 0);
	c.n_ports = 0;
	c.egress_deny = true;
	cr_assert_geq(net_update(n, &c, &err), 0, "%s", err.msg);
	cr_expect_eq(net_look(n)->n_ports, 0u);
	net_down(n);
}

/* What doctor advises where a table of somebody else drops what is forwarded, as Docker's does. */
Test(bridged, beside_a_firewall_that_drops_what_is_forwarded)
{
	static const char *const drop[] = {"iptables", "-P", "FORWARD", "DROP", NULL};
	static const char *const advice[] = {
		"sh", "-ec",
		"iptables -I FORWARD -i fv+ -j ACCEPT; iptables -I FORWARD -o fv+ -m conntrack "
		"--ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT",
		NULL};
	auto_world struct net_world w = {0};
	struct net_vm vm;

	if (access("/usr/sbin/iptables", X_OK) < 0)
		cr_skip_test("iptables is not installed");
	net_world_make(&w, NULL);
	net_serve_at(w.inet, "inet", RIG_INET, 80, false);
	net_vm_up(&w, &vm, "vm", ports);
	net_serve_at(vm.guest, "guest", "0.0.0.0", 80, false);
	cr_assert_eq(net_run_at(0, NULL, drop), 0);
	cr_expect_str_eq(net_hear(vm.guest, RIG_INET, 80, false, NULL), "timeout");
	cr_assert_eq(net_run_at(0, NULL, advice), 0);
	cr_expect_str_eq(net_hear(vm.guest, RIG_INET, 80, false, NULL), "inet " RIG_WAN);
	cr_expect_str_eq(net_hear(w.inet, RIG_WAN, 9090, false, NULL), "guest " RIG_INET);
	cr_expect_str_eq(net_hear(0, "127.0.0.1", 8080, false, NULL), "guest 10.200.0.1");
	net_vm_down(&vm);
}
