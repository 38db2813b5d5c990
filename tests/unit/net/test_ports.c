#include "ports.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "sockets.h"

/* Ports of the real host are not ours to take. */
static void own_host(void)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	auto_close int fd = -1;

	if (geteuid() != 0)
		cr_skip_test("needs root");
	cr_assert_eq(unshare(CLONE_NEWNET), 0);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
}

static struct net_config config_of(struct net_port *ports, size_t n)
{
	return (struct net_config){.mode = NET_BRIDGED, .ports = ports, .n_ports = n};
}

static bool is_free(const char *ip, uint16_t number)
{
	struct net_port port = {.host_port = number, .guest_port = 80};
	auto_close int fd = -1;

	(void)snprintf(port.host_ip, sizeof(port.host_ip), "%s", ip);
	return sockets_reserve(&port, &fd, NULL) >= 0;
}

Test(ports, the_same_port_moves_to_every_address_and_back)
{
	struct net_port one[] = {{"127.0.0.1", 18001, 80, false}};
	struct net_port all[] = {{"0.0.0.0", 18001, 80, false}, {"", 90, 90, false}};
	struct net_config narrow = config_of(one, 1), wide = config_of(all, 2);
	auto_ports struct ports first = {0}, second = {0}, third = {0};
	struct err err = {0};

	own_host();
	cr_assert_eq(ports_hold(&narrow, "127.64.0.1", NULL, &first, &err), 0, "%s", err.msg);
	cr_expect_not(is_free("127.0.0.1", 18001));
	cr_assert_eq(ports_hold(&wide, "127.64.0.1", &first, &second, &err), 0, "%s", err.msg);
	cr_expect_eq(err.code, 0, "nothing failed");
	cr_expect_not(is_free("127.0.0.9", 18001));
	cr_expect_str_eq(second.v[1].port.host_ip, "127.64.0.1");
	cr_assert_eq(ports_hold(&narrow, "127.64.0.1", &second, &third, &err), 0, "%s", err.msg);
	cr_expect(is_free("127.0.0.9", 18001));
	cr_expect_not(is_free("127.0.0.1", 18001));
}

Test(ports, what_cannot_be_held_leaves_what_was_held)
{
	struct net_port one[] = {{"127.0.0.1", 18002, 80, false}};
	struct net_port two[] = {{"0.0.0.0", 18002, 80, false}, {"127.0.0.2", 18003, 80, false}};
	struct net_port foreign = {"127.0.0.2", 18003, 80, false};
	struct net_config narrow = config_of(one, 1), wide = config_of(two, 2);
	auto_ports struct ports have = {0}, got = {0};
	auto_close int fd = -1;
	struct err err = {0};

	own_host();
	cr_assert_eq(sockets_reserve(&foreign, &fd, &err), 0);
	cr_assert_eq(ports_hold(&narrow, "", NULL, &have, &err), 0, "%s", err.msg);
	cr_expect_eq(ports_hold(&wide, "", &have, &got, &err), -EADDRINUSE);
	cr_expect_eq(got.n, 0);
	cr_expect_not(is_free("127.0.0.1", 18002), "it was taken back");
	cr_expect(is_free("127.0.0.9", 18002));
	cr_assert_geq(fd, 0);
}
