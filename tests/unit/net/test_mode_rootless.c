#include "net.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "eth.h"
#include "file.h"
#include "io.h"
#include "rootless_rig.h"
#include "user.h"
#include "xalloc.h"

TestSuite(mode_rootless, .fini = rl_world_end);

static int use(void *data)
{
	const struct user *const *u = data;
	struct net_port ports[] = {
		{.host_port = 8080, .guest_port = 80},
		{.host_ip = "127.0.0.1", .host_port = 8053, .guest_port = 53, .udp = true},
	};
	const struct net_config c = {.mode = NET_ROOTLESS, .ports = ports, .n_ports = 2};
	struct packet answer = {.to = NET_DNS_IP, .proto = IPPROTO_UDP, .sport = 53};
	struct rl_vm vm = {.user = *u};
	struct loop *loop = NULL;
	struct sockaddr_in at;
	struct err err = {0};
	struct eth got;
	char byte = 0;

	if (rl_vm_up(&vm, "vm", &c, &err) < 0 || loop_new(&loop, &err) < 0 ||
	    net_serve(vm.net, loop, &err) < 0)
		return rl_say(err.msg);
	int tap = net_tap_fd(vm.net);
	const struct net_view *v = net_look(vm.net);

	(void)dprintf(STDOUT_FILENO, "<%s> %s %s:%u %s:%u %u\n", v->ip, v->loopback,
		      v->ports[0].host_ip, v->ports[0].host_port, v->ports[1].host_ip,
		      v->ports[1].host_port, net_mtu(vm.net));
	rl_say(rl_echoes(tap, RL_INET, 4001) ? "the world answers" : "the world is silent");
	rl_say(rl_echoes(tap, RL_HOST, 4002) ? "the host answers" : "the host is silent");
	(void)rl_place(v->loopback, 8080, &at);
	(void)connect(vm.tcp, (const struct sockaddr *)&at, sizeof(at));
	rl_say(rl_await(tap, IPPROTO_TCP, 80, &got) ? "tcp comes in" : "no tcp comes in");
	(void)rl_place("127.0.0.1", 8053, &at);
	(void)sendto(vm.udp, "q", 1, 0, (const struct sockaddr *)&at, sizeof(at));
	(void)loop_once(loop, 2000, &err);
	rl_say(rl_await(tap, IPPROTO_UDP, 53, &got) ? "udp comes in" : "no udp comes in");
	answer.dport = (uint16_t)rl_port_of(&got, 0);
	answer.to_mac = got.bytes + 6;
	got = eth_ip(&answer);
	eth_send(tap, true, &got);
	(void)loop_once(loop, 2000, &err);
	rl_say(recv(vm.udp, &byte, 1, 0) >= 0 ? "udp is answered" : "udp is not answered");
	rl_vm_down(&vm);
	loop_free_p(&loop);
	return 0;
}

Test(mode_rootless, a_vm_reaches_the_world_and_is_reached_by_its_ports)
{
	const struct user *u = NULL;

	rl_in_the_world(use, &u,
			"<> 127.64.0.1 127.64.0.1:8080 127.0.0.1:8053 65520\n"
			"the world answers\nthe host is silent\n"
			"tcp comes in\nudp comes in\nudp is answered\n");
}

static int refuse(void *data)
{
	const struct user *const *u = data;
	struct net_port port = {.host_ip = "127.0.0.1", .host_port = 8080, .guest_port = 80};
	const struct net_config c = {.mode = NET_ROOTLESS, .ports = &port, .n_ports = 1};
	struct rl_vm vm = {.user = *u};
	struct sockaddr_in at;
	struct err err = {0};
	int taken = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)rl_place("127.0.0.1", 8080, &at);
	if (bind(taken, (const struct sockaddr *)&at, sizeof(at)) < 0 || listen(taken, 1) < 0)
		return rl_say("cannot take the port");
	if (rl_vm_up(&vm, "vm", &c, &err) == 0)
		return rl_say("it came up");
	(void)dprintf(STDOUT_FILENO, "%s (%d)\n", err.msg, err.class == ERR_HOST);
	auto_free char *sock = path_join(vm.dir, "slirp.sock");
	rl_say(file_exists(sock) ? "something is left" : "nothing is left");
	return 0;
}

Test(mode_rootless, a_port_in_use_is_refused_and_nothing_is_left)
{
	const struct user *u = NULL;

	rl_in_the_world(refuse, &u,
			"network: cannot publish 127.0.0.1:8080/tcp: Address already in use (1)\n"
			"nothing is left\n");
}

static bool connects(int tap, int fd, const char *ip, uint16_t port, uint16_t guest_port)
{
	struct sockaddr_in at;
	struct eth got;

	(void)rl_place(ip, port, &at);
	if (connect(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 && errno != EINPROGRESS)
		return false;
	return rl_await(tap, IPPROTO_TCP, guest_port, &got);
}

static int update(void *data)
{
	const struct user *const *u = data;
	struct net_port before = {.host_ip = "127.0.0.1", .host_port = 8080, .guest_port = 80};
	struct net_port after[] = {
		{.host_ip = "127.0.0.1", .host_port = 8080, .guest_port = 81},
		{.host_ip = "127.0.0.1", .host_port = 9090, .guest_port = 80},
	};
	const struct net_config c = {.mode = NET_ROOTLESS, .ports = &before, .n_ports = 1};
	struct net_config to = {.mode = NET_ROOTLESS, .ports = after, .n_ports = 2};
	struct rl_vm vm = {.user = *u};
	struct sockaddr_in at;
	struct err err = {0};
	int taken = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int second = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)rl_place("127.0.0.1", 9090, &at);
	if (bind(taken, (const struct sockaddr *)&at, sizeof(at)) < 0 || listen(taken, 1) < 0 ||
	    rl_vm_up(&vm, "vm", &c, &err) < 0)
		return rl_say(err.msg);
	int tap = net_tap_fd(vm.net);

	if (net_update(vm.net, &to, &err) < 0)
		rl_say(err.msg);
	rl_say(connects(tap, vm.tcp, "127.0.0.1", 8080, 80) ? "as before" : "no longer as before");
	(void)close(taken);
	if (net_update(vm.net, &to, &err) < 0)
		return rl_say(err.msg);
	rl_say(connects(tap, second, "127.0.0.1", 8080, 81) ? "at the new port" : "not there");
	(void)dprintf(STDOUT_FILENO, "%zu\n", net_look(vm.net)->n_ports);
	rl_say(rl_echoes(tap, RL_INET, 4001) ? "open" : "closed");
	to.egress_deny = true;
	if (net_update(vm.net, &to, &err) < 0)
		return rl_say(err.msg);
	rl_say(rl_echoes(tap, RL_INET, 4001) ? "open" : "closed");
	rl_vm_down(&vm);
	return 0;
}

Test(mode_rootless, ports_and_policy_change_in_place_or_stay_as_they_are)
{
	const struct user *u = NULL;

	rl_in_the_world(update, &u,
			"network: cannot publish 127.0.0.1:9090/tcp: Address already in use\n"
			"as before\nat the new port\n2\nopen\nclosed\n");
}

/* Its arguments end in our pid and the link's name. */
static bool is_ours(pid_t pid)
{
	auto_free char *path = xasprintf("/proc/%d/cmdline", (int)pid);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[4096], tail[64];
	int want = snprintf(tail, sizeof(tail), "%d%cslirp0", (int)getpid(), '\0') + 1;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));

	return n > want && strncmp(text, "slirp4netns", 11) == 0 &&
	       memcmp(text + n - want, tail, (size_t)want) == 0;
}

static pid_t find_slirp(void)
{
	auto_closedir DIR *proc = opendir("/proc");

	for (struct dirent *e; proc && (e = readdir(proc));) {
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);

		if (pid > 0 && is_ours(pid))
			return pid;
	}
	return 0;
}

static int repair(void *data)
{
	const struct user *const *u = data;
	struct net_port port = {.host_ip = "127.0.0.1", .host_port = 8080, .guest_port = 80};
	const struct net_config c = {.mode = NET_ROOTLESS, .ports = &port, .n_ports = 1};
	struct rl_vm vm = {.user = *u};
	struct loop *loop = NULL;
	uint64_t deadline_ms = deadline_in(RL_PATIENCE_MS);
	struct err err = {0};

	if (rl_vm_up(&vm, "vm", &c, &err) < 0 || loop_new(&loop, &err) < 0 ||
	    net_serve(vm.net, loop, &err) < 0)
		return rl_say(err.msg);
	pid_t first = find_slirp(), now = 0;

	if (first <= 0 || kill(first, SIGKILL) < 0)
		return rl_say("there is no slirp4netns");
	while ((now = find_slirp()) == first || now == 0)
		if (deadline_left(deadline_ms) == 0 || loop_once(loop, 100, &err) < 0)
			return rl_say("it did not come back");
	int tap = net_tap_fd(vm.net);

	rl_say(rl_echoes(tap, RL_INET, 4001) ? "the world answers" : "the world is silent");
	rl_say(rl_echoes(tap, RL_HOST, 4002) ? "the host answers" : "the host is silent");
	rl_say(connects(tap, vm.tcp, "127.0.0.1", 8080, 80) ? "reached" : "not reached");
	rl_vm_down(&vm);
	loop_free_p(&loop);
	deadline_ms = deadline_in(RL_PATIENCE_MS);
	while (find_slirp() > 0 && deadline_left(deadline_ms) > 0)
		(void)poll(NULL, 0, 5);
	rl_say(find_slirp() > 0 ? "slirp4netns stays" : "slirp4netns is gone");
	return 0;
}

Test(mode_rootless, an_uplink_that_dies_comes_back_with_its_ports_and_its_filter)
{
	const struct user *u = NULL;

	rl_in_the_world(repair, &u,
			"the world answers\nthe host is silent\nreached\nslirp4netns is gone\n");
}

struct moving {
	const struct user *user;
	int ask[2], told[2]; /* the test, which is root, adds the address */
};

static int follow(void *data)
{
	struct moving *m = data;
	const struct net_config c = {.mode = NET_ROOTLESS};
	uint64_t deadline_ms = deadline_in(RL_PATIENCE_MS);
	struct rl_vm vm = {.user = m->user};
	struct loop *loop = NULL;
	struct err err = {0};
	char byte = 0;

	if (rl_vm_up(&vm, "vm", &c, &err) < 0 || loop_new(&loop, &err) < 0 ||
	    net_serve(vm.net, loop, &err) < 0)
		return rl_say(err.msg);
	int tap = net_tap_fd(vm.net);

	if (write(m->ask[1], "", 1) != 1 || read(m->told[0], &byte, 1) != 1)
		return rl_say("nobody adds an address");
	/* Until the news has come; an echo server waits at the host's address from the start. */
	while (rl_echoes(tap, RL_LATE, 4001))
		if (deadline_left(deadline_ms) == 0 || loop_once(loop, 100, &err) < 0)
			return rl_say("it is still reached");
	rl_say("not reached");
	rl_say(rl_echoes(tap, RL_INET, 4002) ? "the world answers" : "the world is silent");
	rl_vm_down(&vm);
	loop_free_p(&loop);
	return 0;
}

Test(mode_rootless, an_address_the_host_gets_meanwhile_is_out_of_reach)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(65536);
	struct moving m = {.user = &u};
	struct sockaddr_in at;
	pid_t admin, server;

	user_make(&u, "rootless");
	user_open_tun();
	rl_world_make();
	cr_assert(pipe2(m.ask, O_CLOEXEC) == 0 && pipe2(m.told, O_CLOEXEC) == 0);
	server = fork();
	if (server == 0) {
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		(void)rl_place("0.0.0.0", 7, &at);
		if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0)
			rl_echo(fd);
		_exit(1);
	}
	admin = fork();
	if (admin == 0) {
		char byte;

		if (read(m.ask[0], &byte, 1) == 1)
			rl_sh("ip addr add " RL_LATE "/24 dev host0");
		_exit(write(m.told[1], "", 1) == 1 ? 0 : 1);
	}
	user_call(&u, follow, &m, &out);
	(void)kill(server, SIGKILL);
	(void)waitpid(server, NULL, 0);
	(void)waitpid(admin, NULL, 0);
	cr_expect_str_eq(buf_str(&out), "not reached\nthe world answers\n");
}

#define MANY 16

/* One of many: up, seen by all the others, down. */
static void one_of_many(const struct user *u, int i, int ready, int go)
{
	struct net_port port = {.host_port = 8080, .guest_port = 80};
	const struct net_config c = {.mode = NET_ROOTLESS, .ports = &port, .n_ports = 1};
	auto_free char *name = xasprintf("vm%d", i);
	struct rl_vm vm = {.user = u};
	struct err err = {0};
	char byte;

	if (rl_vm_up(&vm, name, &c, &err) < 0)
		(void)dprintf(STDOUT_FILENO, "%s\n", err.msg);
	else
		(void)dprintf(STDOUT_FILENO, "%s\n", net_look(vm.net)->loopback);
	(void)!write(ready, "", 1);
	(void)!read(go, &byte, 1);
	if (vm.net)
		rl_vm_down(&vm);
	_exit(0);
}

static int many(void *data)
{
	const struct user *const *u = data;
	auto_free char *ledger = path_join((*u)->home, "ledger/loopback");
	auto_buf struct buf text = BUF_INIT(65536);
	int ready[2], go[2], status = 0;
	char byte;

	if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0)
		return -1;
	for (int i = 0; i < MANY; i++)
		if (fork() == 0) {
			(void)close(go[1]);
			one_of_many(*u, i, ready[1], go[0]);
		}
	for (int i = 0; i < MANY; i++)
		if (read(ready[0], &byte, 1) != 1)
			return rl_say("one has not come up");
	(void)close(go[1]);
	for (int i = 0; i < MANY; i++)
		if (wait(&status) < 0 || status != 0)
			return rl_say("one has ended badly");
	if (file_read(ledger, text.max, &text, NULL) == 0 && strstr(buf_str(&text), "/vm"))
		return rl_say("the ledger has entries");
	return 0;
}

Test(mode_rootless, many_come_up_at_once_each_with_an_address_of_its_own)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(65536);
	const struct user *p = &u;

	user_make(&u, "rootless");
	user_open_tun();
	rl_world_make();
	user_call(&u, many, &p, &out);
	for (int i = 1; i <= MANY; i++) {
		auto_free char *line = xasprintf("127.64.0.%d\n", i);

		cr_expect(strstr(buf_str(&out), line), "no VM has %s%s", line, buf_str(&out));
	}
}

/* No user namespace then; slirp4netns gives up root by itself. */
Test(mode_rootless, root_may_have_it_too)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(65536);
	const struct user *p = &u;

	user_make(&u, "rootless");
	user_open_tun();
	rl_world_make();
	user_call(NULL, use, &p, &out);
	cr_expect_str_eq(buf_str(&out), "<> 127.64.0.1 127.64.0.1:8080 127.0.0.1:8053 65520\n"
					"the world answers\nthe host is silent\n"
					"tcp comes in\nudp comes in\nudp is answered\n");
}

static int without_tap(void *data)
{
	const struct user *const *u = data;
	const struct net_config c = {.mode = NET_ROOTLESS};
	struct rl_vm vm = {.user = *u};
	struct err err = {0};

	if (rl_vm_up(&vm, "vm", &c, &err) == 0)
		return rl_say("it came up");
	(void)dprintf(STDOUT_FILENO, "%s (%d)\n%s\n", err.msg, err.class == ERR_HOST, err.hint);
	return 0;
}

Test(mode_rootless, without_the_tap_device_it_is_refused)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(65536);
	const struct user *p = &u;

	user_make(&u, "rootless");
	user_open_tun();
	cr_assert_eq(chmod("/dev/net/tun", 0600), 0);
	user_call(&u, without_tap, &p, &out);
	cr_expect_str_eq(buf_str(&out),
			 "network: the host refuses /dev/net/tun: Permission denied (1)\n"
			 "chmod 0666 /dev/net/tun, as udev does; without it only 'network: none' "
			 "is possible\n");
}
