#include "hostnet.h"

#include <criterion/criterion.h>
#include <nftables/libnftables.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"

#define DOCKER_HEAD                                                 \
	"table ip nat {\n\tchain POSTROUTING {\n\t\ttype nat hook " \
	"postrouting priority srcnat; policy drop;\n\t}\n}\n"       \
	"table ip filter {\n\tchain DOCKER-USER {\n"
#define DOCKER_TAIL                                                                          \
	"\t\tcounter return\n\t}\n\tchain FORWARD {\n\t\ttype filter hook forward priority " \
	"filter; policy drop;\n\t\tjump DOCKER-USER\n\t}\n}\n"

Test(hostnet, a_chain_that_drops_is_named_unless_its_table_lets_our_links_through)
{
	static const struct {
		const char *ruleset, *said;
	} cases[] = {
		{"", ""},
		{DOCKER_HEAD DOCKER_TAIL, "ip filter FORWARD"},
		{DOCKER_HEAD "\t\tiifname \"fv*\" accept\n" DOCKER_TAIL, ""},
		{DOCKER_HEAD "\t\tiifname \"fv*\" drop\n" DOCKER_TAIL, "ip filter FORWARD"},
		{"table inet firewall {\n\tchain fwd {\n\t\ttype filter hook forward priority 0; "
		 "policy drop;\n\t}\n}\ntable ip other {\n\tchain x {\n\t\tiifname \"fv*\" "
		 "accept\n\t}\n}\n",
		 "inet firewall fwd"},
		{"table ip fcvm {\n\tchain c_forward {\n\t\ttype filter hook forward priority "
		 "filter; policy accept;\n\t}\n}\n",
		 ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_buf struct buf chain = BUF_INIT(400);
		bool drops = hostnet_drops_forward(cases[i].ruleset, &chain);

		cr_expect_str_eq(buf_str(&chain), cases[i].said, "case %zu", i);
		cr_expect_eq(drops, cases[i].said[0] != '\0', "case %zu", i);
	}
}

Test(hostnet, the_uplink_is_where_the_default_route_leaves)
{
	static const char head[] = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\t"
				   "Mask\t\tMTU\tWindow\tIRTT\n";
	static const struct {
		const char *rows, *link;
	} cases[] = {
		{"", NULL},
		{"eth1\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n", NULL},
		{"eth1\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
		 "wlan0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n",
		 "wlan0"},
		{"a-name-that-is-much-too-long\t00000000\t0\t0\t0\t0\t0\t00000000\n", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_buf struct buf text = BUF_INIT(4096);
		char link[IF_NAMESIZE] = "";

		buf_addf(&text, "%s%s", head, cases[i].rows);
		cr_expect_eq(hostnet_uplink(buf_str(&text), link), cases[i].link != NULL, "%zu", i);
		if (cases[i].link)
			cr_expect_str_eq(link, cases[i].link);
	}
}

Test(hostnet, the_kernels_own_words_are_understood)
{
	static const char rules[] = "add table ip filter; add chain ip filter FORWARD "
				    "{ type filter hook forward priority 0; policy drop; }";
	static const char fix[] = "add rule ip filter FORWARD iifname \"fv*\" accept";
	auto_buf struct buf before = BUF_INIT(65536), after = BUF_INIT(65536);
	auto_buf struct buf chain = BUF_INIT(400), none = BUF_INIT(400);
	struct err err = {0};

	if (geteuid() != 0)
		cr_skip_test("needs root");
	cr_assert_eq(unshare(CLONE_NEWNET), 0);
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	cr_assert_eq(nft_run_cmd_from_buffer(nft, rules), 0);
	cr_assert_eq(hostnet_ruleset(&before, &err), 0, "%s", err.msg);
	cr_expect(hostnet_drops_forward(buf_str(&before), &chain), "%s", buf_str(&before));
	cr_expect_str_eq(buf_str(&chain), "ip filter FORWARD");
	cr_assert_eq(nft_run_cmd_from_buffer(nft, fix), 0);
	cr_assert_eq(hostnet_ruleset(&after, &err), 0, "%s", err.msg);
	cr_expect_not(hostnet_drops_forward(buf_str(&after), &none), "%s", buf_str(&after));
	nft_ctx_free(nft);
}

Test(hostnet, a_link_that_is_not_there_forwards_nothing)
{
	cr_expect_not(hostnet_forwards("no-such-link"));
}
