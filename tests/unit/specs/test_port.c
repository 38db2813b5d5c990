#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "port.h"

Test(port, what_is_left_out_is_the_guests_port_and_loopback)
{
	static const struct {
		const char *text, *ip;
		uint16_t host, guest;
		bool udp;
	} cases[] = {
		{"80", "", 80, 80, false},
		{"53/udp", "", 53, 53, true},
		{"8080:80", "127.0.0.1", 8080, 80, false},
		{"8080:80/tcp", "127.0.0.1", 8080, 80, false},
		{"0.0.0.0:8080:80/udp", "0.0.0.0", 8080, 80, true},
		{"192.168.1.2:80", "192.168.1.2", 80, 80, false},
		{"127.9.8.7:65535:1", "127.9.8.7", 65535, 1, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {0};
		struct port p = {0};

		cr_assert_eq(port_parse(cases[i].text, &p, &err), 0, "%s: %s", cases[i].text,
			     err.msg);
		cr_expect_str_eq(p.host_ip, cases[i].ip);
		cr_expect_eq(p.host_port, cases[i].host);
		cr_expect_eq(p.guest_port, cases[i].guest);
		cr_expect_eq(p.udp, cases[i].udp);

		/* Written in the one way, it is the same port. */
		char text[PORT_TEXT_SIZE];
		struct port again = {0};

		cr_assert_eq(port_parse(port_text(&p, text), &again, &err), 0, "%s", text);
		cr_expect_str_eq(again.host_ip, p.host_ip, "%s", text);
		cr_expect_eq(again.host_port, p.host_port, "%s", text);
		cr_expect_eq(again.guest_port, p.guest_port, "%s", text);
		cr_expect_eq(again.udp, p.udp, "%s", text);
	}
}

Test(port, a_refusal_says_which_part_is_wrong)
{
	static const struct {
		const char *text, *said;
	} cases[] = {
		{"", "expected [IP:][HOST:]GUEST[/tcp|udp], got ''"},
		{":80", "expected a host port of 1 to 65535, got ''"},
		{"80:", "expected [IP:][HOST:]GUEST[/tcp|udp], got '80:'"},
		{"a", "expected a guest port of 1 to 65535, got 'a'"},
		{"0", "expected a guest port of 1 to 65535, got '0'"},
		{"0:80", "expected a host port of 1 to 65535, got '0'"},
		{"80:65536", "expected a guest port of 1 to 65535, got '65536'"},
		{"80/", "expected /tcp or /udp, got '/'"},
		{"localhost:8080:80", "expected an IPv4 address of this machine, got 'localhost'"},
		{"1.2.3:80", "expected an IPv4 address of this machine, got '1.2.3'"},
		{"1.2.3.4:1:2:3", "expected [IP:][HOST:]GUEST[/tcp|udp], got '1.2.3.4:1:2:3'"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {0};
		struct port p = {.guest_port = 7};

		cr_expect_eq(port_parse(cases[i].text, &p, &err), -EINVAL, "%s", cases[i].text);
		cr_expect_str_eq(err.msg, cases[i].said);
		cr_expect_eq(err.class, ERR_SPEC);
		cr_expect_eq(p.guest_port, 7, "outputs are untouched");
	}
}

Test(port, a_name_has_room_for_the_longest)
{
	struct port p = {"255.255.255.255", 65535, 1, true}, own = {"", 80, 80, false};
	char text[PORT_TEXT_SIZE];

	cr_expect_str_eq(port_name(&p, text), "255.255.255.255:65535/udp");
	cr_expect_str_eq(port_name(&own, text), ":80/tcp");
}
