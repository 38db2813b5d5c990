#include "netns.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

static void need_tap(void)
{
	char why[200];

	if (geteuid() != 0)
		cr_skip_test("network namespaces need root");
	if (!netns_tap_permitted(why, sizeof(why)))
		cr_skip_test("%s", why);
}

static ino_t own_namespace(void)
{
	struct stat st;

	cr_assert_eq(stat("/proc/self/ns/net", &st), 0);
	return st.st_ino;
}

static int flags_of(const char *name)
{
	auto_close int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = {.ifr_flags = 0};

	(void)snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	return ioctl(sock, SIOCGIFFLAGS, &req) < 0 ? -errno : req.ifr_flags;
}

static int hardware_address(const char *name, unsigned char ret[6])
{
	auto_close int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = {.ifr_flags = 0};

	(void)snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	if (ioctl(sock, SIOCGIFHWADDR, &req) < 0)
		return -errno;
	memcpy(ret, req.ifr_hwaddr.sa_data, 6);
	return 0;
}

Test(netns, entering_makes_a_namespace_with_lo_and_tap0_up)
{
	static const unsigned char mac[6] = {0x02, 0xfc, 0, 0, 0, 0x02};
	unsigned char got[6];
	struct ifreq req = {.ifr_flags = 0};
	struct err err;
	ino_t before;
	int tap = -1;

	need_tap();
	before = own_namespace();
	cr_assert_eq(netns_enter(&tap, &err), 0, "%s", err.msg);
	cr_expect_neq(own_namespace(), before);
	cr_expect(flags_of("lo") & IFF_UP);
	cr_expect(flags_of(NETNS_TAP) & IFF_UP);
	cr_assert_eq(hardware_address(NETNS_TAP, got), 0);
	cr_expect_eq(memcmp(got, mac, sizeof(mac)), 0);

	cr_assert_eq(ioctl(tap, TUNGETIFF, &req), 0);
	cr_expect_str_eq(req.ifr_name, "tap0");
	cr_expect(req.ifr_flags & IFF_VNET_HDR);
	cr_expect(req.ifr_flags & IFF_TAP);
	cr_expect(req.ifr_flags & IFF_NO_PI);
}

Test(netns, tap0_outlives_its_descriptor)
{
	struct err err;
	int tap = -1;

	need_tap();
	cr_assert_eq(netns_enter(&tap, &err), 0, "%s", err.msg);
	(void)close(tap);
	cr_expect_gt(flags_of(NETNS_TAP), 0);
}

Test(netns, nothing_but_lo_and_tap0_is_in_it)
{
	struct err err;
	int tap = -1, lines = 0;
	FILE *f;
	char line[400];

	need_tap();
	cr_assert_eq(netns_enter(&tap, &err), 0, "%s", err.msg);
	f = fopen("/proc/thread-self/net/dev", "re");
	cr_assert_neq(f, NULL);
	while (fgets(line, sizeof(line), f))
		lines += strstr(line, "lo:") || strstr(line, "tap0:") ? 0 : 1;
	(void)fclose(f);
	cr_expect_eq(lines, 2, "only the two heading lines are left over");
}

Test(netns, without_the_right_it_says_what_is_missing)
{
	struct err err;
	int tap = -7;

	if (geteuid() != 0)
		cr_skip_test("needs root to give it up");
	cr_assert_eq(setresuid(65534, 65534, 65534), 0);
	cr_expect_eq(netns_enter(&tap, &err), -EPERM);
	cr_expect_str_eq(err.msg, "cannot make a network namespace: Operation not permitted");
	cr_expect_eq(tap, -7);
}

Test(netns, a_tap_that_is_refused_has_a_reason)
{
	char why[200] = "";

	if (geteuid() != 0)
		cr_skip_test("needs root to give it up");
	if (access("/dev/net/tun", F_OK) < 0)
		cr_skip_test("/dev/net/tun is absent");
	cr_assert_eq(setresuid(65534, 65534, 65534), 0);
	if (netns_tap_permitted(why, sizeof(why)))
		cr_skip_test("/dev/net/tun is open to everyone here");
	cr_expect_str_eq(why, "the host refuses /dev/net/tun: Permission denied");
}
