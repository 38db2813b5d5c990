#include "net_config.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "cleanup.h"
#include "xalloc.h"

Test(net_config, ports_clash_where_the_host_could_serve_only_one)
{
	const struct net_port one = {"127.0.0.1", 80, 80, false}, any = {"0.0.0.0", 80, 1, false};
	const struct net_port udp = {"127.0.0.1", 80, 80, true}, two = {"127.0.0.2", 80, 1, false};

	cr_expect(net_port_clashes(&one, &one));
	cr_expect(net_port_clashes(&one, &any));
	cr_expect_not(net_port_clashes(&one, &udp));
	cr_expect_not(net_port_clashes(&one, &two));
}

Test(net_config, allow_entries_come_back_as_they_were_written)
{
	static const struct {
		const char *text, *back;
	} cases[] = {
		{"10.0.0.0/8", "10.0.0.0/8"},
		{"10.1.2.3/8:443", "10.0.0.0/8:443"},
		{"192.0.2.1", "192.0.2.1"},
		{"192.0.2.1/32:53/udp", "192.0.2.1:53/udp"},
		{"0.0.0.0/0/tcp", "0.0.0.0/0/tcp"},
		{"API.Example.com.", "api.example.com"},
		{"api.example.com:443/tcp", "api.example.com:443/tcp"},
		{"_dmarc.x-1.test/udp", "_dmarc.x-1.test/udp"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct net_allow a = {0};
		struct err err = {0};

		cr_assert_eq(net_allow_parse(cases[i].text, &a, &err), 0, "%s: %s", cases[i].text,
			     err.msg);
		auto_free char *back = net_allow_text(&a);

		cr_expect_str_eq(back, cases[i].back);
		free(a.name);
	}
}

Test(net_config, what_is_no_destination_is_refused)
{
	static const char *const texts[] = {
		"",         "1.2.3.4/33", "1.2.3",    "1.2.3.400",    "10.0.0.0/x", "a..b",
		"-a.test",  "a b.test",   "*.test",   "a:0",          "a:b:1",      "a/icmp",
		"1.2.3.4/", "name/24",    "[::1]:80", "a.test:70000",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct net_allow a = {0};
		struct err err = {0};

		cr_expect_eq(net_allow_parse(texts[i], &a, &err), -EINVAL, "%s", texts[i]);
		cr_expect_null(a.name);
		cr_expect_eq(err.class, ERR_SPEC);
	}
}

static void parse_config(const char *text, struct net_config *ret)
{
	auto_json struct json_object *o = NULL;
	struct err err = {0};

	cr_assert_eq(json_parse(text, strlen(text), &o, &err), 0, "%s", err.msg);
	cr_assert_eq(net_config_from_json(o, ret, &err), 0, "%s", err.msg);
}

Test(net_config, json_goes_both_ways)
{
	static const char text[] =
		"{\"mode\":\"bridged\",\"ports\":[{\"host_ip\":null,\"host_port\":80,"
		"\"guest_port\":80,\"proto\":\"tcp\"},{\"host_ip\":\"127.0.0.1\",\"host_port\":"
		"5353,\"guest_port\":53,\"proto\":\"udp\"}],\"egress\":\"deny\",\"allow\":["
		"\"10.0.0.0/8:443/tcp\",\"api.test\"],\"dns\":[\"192.0.2.1\",\"fd00::1\"]}";
	auto_net_config struct net_config c = {0}, copy = {0};

	parse_config(text, &c);
	net_config_copy(&c, &copy);
	auto_json struct json_object *o = net_config_to_json(&copy);
	auto_free char *line = json_line(o);

	cr_expect_str_eq(line, text);
	cr_expect_null(net_config_to_json(NULL));
}

Test(net_config, json_of_strangers_is_checked_and_bounded)
{
	static const struct {
		const char *text, *msg;
	} cases[] = {
		{"{}", "network: key 'mode' is missing, wanted a string"},
		{"{\"mode\":\"routed\"}",
		 "network: network mode: expected none, bridged or rootless, got 'routed'"},
		{"{\"mode\":\"none\",\"ports\":[{\"host_port\":0,\"guest_port\":1,\"proto\":"
		 "\"tcp\"}]}",
		 "network: 'host_port' is no port"},
		{"{\"mode\":\"none\",\"ports\":[{\"host_port\":1,\"guest_port\":1,\"proto\":"
		 "\"sctp\"}]}",
		 "network: 'proto' is neither tcp nor udp"},
		{"{\"mode\":\"none\",\"ports\":[7]}",
		 "network: key 'host_port' is missing, wanted a whole number"},
		{"{\"mode\":\"none\",\"ports\":[],\"egress\":\"maybe\",\"allow\":[],\"dns\":[]}",
		 "network: 'egress' is neither allow nor deny"},
		{"{\"mode\":\"none\",\"ports\":[],\"egress\":\"deny\",\"allow\":[\"a\",\"*\"],"
		 "\"dns\":[]}",
		 "network: expected an IPv4 address, a CIDR or a name, then [:PORT][/tcp|/udp], "
		 "got '*'"},
		{"{\"mode\":\"none\",\"ports\":[],\"egress\":\"deny\",\"allow\":[],\"dns\":[\"x\"]}",
		 "network: expected a resolver's address, got 'x'"},
		{"{\"mode\":\"none\",\"ports\":[],\"egress\":\"deny\",\"allow\":[],\"dns\":[\"1\","
		 "\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\"]}",
		 "network: 'dns' has more than 8 entries"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_json struct json_object *o = NULL;
		struct net_config c = {0};
		struct err err = {0};

		cr_assert_eq(json_parse(cases[i].text, strlen(cases[i].text), &o, &err), 0);
		cr_expect_lt(net_config_from_json(o, &c, &err), 0);
		cr_expect_str_eq(err.msg, cases[i].msg);
		cr_expect_null(c.ports);
	}
}
