#include "net.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "sockets.h"

/* A port nobody has, taken by us at ip. */
static int take_port(const char *ip, bool udp, struct net_port *ret)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);

	cr_assert_eq(inet_pton(AF_INET, ip, &at.sin_addr), 1);
	cr_assert_eq(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	cr_assert(udp || listen(fd, 1) == 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	*ret = (struct net_port){.host_port = ntohs(at.sin_port), .guest_port = 80, .udp = udp};
	return fd;
}

Test(holder, a_taken_port_names_the_process)
{
	static const struct {
		const char *taken, *asked;
		bool udp;
	} cases[] = {
		{"127.77.1.1", "127.77.1.1", false},
		{"127.77.1.2", "127.77.1.2", true},
		{"0.0.0.0", "127.77.1.3", false},
		{"127.77.1.4", "0.0.0.0", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct net_port port = {0};
		struct net_holder holder = {0};
		struct err err = {0};
		auto_close int fd = take_port(cases[i].taken, cases[i].udp, &port);

		cr_assert_geq(fd, 0);
		(void)snprintf(port.host_ip, sizeof(port.host_ip), "%s", cases[i].asked);
		cr_assert_geq(fd, 0);
		cr_assert_eq(net_port_holder(&port, &holder, &err), 1, "%s", err.msg);
		cr_expect_eq(holder.pid, getpid());
		cr_expect_str_eq(holder.name, "unit-net");
	}
}

Test(holder, a_free_port_has_none)
{
	struct net_port port = {0};
	struct net_holder holder = {.pid = 7};
	struct err err = {0};
	int fd = take_port("127.77.2.1", false, &port);

	(void)snprintf(port.host_ip, sizeof(port.host_ip), "127.77.2.2");
	cr_expect_eq(net_port_holder(&port, &holder, &err), 0, "another address is free");
	(void)snprintf(port.host_ip, sizeof(port.host_ip), "127.77.2.1");
	port.udp = true;
	cr_expect_eq(net_port_holder(&port, &holder, &err), 0, "another protocol is free");
	port = (struct net_port){.host_port = port.host_port, .guest_port = 80};
	cr_expect_eq(net_port_holder(&port, &holder, &err), 0, "the VM's own address is");
	cr_expect_eq(holder.pid, 7, "untouched");
	(void)close(fd);
}

Test(holder, an_address_of_another_host_is_refused)
{
	const struct net_port port = {"192.0.2.77", 8080, 80, false};
	struct net_holder holder = {0};
	struct err err = {0};

	cr_expect_eq(net_port_holder(&port, &holder, &err), -EADDRNOTAVAIL);
	cr_expect_str_eq(err.msg,
			 "cannot publish 192.0.2.77:8080/tcp: Cannot assign requested address");
	cr_expect_str_eq(err.hint, "this host has no address 192.0.2.77");
}

Test(sockets, a_reserved_port_is_nobody_elses)
{
	struct net_port port = {0};
	struct err err = {0};
	int other = -1, mine = -1, fd = take_port("127.77.3.1", false, &port);

	(void)close(fd);
	(void)snprintf(port.host_ip, sizeof(port.host_ip), "127.77.3.1");
	cr_assert_eq(sockets_reserve(&port, &mine, &err), 0, "%s", err.msg);
	cr_expect_eq(sockets_reserve(&port, &other, &err), -EADDRINUSE);
	(void)close(mine);
	cr_expect_eq(sockets_reserve(&port, &other, &err), 0);
	(void)close(other);
}

/* The end that closes first keeps the port in TIME_WAIT. */
Test(sockets, what_an_ended_server_left_in_time_wait_is_in_nobodys_way)
{
	struct net_port port = {0};
	struct sockaddr_in at = {.sin_family = AF_INET};
	struct err err = {0};
	int mine = -1, server = take_port("127.77.4.1", false, &port);
	auto_close int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(port.host_ip, sizeof(port.host_ip), "127.77.4.1");
	at.sin_port = htons(port.host_port);
	/* As every server does. */
	cr_assert_eq(setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)), 0);
	cr_assert_eq(inet_pton(AF_INET, port.host_ip, &at.sin_addr), 1);
	cr_assert_eq(connect(client, (const struct sockaddr *)&at, sizeof(at)), 0);
	(void)close(accept(server, NULL, NULL));
	(void)close(server);
	cr_assert_eq(read(client, &(char){0}, 1), 0);
	cleanup_close_p(&client);
	client = -1;
	cr_expect_eq(sockets_reserve(&port, &mine, &err), 0, "%s", err.msg);
	(void)close(mine);
}
