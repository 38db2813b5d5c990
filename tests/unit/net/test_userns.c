#include "userns.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "netns.h"
#include "user.h"

/* Written to stdout by a child in the namespace, which user_call() hands back. */
static int enter(void)
{
	struct err err = {0};
	int r = userns_enter(&err);

	if (r < 0)
		(void)dprintf(STDOUT_FILENO, "%s\n", err.msg);
	return r;
}

static bool has_capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	return syscall(SYS_capget, &head, data) == 0 && data[0].effective != 0;
}

static int who_are_we(void *data)
{
	const struct user *u = data;
	bool before = has_capabilities();
	int r = enter();

	(void)dprintf(STDOUT_FILENO, "%s %s %s", geteuid() == u->uid ? "same uid" : "another uid",
		      getegid() == u->uid ? "same gid" : "another gid",
		      !before && has_capabilities() ? "capable" : "as before");
	return r;
}

Test(userns, we_are_who_we_were_and_may_do_everything_inside)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(4096);

	user_make(&u, "userns");
	user_call(&u, who_are_we, &u, &out);
	cr_expect_str_eq(buf_str(&out), "same uid same gid capable");
}

static int execute(void *data)
{
	(void)data;
	if (enter() == 0)
		(void)execlp("grep", "grep", "-E", "^Cap(Prm|Eff)", "/proc/self/status", NULL);
	return -1;
}

Test(userns, what_is_executed_inside_has_no_capability)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(4096);

	user_make(&u, "userns");
	user_call(&u, execute, NULL, &out);
	cr_expect_str_eq(buf_str(&out), "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n");
}

static int look_around(void *data)
{
	const struct user *u = data;
	struct ucred cred = {0};
	socklen_t len = sizeof(cred);
	struct stat home = {0}, root = {0};
	int pair[2];

	if (enter() < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ||
	    getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 ||
	    stat(u->home, &home) < 0 || stat("/", &root) < 0)
		return -1;
	(void)dprintf(STDOUT_FILENO, "%s %s %s", cred.uid == u->uid ? "peer" : "?",
		      home.st_uid == u->uid ? "owner" : "?",
		      root.st_uid == 65534 ? "root is nobody" : "?");
	return 0;
}

Test(userns, a_peer_and_an_owner_are_seen_as_they_are_seen_outside)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(4096);

	user_make(&u, "userns");
	user_call(&u, look_around, &u, &out);
	cr_expect_str_eq(buf_str(&out), "peer owner root is nobody");
}

static int make_tap(void *data)
{
	struct err err = {0};
	int tap = -1;

	(void)data;
	if (enter() < 0)
		return -1;
	(void)dprintf(STDOUT_FILENO, "%s",
		      netns_enter(&tap, &err) == 0 && tap >= 0 ? "tap0" : err.msg);
	return 0;
}

Test(userns, an_ordinary_user_gets_tap0_in_it)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(4096);

	user_make(&u, "userns");
	user_open_tun();
	user_call(&u, make_tap, NULL, &out);
	cr_expect_str_eq(buf_str(&out), "tap0");
}

/* The limit of a user namespace of the test's own: nobody else's changes. */
static int forbid(void *data)
{
	char why[200] = "unset";
	struct err err = {0};
	FILE *max = NULL;

	(void)data;
	(void)dprintf(STDOUT_FILENO, "%d%d", userns_permitted(why, sizeof(why)),
		      userns_permitted(NULL, 0));
	(void)dprintf(STDOUT_FILENO, "<%s>\n", why);
	if (enter() < 0)
		return -1;
	max = fopen("/proc/sys/user/max_user_namespaces", "we");
	if (!max || fputs("0\n", max) < 0 || fclose(max) != 0)
		return -1;
	(void)dprintf(STDOUT_FILENO, "%d", userns_permitted(why, sizeof(why)));
	(void)dprintf(STDOUT_FILENO, "<%s>\n", why);
	if (userns_enter(&err) == -ENOSPC && err.class == ERR_HOST)
		(void)dprintf(STDOUT_FILENO, "%s\n", err.msg);
	return 0;
}

Test(userns, it_is_permitted_where_it_works_and_says_why_not_elsewhere)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(4096);

	user_make(&u, "userns");
	user_call(&u, forbid, NULL, &out);
	cr_expect_str_eq(buf_str(&out),
			 "11<>\n"
			 "0<the host refuses user namespaces: No space left on device>\n"
			 "the host refuses user namespaces: No space left on device\n");
}
