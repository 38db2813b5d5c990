#include "slirp.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "netns.h"
#include "user.h"
#include "userns.h"

static int say(const char *text)
{
	(void)dprintf(STDOUT_FILENO, "%s\n", text);
	return -1;
}

static int start_and_stop(void *data)
{
	const struct user *u = data;
	const struct net_port port = {.host_ip = "127.66.9.9", .host_port = 8080, .guest_port = 80};
	auto_close int tap = -1, pidfd = -1;
	struct outside *o = NULL;
	struct slirp *s = NULL;
	struct err err = {0};
	uint64_t id = 0, second = 0;

	(void)dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
	if (outside_start(&o, &err) < 0 || userns_enter(&err) < 0 || netns_enter(&tap, &err) < 0 ||
	    slirp_start(o, u->home, &s, &err) < 0)
		return say(err.msg);
	if (slirp_forward(s, &port, &id, &err) < 0)
		return say(err.msg);
	say(slirp_forward(s, &port, &second, &err) == -EADDRINUSE ? "taken" : "taken twice");
	say(slirp_unforward(s, id, &err) == 0 ? "given back" : err.msg);
	say(slirp_unforward(s, id, &err) == 0 ? "gone already" : err.msg);
	say(slirp_forward(s, &port, &second, &err) == 0 ? "taken again" : err.msg);
	pidfd = fcntl(slirp_pidfd(s), F_DUPFD_CLOEXEC, 3);
	slirp_stop(s);
	say(io_wait(pidfd, POLLIN, deadline_in(10000)) == 1 ? "ended" : "goes on");
	auto_free char *sock = path_join(u->home, SLIRP_SOCK);

	say(file_exists(sock) ? "socket left" : "no socket left");
	outside_stop(o);
	return 0;
}

Test(slirp, it_forwards_ports_and_leaves_nothing)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(4096);

	user_make(&u, "slirp");
	user_own_network();
	user_open_tun();
	user_call(&u, start_and_stop, &u, &out);
	cr_expect_str_eq(buf_str(&out), "taken\ngiven back\ngone already\ntaken again\nended\n"
					"no socket left\n");
}

static int start_without_a_device(void *data)
{
	const struct user *u = data;
	auto_close int tap = -1;
	struct outside *o = NULL;
	struct slirp *s = NULL;
	struct err err = {0};

	(void)dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
	if (outside_start(&o, &err) < 0 || userns_enter(&err) < 0)
		return say(err.msg);
	(void)netns_enter(&tap, NULL);
	if (slirp_start(o, u->home, &s, &err) < 0)
		say(err.msg);
	outside_stop(o);
	return 0;
}

Test(slirp, one_that_cannot_begin_is_told_at_once)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(4096);

	user_make(&u, "slirp");
	user_own_network();
	user_open_tun();
	cr_assert_eq(chmod("/dev/net/tun", 0600), 0);
	user_call(&u, start_without_a_device, &u, &out);
	cr_expect_str_eq(buf_str(&out),
			 "slirp4netns ended at once; supervisor.log has what it said\n");
}
