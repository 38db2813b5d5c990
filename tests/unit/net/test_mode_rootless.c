#include "net.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "eth.h"
#include "file.h"
#include "host.h"
#include "io.h"
#include "user.h"
#include "xalloc.h"

#define INET "203.0.113.1"
#define HOST "203.0.113.2"
#define LATE "203.0.113.9" /* comes while the VM runs */
#define PATIENCE_MS 20000

/* --- a host with a world behind it, in namespaces of the test's own --- */

static void sh(const char *script)
{
	auto_run struct run_result r = RUN_INIT;

	run_argv(&r, (const char *const[]){"sh", "-c", script, NULL}, NULL, NULL, 20000);
	cr_assert_eq(r.status, 0, "%s: %s", script, buf_str(&r.err));
}

/* What is asked comes back, by UDP at port 7. */
static void echo(int fd)
{
	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		char text[256];
		ssize_t n = recvfrom(fd, text, sizeof(text), 0, (struct sockaddr *)&from, &len);

		if (n >= 0)
			(void)sendto(fd, text, (size_t)n, 0, (const struct sockaddr *)&from, len);
	}
}

static pid_t world;

static void world_end(void)
{
	if (world > 0)
		(void)kill(world, SIGKILL);
}
TestSuite(mode_rootless, .fini = world_end);

static void world_make(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(7)};
	char byte = 0;
	int up[2];

	cr_assert_eq(unshare(CLONE_NEWNET), 0);
	cr_assert_eq(pipe2(up, O_CLOEXEC), 0);
	world = fork();
	cr_assert_geq(world, 0);
	if (world == 0) {
		int fd = unshare(CLONE_NEWNET) == 0 ? socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)
						    : -1;

		if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 ||
		    write(up[1], "", 1) != 1)
			_exit(1);
		echo(fd);
	}
	cr_assert_eq(read(up[0], &byte, 1), 1);
	auto_free char *script = xasprintf(
		"ip link set lo up; ip link add host0 type veth peer name in0 netns %d && "
		"ip addr add " HOST "/24 dev host0 && ip link set host0 up && "
		"nsenter -t %d -n sh -c 'ip addr add " INET "/24 dev in0; ip link set in0 up'",
		(int)world, (int)world);
	sh(script);
}

/* --- the guest, made of frames --- */

static int say(const char *text)
{
	(void)dprintf(STDOUT_FILENO, "%s\n", text);
	return -1;
}

static bool is_arp_for_us(const struct eth *f)
{
	struct in_addr us;

	(void)inet_pton(AF_INET, NET_GUEST_IP, &us);
	return f->bytes[12] == 8 && f->bytes[13] == 6 && f->bytes[ETH_HLEN + 7] == 1 &&
	       memcmp(f->bytes + ETH_HLEN + 24, &us, 4) == 0;
}

static unsigned int port_of(const struct eth *f, size_t at)
{
	return (unsigned int)(f->bytes[ETH_HLEN + 20 + at] << 8 | f->bytes[ETH_HLEN + 21 + at]);
}

static void answer_arp(int tap, const struct eth *asked)
{
	struct eth f = eth_arp(NULL, NULL, NET_GATEWAY_IP, true);

	memcpy(f.bytes, asked->bytes + 6, 6);
	memcpy(f.bytes + ETH_HLEN + 18, asked->bytes + ETH_HLEN + 8, 10);
	eth_send(tap, true, &f);
}

/* Answers ARP until a packet of that protocol for that port comes. */
static bool await(int tap, uint8_t proto, uint16_t dport, struct eth *ret)
{
	while (eth_read(tap, true, ret)) {
		if (is_arp_for_us(ret))
			answer_arp(tap, ret);
		if (ret->bytes[12] == 8 && ret->bytes[13] == 0 &&
		    ret->bytes[ETH_HLEN + 9] == proto && port_of(ret, 2) == dport)
			return true;
	}
	return false;
}

/* Whether a datagram to that place comes back. */
static bool echoes(int tap, const char *to, uint16_t sport)
{
	const struct packet p = {.to = to, .proto = IPPROTO_UDP, .sport = sport, .dport = 7};
	const struct eth hello = eth_arp(NULL, NULL, NET_GATEWAY_IP, false);
	const struct eth f = eth_ip(&p);
	struct eth got;

	eth_send(tap, true, &hello);
	eth_send(tap, true, &f);
	return await(tap, IPPROTO_UDP, sport, &got);
}

/* --- the VM's network --- */

struct vm {
	struct host host;
	char *dir;
	struct net *net;
	int tcp, udp; /* of the host's network: opened before it was left */
	const struct user *user;
};

static int vm_up(struct vm *vm, const char *name, const struct net_config *c, struct err *err)
{
	const struct net_spec spec = {.host = &vm->host, .config = c};
	struct net_spec s = spec;

	/* slirp4netns talks a lot. */
	(void)dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
	vm->dir = path_join(vm->user->home, name);
	vm->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	vm->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (host_init(&vm->host, vm->user->home, err) < 0 || host_make_dirs(&vm->host, err) < 0 ||
	    file_mkdir_p(vm->dir, 0711, err) < 0)
		return -1;
	s.dir = vm->dir;
	return net_up(&s, &vm->net, err);
}

static void vm_down(struct vm *vm)
{
	net_down(vm->net);
	free(vm->dir);
	host_free(&vm->host);
}

static void in_the_world(int (*fn)(void *data), void *data, const char *want)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(65536);

	user_make(&u, "rootless");
	user_open_tun();
	world_make();
	*(const struct user **)data = &u;
	user_call(&u, fn, data, &out);
	cr_expect_str_eq(buf_str(&out), want);
}

static int place(const char *ip, uint16_t port, struct sockaddr_in *ret)
{
	*ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
	return inet_pton(AF_INET, ip, &ret->sin_addr) == 1 ? 0 : -1;
}

static int use(void *data)
{
	const struct user *const *u = data;
	struct net_port ports[] = {
		{.host_port = 8080, .guest_port = 80},
		{.host_ip = "127.0.0.1", .host_port = 8053, .guest_port = 53, .udp = true},
	};
	const struct net_config c = {.mode = NET_ROOTLESS, .ports = ports, .n_ports = 2};
	struct packet answer = {.to = NET_DNS_IP, .proto = IPPROTO_UDP, .sport = 53};
	struct vm vm = {.user = *u};
	struct loop *loop = NULL;
	struct sockaddr_in at;
	struct err err = {0};
	struct eth got;
	char byte = 0;

	if (vm_up(&vm, "vm", &c, &err) < 0 || loop_new(&loop, &err) < 0 ||
	    net_serve(vm.net, loop, &err) < 0)
		return say(err.msg);
	int tap = net_tap_fd(vm.net);
	const struct net_view *v = net_look(vm.net);

	(void)dprintf(STDOUT_FILENO, "<%s> %s %s:%u %s:%u %u\n", v->ip, v->loopback,
		      v->ports[0].host_ip, v->ports[0].host_port, v->ports[1].host_ip,
		      v->ports[1].host_port, net_mtu(vm.net));
	say(echoes(tap, INET, 4001) ? "the world answers" : "the world is silent");
	say(echoes(tap, HOST, 4002) ? "the host answers" : "the host is silent");
	(void)place(v->loopback, 8080, &at);
	(void)connect(vm.tcp, (const struct sockaddr *)&at, sizeof(at));
	say(await(tap, IPPROTO_TCP, 80, &got) ? "tcp comes in" : "no tcp comes in");
	(void)place("127.0.0.1", 8053, &at);
	(void)sendto(vm.udp, "q", 1, 0, (const struct sockaddr *)&at, sizeof(at));
	(void)loop_once(loop, 2000, &err);
	say(await(tap, IPPROTO_UDP, 53, &got) ? "udp comes in" : "no udp comes in");
	answer.dport = (uint16_t)port_of(&got, 0);
	answer.to_mac = got.bytes + 6;
	got = eth_ip(&answer);
	eth_send(tap, true, &got);
	(void)loop_once(loop, 2000, &err);
	say(recv(vm.udp, &byte, 1, 0) >= 0 ? "udp is answered" : "udp is not answered");
	vm_down(&vm);
	loop_free_p(&loop);
	return 0;
}

Test(mode_rootless, a_vm_reaches_the_world_and_is_reached_by_its_ports)
{
	const struct user *u = NULL;

	in_the_world(use, &u,
		     "<> 127.64.0.1 127.64.0.1:8080 127.0.0.1:8053 65520\n"
		     "the world answers\nthe host is silent\n"
		     "tcp comes in\nudp comes in\nudp is answered\n");
}

static int refuse(void *data)
{
	const struct user *const *u = data;
	struct net_port port = {.host_ip = "127.0.0.1", .host_port = 8080, .guest_port = 80};
	const struct net_config c = {.mode = NET_ROOTLESS, .ports = &port, .n_ports = 1};
	struct vm vm = {.user = *u};
	struct sockaddr_in at;
	struct err err = {0};
	int taken = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)place("127.0.0.1", 8080, &at);
	if (bind(taken, (const struct sockaddr *)&at, sizeof(at)) < 0 || listen(taken, 1) < 0)
		return say("cannot take the port");
	if (vm_up(&vm, "vm", &c, &err) == 0)
		return say("it came up");
	(void)dprintf(STDOUT_FILENO, "%s (%d)\n", err.msg, err.class == ERR_HOST);
	auto_free char *sock = path_join(vm.dir, "slirp.sock");
	say(file_exists(sock) ? "something is left" : "nothing is left");
	return 0;
}

Test(mode_rootless, a_port_in_use_is_refused_and_nothing_is_left)
{
	const struct user *u = NULL;

	in_the_world(refuse, &u,
		     "network: cannot publish 127.0.0.1:8080/tcp: Address already in use (1)\n"
		     "nothing is left\n");
}

static bool connects(int tap, int fd, const char *ip, uint16_t port, uint16_t guest_port)
{
	struct sockaddr_in at;
	struct eth got;

	(void)place(ip, port, &at);
	if (connect(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 && errno != EINPROGRESS)
		return false;
	return await(tap, IPPROTO_TCP, guest_port, &got);
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
	struct vm vm = {.user = *u};
	struct sockaddr_in at;
	struct err err = {0};
	int taken = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int second = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)place("127.0.0.1", 9090, &at);
	if (bind(taken, (const struct sockaddr *)&at, sizeof(at)) < 0 || listen(taken, 1) < 0 ||
	    vm_up(&vm, "vm", &c, &err) < 0)
		return say(err.msg);
	int tap = net_tap_fd(vm.net);

	if (net_update(vm.net, &to, &err) < 0)
		say(err.msg);
	say(connects(tap, vm.tcp, "127.0.0.1", 8080, 80) ? "as before" : "no longer as before");
	(void)close(taken);
	if (net_update(vm.net, &to, &err) < 0)
		return say(err.msg);
	say(connects(tap, second, "127.0.0.1", 8080, 81) ? "at the new port" : "not there");
	(void)dprintf(STDOUT_FILENO, "%zu\n", net_look(vm.net)->n_ports);
	say(echoes(tap, INET, 4001) ? "open" : "closed");
	to.egress_deny = true;
	if (net_update(vm.net, &to, &err) < 0)
		return say(err.msg);
	say(echoes(tap, INET, 4001) ? "open" : "closed");
	vm_down(&vm);
	return 0;
}

Test(mode_rootless, ports_and_policy_change_in_place_or_stay_as_they_are)
{
	const struct user *u = NULL;

	in_the_world(update, &u,
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
	struct vm vm = {.user = *u};
	struct loop *loop = NULL;
	uint64_t deadline_ms = deadline_in(PATIENCE_MS);
	struct err err = {0};

	if (vm_up(&vm, "vm", &c, &err) < 0 || loop_new(&loop, &err) < 0 ||
	    net_serve(vm.net, loop, &err) < 0)
		return say(err.msg);
	pid_t first = find_slirp(), now = 0;

	if (first <= 0 || kill(first, SIGKILL) < 0)
		return say("there is no slirp4netns");
	while ((now = find_slirp()) == first || now == 0)
		if (deadline_left(deadline_ms) == 0 || loop_once(loop, 100, &err) < 0)
			return say("it did not come back");
	int tap = net_tap_fd(vm.net);

	say(echoes(tap, INET, 4001) ? "the world answers" : "the world is silent");
	say(echoes(tap, HOST, 4002) ? "the host answers" : "the host is silent");
	say(connects(tap, vm.tcp, "127.0.0.1", 8080, 80) ? "reached" : "not reached");
	vm_down(&vm);
	loop_free_p(&loop);
	deadline_ms = deadline_in(PATIENCE_MS);
	while (find_slirp() > 0 && deadline_left(deadline_ms) > 0)
		(void)poll(NULL, 0, 5);
	say(find_slirp() > 0 ? "slirp4netns stays" : "slirp4netns is gone");
	return 0;
}

Test(mode_rootless, an_uplink_that_dies_comes_back_with_its_ports_and_its_filter)
{
	const struct user *u = NULL;

	in_the_world(repair, &u,
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
	uint64_t deadline_ms = deadline_in(PATIENCE_MS);
	struct vm vm = {.user = m->user};
	struct loop *loop = NULL;
	struct err err = {0};
	char byte = 0;

	if (vm_up(&vm, "vm", &c, &err) < 0 || loop_new(&loop, &err) < 0 ||
	    net_serve(vm.net, loop, &err) < 0)
		return say(err.msg);
	int tap = net_tap_fd(vm.net);

	if (write(m->ask[1], "", 1) != 1 || read(m->told[0], &byte, 1) != 1)
		return say("nobody adds an address");
	/* Until the news has come; an echo server waits at the host's address from the start. */
	while (echoes(tap, LATE, 4001))
		if (deadline_left(deadline_ms) == 0 || loop_once(loop, 100, &err) < 0)
			return say("it is still reached");
	say("not reached");
	say(echoes(tap, INET, 4002) ? "the world answers" : "the world is silent");
	vm_down(&vm);
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
	world_make();
	cr_assert(pipe2(m.ask, O_CLOEXEC) == 0 && pipe2(m.told, O_CLOEXEC) == 0);
	server = fork();
	if (server == 0) {
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		(void)place("0.0.0.0", 7, &at);
		if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0)
			echo(fd);
		_exit(1);
	}
	admin = fork();
	if (admin == 0) {
		char byte;

		if (read(m.ask[0], &byte, 1) == 1)
			sh("ip addr add " LATE "/24 dev host0");
		_exit(write(m.told[1], "", 1) == 1 ? 0 : 1);
	}
	user_call(&u, follow, &m, &out);
	(void)kill(server, SIGKILL);
	(void)waitpid(server, NULL, 0);
	(void)waitpid(admin, NULL, 0);
	cr_expect_str_eq(buf_str(&out), "not reached\nthe world answers\n");
}

/* No user namespace then; slirp4netns gives up root by itself. */
Test(mode_rootless, root_may_have_it_too)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(65536);
	const struct user *p = &u;

	user_make(&u, "rootless");
	user_open_tun();
	world_make();
	user_call(NULL, use, &p, &out);
	cr_expect_str_eq(buf_str(&out), "<> 127.64.0.1 127.64.0.1:8080 127.0.0.1:8053 65520\n"
					"the world answers\nthe host is silent\n"
					"tcp comes in\nudp comes in\nudp is answered\n");
}

/* --- names --- */

/* Whatever is asked is at INET. */
static void resolve(int fd)
{
	static const unsigned char record[] = {0xc0, 12, 0, 1, 0,   1, 0,   0,
					       0,    60, 0, 4, 203, 0, 113, 1};

	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		unsigned char msg[512];
		ssize_t n = recvfrom(fd, msg, sizeof(msg) - sizeof(record), 0,
				     (struct sockaddr *)&from, &len);

		if (n < 12)
			continue;
		msg[2] |= 0x80;
		msg[7] = 1;
		memcpy(msg + n, record, sizeof(record));
		(void)sendto(fd, msg, (size_t)n + sizeof(record), 0, (const struct sockaddr *)&from,
			     len);
	}
}

static pid_t resolver_start(void)
{
	struct sockaddr_in at;
	pid_t pid = fork();

	if (pid == 0) {
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		(void)place("127.0.0.53", 53, &at);
		if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0)
			resolve(fd);
		_exit(1);
	}
	return pid;
}

/* br0's MAC, in the frame that tells it. */
static bool find_relay(int tap, struct eth *ret)
{
	const struct eth f = eth_arp(NULL, NULL, NET_DNS_IP, false);

	eth_send(tap, true, &f);
	while (eth_read(tap, true, ret))
		if (ret->bytes[12] == 8 && ret->bytes[13] == 6 && ret->bytes[11] == 3)
			return true;
	return false;
}

/* The answer's code, or -1. */
static int ask(const struct vm *vm, struct loop *loop, const char *name, uint16_t sport)
{
	unsigned char query[64] = {0x12, 0x34, 1, 0, 0, 1};
	size_t len = strlen(name);
	struct packet p = {
		.to = NET_DNS_IP, .proto = IPPROTO_UDP, .sport = sport, .dport = 53, .data = query};
	uint64_t deadline_ms = deadline_in(PATIENCE_MS);
	int tap = net_tap_fd(vm->net);
	struct eth got, f;

	query[12] = (unsigned char)len;
	memcpy(query + 13, name, len);
	query[15 + len] = 1; /* A */
	query[17 + len] = 1; /* IN */
	p.data_len = 18 + len;
	if (!find_relay(tap, &got))
		return -1;
	p.to_mac = got.bytes + 6;
	f = eth_ip(&p);
	eth_send(tap, true, &f);
	while (deadline_left(deadline_ms) > 0) {
		(void)loop_once(loop, 50, NULL);
		if (io_wait(tap, POLLIN, deadline_in(1)) == 1 &&
		    await(tap, IPPROTO_UDP, sport, &got))
			return got.bytes[ETH_HLEN + 28 + 3] & 15;
	}
	return -1;
}

static int names(void *data)
{
	const struct user *const *u = data;
	char repo[] = "repo";
	struct net_allow allow = {.name = repo, .port = 7, .proto = NET_PROTO_UDP};
	const struct net_config c = {
		.mode = NET_ROOTLESS, .egress_deny = true, .allow = &allow, .n_allow = 1};
	struct vm vm = {.user = *u};
	struct loop *loop = NULL;
	struct err err = {0};

	if (vm_up(&vm, "vm", &c, &err) < 0 || loop_new(&loop, &err) < 0 ||
	    net_serve(vm.net, loop, &err) < 0)
		return say(err.msg);
	int tap = net_tap_fd(vm.net);

	say(echoes(tap, INET, 4001) ? "open" : "closed");
	(void)dprintf(STDOUT_FILENO, "other: %d\n", ask(&vm, loop, "other", 5001));
	(void)dprintf(STDOUT_FILENO, "repo: %d\n", ask(&vm, loop, "repo", 5002));
	say(echoes(tap, INET, 4002) ? "open" : "closed");
	/* The same policy again: what names have opened stays open. */
	if (net_update(vm.net, &c, &err) < 0)
		return say(err.msg);
	say(echoes(tap, INET, 4003) ? "open" : "closed");
	vm_down(&vm);
	loop_free_p(&loop);
	return 0;
}

Test(mode_rootless, an_allowed_name_opens_the_way_to_its_address)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(65536);
	auto_free char *conf = NULL;
	const struct user *p = &u;
	pid_t resolver;

	user_make(&u, "rootless");
	user_open_tun();
	world_make();
	conf = path_join(u.home, "resolv.conf");
	cr_assert_eq(file_replace(conf, "nameserver 127.0.0.53\n", 22, 0644, NULL), 0);
	cr_assert_eq(mount(conf, "/etc/resolv.conf", NULL, MS_BIND, NULL), 0);
	resolver = resolver_start();
	user_call(&u, names, &p, &out);
	(void)kill(resolver, SIGKILL);
	(void)waitpid(resolver, NULL, 0);
	cr_expect_str_eq(buf_str(&out), "closed\nother: 5\nrepo: 0\nopen\nopen\n");
}

static int without_tap(void *data)
{
	const struct user *const *u = data;
	const struct net_config c = {.mode = NET_ROOTLESS};
	struct vm vm = {.user = *u};
	struct err err = {0};

	if (vm_up(&vm, "vm", &c, &err) == 0)
		return say("it came up");
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
