#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "net_place.h"
#include "net_rig.h"
#include "netns.h"
#include "run.h"
#include "xalloc.h"

/* A process that does nothing in a namespace of its own. */
static pid_t spawn_namespace(void)
{
	int ready[2] = {-1, -1};
	char c = 0;
	pid_t pid = -1;

	cr_assert_eq(pipe2(ready, O_CLOEXEC), 0);
	pid = net_spawn();
	if (pid == 0) {
		if (unshare(CLONE_NEWNET) < 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			(void)pause();
	}
	cr_assert_eq(read(ready[0], &c, 1), 1);
	(void)close(ready[0]);
	(void)close(ready[1]);
	return pid;
}

static void bind_resolv(const struct net_world *w, const char *text)
{
	auto_free char *path = path_join(w->dir, "resolv.conf");
	struct err err = {0};

	cr_assert_geq(file_replace(path, text, strlen(text), 0644, &err), 0, "%s", err.msg);
	cr_assert_eq(mount(path, "/etc/resolv.conf", NULL, MS_BIND, NULL), 0);
}

/* Hears of every change of a link, which the kernel tells when its routes know. */
static int watch_links(void)
{
	const struct sockaddr_nl at = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	cr_assert_eq(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

/* The kernel sees to a new link's carrier when it has time, up to a second later when there are
 * many; until then its routes are marked, and a host that is looked at is not yet itself. */
static void await_carrier(int links)
{
	static const char *const routes[] = {"ip", "route", NULL};
	const uint64_t deadline_ms = deadline_in(20000);
	auto_buf struct buf text = BUF_INIT(65536);
	char message[8192];

	while (net_run_at(0, &text, routes) == 0 && strstr(buf_str(&text), "linkdown")) {
		cr_assert_eq(io_wait(links, POLLIN, deadline_ms), 1, "wan0 carries nothing");
		cr_assert_gt(recv(links, message, sizeof(message), 0), 0);
		buf_reset(&text);
	}
}

void net_world_make(struct net_world *w, const char *resolv)
{
	char why[200];
	struct err err = {0};

	if (geteuid() != 0)
		cr_skip_test("network namespaces need root");
	if (!netns_tap_permitted(why, sizeof(why)))
		cr_skip_test("%s", why);
	*w = (struct net_world){.dir = tmpdir_new("net")};
	cr_assert_eq(unshare(CLONE_NEWNET | CLONE_NEWNS), 0);
	cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	cr_assert_geq(host_init(&w->host, w->dir, &err), 0, "%s", err.msg);
	cr_assert_geq(host_make_dirs(&w->host, &err), 0, "%s", err.msg);
	if (resolv)
		bind_resolv(w, resolv);
	w->inet = spawn_namespace();
	auto_close int links = watch_links();
	auto_free char *veth =
		xasprintf("link add wan0 type veth peer name in0 netns %d", (int)w->inet);

	net_ip_at(0, "link set lo up");
	net_ip_at(0, veth);
	net_ip_at(0, "addr add " RIG_WAN "/24 dev wan0");
	net_ip_at(0, "link set wan0 up");
	net_ip_at(0, "route add default via " RIG_INET);
	net_ip_at(w->inet, "link set lo up");
	net_ip_at(w->inet, "addr add " RIG_INET "/24 dev in0");
	net_ip_at(w->inet, "addr add " RIG_INET_2 "/32 dev in0");
	net_ip_at(w->inet, "link set in0 up");
	await_carrier(links);
}

void net_world_free(struct net_world *w)
{
	if (!w->dir)
		return;
	if (w->inet > 0) {
		(void)kill(w->inet, SIGKILL);
		(void)waitpid(w->inet, NULL, 0);
	}
	host_free(&w->host);
	(void)umount2("/etc/resolv.conf", MNT_DETACH);
	tmpdir_remove(&w->dir);
}
