#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "choose_net.h"
#include "cleanup.h"
#include "net_rig.h"
#include "netns.h"

static const char *nothing(const char *name)
{
	(void)name;
	return "/nonexistent";
}

static struct host host_of(bool is_root)
{
	return (struct host){.is_root = is_root, .getenv = nothing};
}

Test(choose_net, auto_is_bridged_for_root_rootless_for_others_and_none_without_a_tap)
{
	const struct host root = host_of(true), user = host_of(false);
	struct resource_choice a = {0}, b = {0};
	bool tap = netns_tap_permitted(NULL, 0);

	cr_assert_eq(choose_network(&root, NULL, &a, NULL), 0);
	cr_assert_eq(choose_network(&user, NULL, &b, NULL), 0);
	cr_expect_eq(a.no_nic, !tap);
	cr_expect_eq(a.auto_network, tap ? NET_BRIDGED : NET_NONE);
	cr_expect_eq(b.auto_network, tap ? NET_ROOTLESS : NET_NONE);
	cr_expect_eq(a.nic_why[0] == '\0', tap);
}

Test(choose_net, a_mode_the_host_cannot_is_refused_with_its_line)
{
	static const struct {
		bool root;
		const char *networks, *more, *said;
	} cases[] = {
		{false, "", "    network: bridged\n",
		 "/dir/t.yaml:12:14: error: fleets.web.network: bridged is not possible here: it "
		 "needs root\n    network: bridged\n             ^\n"
		 "hint: network: rootless works without\n"},
		{true, "networks:\n  n: { mode: rootless }\n", "    network: n\n",
		 "/dir/t.yaml:4:14: error: fleets.web.network: rootless is not possible here: "
		 "slirp4netns is not installed\n  n: { mode: rootless }\n             ^\n"
		 "hint: apt install slirp4netns, or say network: none\n"},
	};

	if (!netns_tap_permitted(NULL, 0))
		cr_skip_test("/dev/net/tun is refused");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct host host = host_of(cases[i].root);
		auto_net_rig struct net_rig r;
		struct err err = {0};

		net_rig_make(&r, cases[i].networks, cases[i].more);
		cr_expect_lt(choose_network(&host, r.fleet, &r.choice, &err), 0);
		cr_expect_eq(err.class, ERR_HOST);
		cr_expect_str_eq(err.msg, "1 problem in '/dir/t.yaml'");
		auto_free char *said = net_rig_problems(&r);
		cr_expect_str_eq(said, cases[i].said);
	}
}

Test(choose_net, ports_of_a_command_line_need_a_network)
{
	const struct host root = host_of(true);
	auto_net_rig struct net_rig r;
	auto_strv struct strv texts = {0};
	struct err err = {0};

	net_rig_make(&r, "", "    network: none\n");
	struct baseline_spec *b = &r.fleet->baselines[0];
	strv_add(&texts, "8080:80");
	cr_assert_eq(fleet_ports_parse(&texts, &b->ports, &b->n_ports, NULL), 0);
	cr_expect_lt(choose_network(&root, r.fleet, &r.choice, &err), 0);
	cr_expect_eq(err.class, ERR_SPEC);
	cr_expect_str_eq(err.msg, "baselines.web.ports: network none publishes nothing");
}
