#include "elements.h"

#include <criterion/criterion.h>

#include "cleanup.h"
#include "host_rules.h"
#include "ledger.h"

Test(slot, numbers_become_links_and_addresses_and_back)
{
	struct slot s = slot_of(0), back = {0};
	char ip[NET_IP4_SIZE];

	cr_expect_str_eq(s.link, "fv0");
	slot_format(s.host_addr, ip);
	cr_expect_str_eq(ip, "10.200.0.1");
	slot_format(s.vm_addr, ip);
	cr_expect_str_eq(ip, "10.200.0.2");
	s = slot_of(LEDGER_SLOT_COUNT - 1);
	slot_format(s.vm_addr, ip);
	cr_expect_str_eq(ip, "10.200.255.254");
	cr_expect(slot_of_link("fv16383", &back));
	cr_expect_eq(back.number, 16383u);
	cr_expect_not(slot_of_link("fv16384", &back));
	cr_expect_not(slot_of_link("fv", &back));
	cr_expect_not(slot_of_link("fv01", &back));
	cr_expect_not(slot_of_link("eth0", &back));
}

/* Entries in order, and how many ranges they become for the kernel. */
Test(elements, ranges_that_are_covered_are_left_out)
{
	static const struct {
		const char *entries[4];
		size_t want;
	} cases[] = {
		{{"10.0.0.0/8"}, 1},
		{{"10.0.0.0/8:443"}, 2}, /* TCP and UDP */
		{{"10.0.0.0/8:443/tcp"}, 1},
		{{"10.0.0.0/8/udp"}, 1},
		{{"10.0.0.0/8", "10.1.0.0/16"}, 1},
		{{"10.0.0.0/16", "10.0.0.0/8"}, 1},
		{{"10.0.0.0/16", "10.255.0.0/16", "10.0.0.0/8"}, 1},
		{{"10.0.0.0/16:80/tcp", "10.0.0.0/8:443/tcp"}, 2},
		{{"10.0.0.0/8:80", "10.0.0.0/16:80/tcp"}, 2},
		{{"10.0.0.0/8", "10.0.0.0/16:80/tcp"}, 2}, /* another set: no overlap for it */
		{{"192.0.2.1", "192.0.2.1", "192.0.2.2"}, 2},
		{{"0.0.0.0/0", "255.255.255.255"}, 1},
	};
	const struct slot s = slot_of(3);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_elements struct elements l = {0};

		for (size_t j = 0; j < 4 && cases[i].entries[j]; j++) {
			struct net_allow a = {0};

			cr_assert_eq(net_allow_parse(cases[i].entries[j], &a, NULL), 0);
			elements_allow(&l, &s, &a, 0);
		}
		cr_expect_eq(l.n, cases[i].want, "case %zu: %zu", i, l.n);
		for (size_t j = 0; j < l.n; j++)
			cr_expect(element_is_of(&l.v[j], &s));
	}
}

Test(elements, every_element_knows_its_vm)
{
	const struct slot s = slot_of(7), other = slot_of(8);
	const struct net_port any = {"0.0.0.0", 80, 80, false}, one = {"127.0.0.1", 53, 53, true};
	auto_elements struct elements l = {0};
	char link[SLOT_LINK_SIZE];

	elements_vm(&l, &s);
	elements_port(&l, &s, &any);
	elements_port(&l, &s, &one);
	(void)elements_link(&l, SET_RESTRICTED, s.link);
	cr_assert_eq(l.n, 5u);
	cr_expect_eq(l.v[2].set, SET_PUB_ANY);
	cr_expect_eq(l.v[3].set, SET_PUB);
	for (size_t i = 0; i < l.n; i++) {
		cr_expect(element_is_of(&l.v[i], &s));
		cr_expect_not(element_is_of(&l.v[i], &other));
	}
	element_link_name(&l.v[0], link);
	cr_expect_str_eq(link, "fv7");
	elements_reverse(&l);
	cr_expect(l.v[4].take_out);
	(void)elements_link(&l, SET_UPLINK, "fv7");
	cr_expect_not(element_is_of(&l.v[5], &s), "an uplink is nobody's");
}

Test(host_rules, a_load_keeps_the_sets_and_drops_stale_markers)
{
	auto_strv struct strv stale = {0};
	char marker[HOST_RULES_MARKER_SIZE];

	host_rules_marker(marker);
	cr_expect_eq(strlen(marker), 20u);
	strv_add(&stale, "gen_0");
	auto_free char *text = host_rules_text(&stale);

	cr_expect_eq(strncmp(text,
			     "add table ip fcvm\nflush table ip fcvm\ndelete chain ip fcvm gen_0\n",
			     65),
		     0);
	cr_expect_null(strstr(text, "delete table"));
	cr_expect_not_null(strstr(text, marker));
}
