#include "bridge.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "netns.h"
#include "user.h"
#include "userns.h"

static void tell(int sock, const char *name)
{
	struct ifreq mac = {0}, flags = {0}, mtu = {0}, addr = {0};
	char ip[INET_ADDRSTRLEN] = "none";
	struct sockaddr_in at;

	for (size_t i = 0; i < 4; i++)
		(void)snprintf((&(struct ifreq *[]){&mac, &flags, &mtu, &addr}[i])[0]->ifr_name,
			       IFNAMSIZ, "%s", name);
	(void)ioctl(sock, SIOCGIFHWADDR, &mac);
	(void)ioctl(sock, SIOCGIFFLAGS, &flags);
	(void)ioctl(sock, SIOCGIFMTU, &mtu);
	if (ioctl(sock, SIOCGIFADDR, &addr) == 0) {
		memcpy(&at, &addr.ifr_addr, sizeof(at));
		(void)inet_ntop(AF_INET, &at.sin_addr, ip, sizeof(ip));
	}
	(void)dprintf(STDOUT_FILENO, "%s %s %d %s ..%02x\n", name,
		      flags.ifr_flags & IFF_UP ? "up" : "down", mtu.ifr_mtu, ip,
		      (unsigned char)mac.ifr_hwaddr.sa_data[5]);
}

static int make(void *data)
{
	struct err err = {0};
	int tap = -1;

	(void)data;
	if (userns_enter(&err) < 0 || netns_enter(&tap, &err) < 0 || bridge_make(9000, &err) < 0) {
		(void)dprintf(STDOUT_FILENO, "%s\n", err.msg);
		return -1;
	}
	auto_close int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	tell(sock, "br0");
	tell(sock, "tap0");
	if (bridge_add_uplink(9000, &err) < 0)
		(void)dprintf(STDOUT_FILENO, "%s\n", err.msg);
	if (bridge_make(9000, &err) < 0)
		(void)dprintf(STDOUT_FILENO, "%s\n", err.msg);
	return 0;
}

Test(bridge, it_is_up_with_the_relays_address_and_a_constant_mac)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(4096);

	user_make(&u, "bridge");
	user_open_tun();
	user_call(&u, make, NULL, &out);
	cr_expect_str_eq(buf_str(&out), "br0 up 9000 172.16.0.3 ..03\n"
					"tap0 up 9000 none ..02\n"
					"cannot set up 'slirp0': No such device\n"
					"cannot make 'br0': Object exists\n");
}
