#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"

#define TUN_DEVICE "/dev/net/tun"

static const unsigned char tap_mac[6] = {0x02, 0xfc, 0x00, 0x00, 0x00, 0x02};

static struct ifreq request(const char *name)
{
	struct ifreq req = {.ifr_flags = 0};

	(void)snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	return req;
}

static int bring_up(int sock, const char *name, struct err *err)
{
	struct ifreq req = request(name);

	if (ioctl(sock, SIOCGIFFLAGS, &req) < 0)
		return err_sys(err, "cannot look at '%s'", name);
	req.ifr_flags = (short)(req.ifr_flags | IFF_UP);
	if (ioctl(sock, SIOCSIFFLAGS, &req) < 0)
		return err_sys(err, "cannot bring up '%s'", name);
	return 0;
}

static int open_tun(int *ret, struct err *err)
{
	int fd = open(TUN_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_set(err, ERR_HOST, -EACCES, "the host refuses %s: %s", TUN_DEVICE,
			       strerror(errno));
	*ret = fd;
	return 0;
}

/* Persistent, so that closing it never waits for an RCU grace period in the foreground: the
 * kernel takes it away with the namespace. */
static int make_tap(int sock, int *ret_fd, struct err *err)
{
	struct ifreq req = request(NETNS_TAP);
	auto_close int fd = -1;
	int r = open_tun(&fd, err);

	if (r < 0)
		return r;
	req.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	if (ioctl(fd, TUNSETIFF, &req) < 0) {
		if (errno == EPERM || errno == EACCES)
			return err_set(err, ERR_HOST, -EACCES, "the host refuses a tap device: %s",
				       strerror(errno));
		return err_sys(err, "cannot make '%s'", NETNS_TAP);
	}
	if (ioctl(fd, TUNSETPERSIST, 1) < 0)
		return err_sys(err, "cannot make '%s' persistent", NETNS_TAP);
	req = request(NETNS_TAP);
	req.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(req.ifr_hwaddr.sa_data, tap_mac, sizeof(tap_mac));
	if (ioctl(sock, SIOCSIFHWADDR, &req) < 0)
		return err_sys(err, "cannot set the MAC address of '%s'", NETNS_TAP);
	r = bring_up(sock, NETNS_TAP, err);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int netns_enter(int *ret_tap_fd, struct err *err)
{
	auto_close int sock = -1;
	int r;

	if (unshare(CLONE_NEWNET) < 0) {
		err_sys(err, "cannot make a network namespace");
		return err_hint(err, "fcvm needs CAP_SYS_ADMIN here; in a container, run it with "
				     "--privileged");
	}
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return err_sys(err, "cannot open a socket in the network namespace");
	r = bring_up(sock, "lo", err);
	if (r < 0)
		return r;
	return make_tap(sock, ret_tap_fd, err);
}

int netns_open(int *ret_fd, struct err *err)
{
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "cannot open this network namespace");
	*ret_fd = fd;
	return 0;
}

int netns_join(int fd, struct err *err)
{
	if (setns(fd, CLONE_NEWNET) < 0)
		return err_sys(err, "cannot enter a network namespace");
	return 0;
}

bool netns_tap_permitted(char *why, size_t size)
{
	auto_close int fd = -1;
	struct err err;

	if (open_tun(&fd, &err) == 0)
		return true;
	if (why)
		(void)snprintf(why, size, "%s", err.msg);
	return false;
}
