#include "rootless_ports.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "user.h"

Test(rootless_ports, a_port_without_an_address_gets_the_vms_own)
{
	struct net_port ports[] = {
		{.host_port = 80, .guest_port = 80},
		{.host_ip = "127.0.0.1", .host_port = 81, .guest_port = 80, .udp = true},
	};
	const struct net_config c = {.ports = ports, .n_ports = 2};
	auto_forwards struct forwards f = {0};

	forwards_of(&c, "127.64.0.9", &f);
	cr_assert_eq(f.n, 2);
	cr_expect_str_eq(f.v[0].port.host_ip, "127.64.0.9");
	cr_expect_str_eq(f.v[1].port.host_ip, "127.0.0.1");
	cr_expect(f.v[1].port.udp);
}

static void try_to_bind(struct outside *o, const struct net_port *port)
{
	auto_close int fd = -1;
	struct err err = {0};
	int r = forwards_bind(o, port, &fd, &err);

	(void)dprintf(STDOUT_FILENO, "%s%s%s\n", r == 0 ? "bound" : err.msg,
		      err.hint[0] ? "; " : "", err.hint);
}

static int bind_some(void *data)
{
	static const struct net_port ports[] = {
		{.host_ip = "127.66.1.2", .host_port = 8080},
		{.host_ip = "127.66.1.2", .host_port = 8080, .udp = true},
		{.host_ip = "198.51.100.1", .host_port = 8080},
		{.host_ip = "127.66.1.2", .host_port = 1},
	};
	struct outside *o = NULL;
	struct err err = {0};

	(void)data;
	if (outside_start(&o, &err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++)
		try_to_bind(o, &ports[i]);
	outside_stop(o);
	return 0;
}

Test(rootless_ports, what_cannot_be_bound_is_named_with_the_reason)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(4096);

	user_make(&u, "ports");
	user_own_network();
	user_call(&u, bind_some, NULL, &out);
	cr_expect_str_eq(buf_str(&out),
			 "bound\nbound\n"
			 "cannot publish 198.51.100.1:8080/tcp: Cannot assign requested address; "
			 "this host has no address 198.51.100.1\n"
			 "cannot publish 127.66.1.2:1/tcp: Permission denied; ports below "
			 "net.ipv4.ip_unprivileged_port_start are root's\n");
}
