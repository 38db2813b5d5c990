#include "place.h"

#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "world.h"
#include "xalloc.h"

void place_run(const char *const *argv)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		(void)execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		world_die("%s %s: status %#x", argv[0], argv[1] ? argv[1] : "",
			  (unsigned int)status);
}

void place_enter(int namespace)
{
	if (setns(namespace, CLONE_NEWNET) < 0)
		world_die("cannot change the network namespace");
}

static int fresh_namespace(void)
{
	if (unshare(CLONE_NEWNET) < 0)
		world_die("cannot make a network namespace");
	return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

void place_make(struct place *p)
{
	static const char host_range[] = PLACE_HOST "/24", inet_range[] = PLACE_INET "/24";

	p->real = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	p->inet = fresh_namespace();
	PLACE_RUN("ip", "link", "set", "lo", "up");
	p->host = fresh_namespace();
	if (p->real < 0 || p->inet < 0 || p->host < 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		world_die("cannot make a host");
	auto_free char *inet = xasprintf("/proc/%d/fd/%d", getpid(), p->inet);

	PLACE_RUN("ip", "link", "set", "lo", "up");
	PLACE_RUN("ip", "link", "add", "wan0", "type", "veth", "peer", "name", "in0", "netns",
		  inet);
	PLACE_RUN("ip", "addr", "add", host_range, "dev", "wan0");
	PLACE_RUN("ip", "link", "set", "wan0", "up");
	PLACE_RUN("ip", "route", "add", "default", "via", PLACE_INET);
	place_enter(p->inet);
	PLACE_RUN("ip", "addr", "add", inet_range, "dev", "in0");
	PLACE_RUN("ip", "link", "set", "in0", "up");
	place_enter(p->host);
}
