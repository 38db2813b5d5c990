/* The pieces networks are made of, each alone in a namespace of the test's own. */
#include <criterion/criterion.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "conntrack.h"
#include "file.h"
#include "host_table.h"
#include "ledger.h"
#include "loopback.h"
#include "net_place.h"
#include "net_rig.h"
#include "netns.h"
#include "nfsock.h"
#include "nftext.h"
#include "ports.h"
#include "rtlink.h"
#include "run.h"
#include "sysctl.h"

static void enter(void)
{
	if (geteuid() != 0)
		cr_skip_test("network namespaces need root");
	cr_assert_eq(unshare(CLONE_NEWNET), 0);
	net_ip_at(0, "link set lo up");
}

static void make_host(struct host *host, char *dir)
{
	*host = (struct host){.data_dir = dir, .boot_id = "boot"};
	cr_assert_geq(host_make_dirs(host, NULL), 0);
}

Test(loopback, every_owner_has_its_own_and_another_users_is_passed_over)
{
	auto_tmpdir char *one = tmpdir_new("loopback"), *two = tmpdir_new("loopback");
	struct loopback a = LOOPBACK_NONE, again = LOOPBACK_NONE, b = LOOPBACK_NONE,
			c = LOOPBACK_NONE;
	struct host first, second;
	struct err err = {0};

	enter();
	make_host(&first, one);
	make_host(&second, two);
	cr_assert_geq(loopback_take(&first, "/a", &a, &err), 0, "%s", err.msg);
	cr_assert_geq(loopback_take(&first, "/b", &b, &err), 0);
	cr_assert_geq(loopback_take(&second, "/a", &c, &err), 0);
	cr_expect_str_eq(a.ip, "127.64.0.1");
	cr_expect_str_eq(b.ip, "127.64.0.2");
	cr_expect_str_eq(c.ip, "127.64.0.3");
	again = a;
	cr_assert_geq(loopback_take(&first, "/a", &again, &err), 0);
	cr_expect_eq(again.claim, a.claim, "it has one");
	loopback_release(&first, "/a", &a);
	cr_expect_str_eq(a.ip, "");
	cr_assert_geq(loopback_take(&second, "/d", &a, &err), 0);
	cr_expect_str_eq(a.ip, "127.64.0.1");
	loopback_release(&second, "/d", &a);
	loopback_release(&first, "/b", &b);
	loopback_release(&second, "/a", &c);
}

Test(ports, what_is_held_is_taken_over_and_the_rest_is_let_go)
{
	struct net_port all[] = {{"127.0.0.1", 81, 80, false}, {"", 82, 80, true}};
	struct net_config c = {.ports = all, .n_ports = 2};
	auto_ports struct ports one = {0}, two = {0};
	struct net_port *shown = NULL;
	struct err err = {0};
	size_t n = 0;

	enter();
	cr_expect(ports_want_loopback(&c));
	cr_assert_geq(ports_hold(&c, "127.64.0.9", NULL, &one, &err), 0, "%s", err.msg);
	cr_expect(ports_use_loopback(&one));
	ports_copy(&one, &shown, &n);
	cr_assert_eq(n, 2u);
	cr_expect_str_eq(shown[1].host_ip, "127.64.0.9");
	int fd = one.v[0].fd;

	c.n_ports = 1;
	all[0].guest_port = 90;
	cr_assert_geq(ports_hold(&c, "", &one, &two, &err), 0, "%s", err.msg);
	cr_expect_eq(two.v[0].fd, fd, "the socket is the same");
	cr_expect_null(ports_find(&one, &two.v[0].port), "it led elsewhere");
	cr_expect_not_null(ports_find(&two, &two.v[0].port));
	free(shown);
}

/* Somebody who listens everywhere is in nobody's way at an address of one's own. */
Test(ports, an_own_address_is_not_blocked_by_who_listens_everywhere)
{
	struct net_port own = {"", 81, 80, false}, shared = {"127.0.0.1", 81, 80, false};
	struct net_config c = {.ports = &own, .n_ports = 1};
	auto_ports struct ports held = {0};
	struct err err = {0};

	enter();
	net_serve_at(0, "all", "0.0.0.0", 81, false);
	cr_assert_geq(ports_hold(&c, "127.64.0.9", NULL, &held, &err), 0, "%s", err.msg);
	cr_expect_eq(held.v[0].fd, -1);
	c.ports = &shared;
	cr_expect_eq(ports_hold(&c, "", NULL, &held, &err), -EADDRINUSE);
}

Test(rtlink, links_addresses_and_routes_are_made_and_found)
{
	auto_rtlink struct nl_sock *rt = NULL;
	const struct rtlink_conf conf = {.forwarding = true, .route_localnet = true};
	const struct sysctl forwarding = {"ipv4", "fv1", "forwarding", false};
	const struct sysctl localnet = {"ipv4", "fv1", "route_localnet", false};
	struct rtlink_match m = {0};
	auto_close int ns = -1;
	struct err err = {0};

	enter();
	cr_assert_geq(netns_open(&ns, &err), 0);
	cr_assert_geq(rtlink_open(&rt, &err), 0, "%s", err.msg);
	cr_expect_eq(rtlink_exists(rt, "fv1", &err), 0);
	cr_assert_geq(rtlink_add_veth(rt, "up0", "fv1", ns, &err), 0, "%s", err.msg);
	cr_expect_eq(rtlink_exists(rt, "fv1", &err), 1);
	cr_expect_eq(rtlink_add_veth(rt, "up1", "fv1", ns, &err), -EEXIST);
	cr_expect_str_eq(err.msg, "cannot make link 'fv1': Object exists");
	cr_expect_eq(rtlink_match_route(rt, 0x0ac80001, &m, &err), 0, "nothing leads there");
	cr_assert_geq(rtlink_configure(rt, "fv1", &conf, &err), 0, "%s", err.msg);
	cr_expect(sysctl_get(&forwarding));
	cr_expect(sysctl_get(&localnet));
	cr_assert_geq(sysctl_set(&localnet, false, &err), 0, "%s", err.msg);
	cr_expect_not(sysctl_get(&localnet));
	cr_assert_geq(rtlink_add_address(rt, "fv1", 0x0ac80001, 30, &err), 0, "%s", err.msg);
	cr_assert_geq(rtlink_set_up(rt, "fv1", &err), 0, "%s", err.msg);
	cr_assert_geq(rtlink_set_up(rt, "up0", &err), 0, "%s", err.msg);
	cr_assert_eq(rtlink_match_route(rt, 0x0ac80002, &m, &err), 1);
	cr_expect_eq(m.dst, 0x0ac80000u);
	cr_expect_eq(m.prefix, 30u);
	cr_expect_eq(m.link, if_nametoindex("fv1"));
	cr_assert_geq(rtlink_add_default_route(rt, 0x0ac80002, &err), 0, "%s", err.msg);
	cr_assert_eq(rtlink_match_route(rt, 0x08080808, &m, &err), 1);
	cr_expect_eq(m.prefix, 0u);
	cr_expect_eq(rtlink_set_up(rt, "none", &err), -ENODEV);
	cr_expect_str_eq(err.msg, "link 'none' is gone");
}

Test(sysctl, what_a_kernel_lacks_is_fine_where_it_may_be_lacking)
{
	const struct sysctl lacking = {"ipv4", "lo", "no_such_key", true};
	struct sysctl wanted = lacking;
	struct err err = {0};

	cr_expect_eq(sysctl_set(&lacking, true, &err), 0);
	cr_expect_not(sysctl_get(&lacking));
	wanted.optional = false;
	cr_expect_eq(sysctl_set(&wanted, true, &err), -ENOENT);
}

Test(nftext, a_ruleset_that_is_none_is_refused_in_the_kernels_words)
{
	struct err err = {0};

	enter();
	cr_expect_eq(nftext_run("table ip t { chain c { nonsense; } }", &err), -EIO);
	cr_expect_eq(strncmp(err.msg, "the kernel refuses the nftables ruleset: ", 41), 0, "%s",
		     err.msg);
	cr_expect_eq(nftext_run("table ip t { chain c { }; }", &err), 0, "%s", err.msg);
}

Test(host_table, it_is_loaded_once_and_goes_when_nobody_is_in_it)
{
	auto_nfsock struct mnl_socket *nl = NULL;
	auto_elements struct elements vm = {0}, found = {0}, uplinks = {0};
	static const enum element_set sets[] = {SET_VMIF, SET_SPOOFOK};
	const struct slot s = slot_of(5), other = slot_of(6);
	struct err err = {0};

	enter();
	cr_assert_geq(nfsock_open(&nl, &err), 0);
	elements_vm(&vm, &s);
	cr_expect_eq(elements_commit(nl, &vm, &err), -ENOENT, "there is no table");
	cr_expect_eq(elements_has_link(nl, SET_VMIF, s.link, &err), 0);
	cr_expect_eq(host_table_purge(nl, &s, &err), 0, "nor anything to purge");
	cr_expect_not(host_table_remove_unused(nl, &uplinks));
	cr_assert_geq(host_table_ensure(nl, &err), 0, "%s", err.msg);
	cr_expect(host_table_is_loaded(nl));
	cr_assert_geq(host_table_ensure(nl, &err), 0, "twice is fine");
	cr_assert_geq(elements_commit(nl, &vm, &err), 0, "%s", err.msg);
	cr_expect_eq(elements_has_link(nl, SET_VMIF, s.link, &err), 1);
	cr_expect_eq(elements_has_link(nl, SET_VMIF, other.link, &err), 0);
	cr_assert_geq(host_table_read(nl, &s, sets, 2, &found, &err), 0);
	cr_assert_eq(found.n, 2u);
	cr_expect_not(host_table_remove_unused(nl, &uplinks), "a VM is in it");
	cr_assert_geq(host_table_purge(nl, &other, &err), 0);
	cr_expect_eq(elements_has_link(nl, SET_VMIF, s.link, &err), 1);
	cr_assert_geq(host_table_purge(nl, &s, &err), 0);
	(void)elements_link(&vm, SET_UPLINK, "wan0");
	cr_assert_geq(elements_commit(nl, &vm, &err), 0);
	cr_assert_geq(host_table_purge(nl, &s, &err), 0);
	cr_expect(host_table_remove_unused(nl, &uplinks));
	cr_expect_eq(uplinks.n, 1u);
	cr_expect_not(host_table_is_loaded(nl));
}

static bool everything(void *data, const struct flow *flow)
{
	struct flow *last = data;

	*last = *flow;
	return true;
}

Test(conntrack, a_flow_is_seen_as_it_began_and_cut)
{
	auto_nfsock struct mnl_socket *nl = NULL;
	struct flow last = {0}, none = {0};
	struct err err = {0};

	enter();
	cr_assert_geq(nfsock_open(&nl, &err), 0);
	cr_assert_geq(nftext_run("table ip t { chain c { type nat hook output priority -100; udp "
				 "dport 77 dnat to 127.0.0.1:78; }; }",
				 &err),
		      0, "%s", err.msg);
	cr_expect_not(conntrack_any());
	net_serve_at(0, "there", "127.0.0.1", 78, true);
	cr_expect_str_eq(net_hear(0, "127.0.0.9", 77, true, NULL), "there 127.0.0.1");
	cr_expect(conntrack_any());
	cr_assert_geq(conntrack_cut(nl, everything, &last, &err), 0, "%s", err.msg);
	cr_expect_eq(last.src, 0x7f000001u);
	cr_expect_eq(last.dst, 0x7f000009u);
	cr_expect_eq(last.dst_port, 77);
	cr_expect_eq(last.proto, 17);
	cr_expect_eq(last.answers_from, 0x7f000001u);
	cr_assert_geq(conntrack_cut(nl, everything, &none, &err), 0);
	cr_expect_eq(none.src, 0u, "there is none left");
}
