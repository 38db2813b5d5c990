#include <criterion/criterion.h>
#include <string.h>

#include "cleanup.h"
#include "helper.h"
#include "xalloc.h"

/* tests/data/spec-bad has the rest: fleet-ports*.yaml, network*.yaml. */
Test(check_ports, who_wants_the_same_port_is_refused_and_nobody_else)
{
	static const struct {
		const char *ports, *said;
	} cases[] = {
		{"a: { from: web, ports: [\"8080:80\", \"8080:80/udp\", \"127.0.0.2:8080:80\"] }\n",
		 ""},
		{"a: { from: web, count: 3, ports: [80, 81] }\n  b: { from: web, ports: [80] }\n",
		 ""},
		{"a: { from: web, count: 300, ports: [\"{{1000 + index}}:80\"] }\n", ""},
		{"a: { from: web, count: 0, ports: [\"80:80\"] }\n  b: { from: web, ports: "
		 "[\"80:80\"] }\n",
		 ""},
		{"a: { from: web, ports: [80] }\n  b: { from: web, ports: [\"0.0.0.0:80:80\"] }\n",
		 "7:27: error: fleets.b.ports[0]: clone 0 would publish 0.0.0.0:80/tcp like clone "
		 "0 of 'a'\n"},
		{"a: { from: web, ports: [\"0.0.0.0:80:80\"] }\n  b: { from: web, ports: [80] }\n",
		 "7:27: error: fleets.b.ports[0]: clone 0 would publish 80/tcp like clone 0 of "
		 "'a'\n"},
		{"a: { from: web, count: 3, ports: [\"{{8080 / (2 - index)}}:80\"] }\n",
		 "6:37: error: fleets.a.ports[0]: clone 2: the template divides by zero\n"},
		{"a: { from: web, count: 50000, ports: [1, 2, 3] }\n",
		 "6:47: error: fleets.a.ports[2]: expected at most 100000 published ports in the "
		 "set\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *text =
			xasprintf(SPEC_HEAD SPEC_WEB "fleets:\n  %s", cases[i].ports);
		auto_free char *said = spec_first_lines(text, NULL);

		cr_expect_str_eq(said, cases[i].said, "%s: %s", text, said);
	}
}

Test(check_ports, an_allowlist_that_allows_nothing_more_is_warned_about)
{
	auto_free char *said = spec_first_lines(
		SPEC_HEAD "networks: { n: { egress: { allow: [10.0.0.0/8] } } }\n", NULL);

	cr_expect_str_eq(said, "3:28: warning: networks.n.egress.allow: without 'default: deny' "
			       "everything is allowed anyway\n");
}

Test(check_ports, clones_have_ports_of_their_own)
{
	auto_fleet struct fleet *f =
		spec_parse(SPEC_HEAD SPEC_WEB "vars: { base: 8080 }\n"
					      "fleets: { web: { from: web, count: 3, ports: "
					      "[\"127.0.0.9:{{vars.base + index}}:80/udp\"] } }\n");
	struct port p;
	struct err err = {0};

	cr_assert_eq(fleet_port(&f->fleets[0].ports[0], "web", 2, "web-2", &p, &err), 0);
	cr_expect_str_eq(p.host_ip, "127.0.0.9");
	cr_expect_eq(p.host_port, 8082);
	cr_expect_str_eq(f->fleets[0].ports[0].text, "127.0.0.9:{{8080+index}}:80/udp");
}

Test(check_ports, ports_of_a_command_line_need_no_spec)
{
	auto_strv struct strv texts = {0};
	struct port_spec *ports = NULL;
	size_t n = 0;
	struct port p;
	struct err err = {0};

	strv_add(&texts, "8080:80");
	strv_add(&texts, "90");
	cr_assert_eq(fleet_ports_parse(&texts, &ports, &n, &err), 0);
	cr_assert_eq(n, 2);
	cr_assert_eq(fleet_port(&ports[1], "", 0, "vm", &p, &err), 0);
	cr_expect_eq(p.host_port, 90);
	fleet_free_ports(ports, n);
	strv_add(&texts, "x");
	cr_expect_lt(fleet_ports_parse(&texts, &ports, &n, &err), 0);
	cr_expect_str_eq(err.msg, "expected a guest port of 1 to 65535, got 'x'");
}
