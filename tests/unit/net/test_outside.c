#include "outside.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "netns.h"
#include "user.h"
#include "userns.h"

static int say(const char *text)
{
	(void)dprintf(STDOUT_FILENO, "%s\n", text);
	return -1;
}

/* A port of the host somebody listens at. */
static int listen_somewhere(struct sockaddr_in *ret)
{
	socklen_t len = sizeof(*ret);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret = (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0 || bind(fd, (const struct sockaddr *)ret, len) < 0 || listen(fd, 1) < 0 ||
	    getsockname(fd, (struct sockaddr *)ret, &len) < 0)
		return -1;
	return fd;
}

static int reach_the_host(void *data)
{
	auto_close int there = -1, here = -1, tap = -1, listener = -1;
	struct outside *o = NULL;
	struct sockaddr_in at;
	struct err err = {0};
	int status = 0;

	(void)data;
	listener = listen_somewhere(&at);
	if (listener < 0 || outside_start(&o, &err) < 0 || userns_enter(&err) < 0 ||
	    netns_enter(&tap, &err) < 0)
		return say(err.msg);
	here = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	say(connect(here, (const struct sockaddr *)&at, sizeof(at)) < 0 ? "not from here" : "?");
	if (outside_socket(o, AF_INET, SOCK_STREAM, &there, &err) < 0)
		return say(err.msg);
	say(connect(there, (const struct sockaddr *)&at, sizeof(at)) == 0 ? "from there" : "?");
	if (outside_socket(o, AF_NETLINK, SOCK_DGRAM, &here, &err) == -EINVAL)
		say(err.msg);
	outside_stop(o);
	say(waitpid(-1, &status, 0) > 0 && status == 0 ? "gone" : "still there");
	return 0;
}

Test(outside, its_sockets_are_the_hosts_after_we_have_left)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(4096);

	user_make(&u, "outside");
	user_own_network();
	user_open_tun();
	user_call(&u, reach_the_host, NULL, &out);
	cr_expect_str_eq(buf_str(&out), "not from here\nfrom there\n"
					"no such socket is made outside\ngone\n");
}

static int run_what_is_absent(void *data)
{
	struct outside_slirp what = {
		.target = getpid(), .dir = "/", .sock = "s", .ready_fd = 0, .exit_fd = 0};
	struct outside *o = NULL;
	struct err err = {0};
	int pidfd = -1;

	(void)data;
	if (outside_start(&o, &err) < 0)
		return say(err.msg);
	if (outside_run_slirp(o, &what, &pidfd, &err) == -ENOENT && err.class == ERR_HOST) {
		say(err.msg);
		say(err.hint);
	}
	outside_stop(o);
	return 0;
}

Test(outside, a_missing_slirp4netns_is_named_with_its_package)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(4096);

	user_make(&u, "outside");
	user_own_network();
	user_open_tun();
	if (access("/usr/bin/slirp4netns", F_OK) == 0)
		cr_assert_eq(mount("/dev/null", "/usr/bin/slirp4netns", NULL, MS_BIND, NULL), 0);
	user_call(&u, run_what_is_absent, NULL, &out);
	cr_expect_str_eq(buf_str(&out),
			 "'slirp4netns' is not installed\napt install slirp4netns\n");
}

static int lose_it(void *data)
{
	struct outside *o = NULL;
	struct err err = {0};
	int fd = -1;

	(void)data;
	if (outside_start(&o, &err) < 0)
		return say(err.msg);
	/* The only child there is. */
	if (kill(0, 0) < 0 || waitpid(-1, NULL, WNOHANG) != 0)
		return say("it is not there");
	auto_fclose FILE *children = fopen("/proc/thread-self/children", "re");
	int pid = 0;

	if (!children || fscanf(children, "%d", &pid) != 1 || kill(pid, SIGKILL) < 0 ||
	    waitpid(pid, NULL, 0) != pid)
		return say("it cannot be killed");
	if (outside_socket(o, AF_INET, SOCK_DGRAM, &fd, &err) < 0)
		say(err.msg);
	outside_stop(o);
	return 0;
}

Test(outside, one_that_was_killed_is_told_from_one_that_refuses)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(4096);

	user_make(&u, "outside");
	user_own_network();
	user_call(&u, lose_it, NULL, &out);
	cr_expect_str_eq(buf_str(&out),
			 "the process outside is gone: cannot send a message: Broken pipe\n");
}
