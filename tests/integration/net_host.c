#include "net_host.h"

#include <criterion/criterion.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "hostnet.h"
#include "io.h"
#include "netns.h"

static void loopback_up(void)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	auto_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
}

void net_host_make(void)
{
	if (geteuid() != 0)
		cr_skip_test("bridged networks need root");
	if (!netns_tap_permitted(NULL, 0))
		cr_skip_test("/dev/net/tun does not open");
	cr_assert_eq(unshare(CLONE_NEWNET), 0);
	loopback_up();
}

char *net_host_look(void)
{
	struct if_nameindex *links = if_nameindex();
	struct buf text = BUF_INIT(1u << 20);
	struct err err = {0};

	for (size_t i = 0; links && links[i].if_index; i++)
		buf_addf(&text, "%s\n", links[i].if_name);
	if_freenameindex(links);
	cr_assert_eq(hostnet_ruleset(&text, &err), 0, "%s", err.msg);
	return buf_detach(&text);
}

void net_host_expect(const char *before)
{
	uint64_t deadline_ms = deadline_in(20000);
	char *now = net_host_look();

	while (strcmp(now, before) != 0 && now_ms() < deadline_ms) {
		(void)usleep(20000);
		free(now);
		now = net_host_look();
	}
	cr_expect_str_eq(now, before);
	free(now);
}
