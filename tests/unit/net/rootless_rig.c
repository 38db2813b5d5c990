#include "rootless_rig.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "host.h"
#include "xalloc.h"

/* --- a host with a world behind it, in namespaces of the test's own --- */

void rl_sh(const char *script)
{
	auto_run struct run_result r = RUN_INIT;

	run_argv(&r, (const char *const[]){"sh", "-c", script, NULL}, NULL, NULL, 20000);
	cr_assert_eq(r.status, 0, "%s: %s", script, buf_str(&r.err));
}

/* What is asked comes back, by UDP at port 7. */
void rl_echo(int fd)
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

void rl_world_end(void)
{
	if (world > 0)
		(void)kill(world, SIGKILL);
}
void rl_world_make(void)
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
		rl_echo(fd);
	}
	cr_assert_eq(read(up[0], &byte, 1), 1);
	auto_free char *script = xasprintf(
		"ip link set lo up; ip link add host0 type veth peer name in0 netns %d && "
		"ip addr add " RL_HOST "/24 dev host0 && ip link set host0 up && "
		"nsenter -t %d -n sh -c 'ip addr add " RL_INET "/24 dev in0; ip link set in0 up'",
		(int)world, (int)world);
	rl_sh(script);
}

/* --- the guest, made of frames --- */

int rl_say(const char *text)
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

unsigned int rl_port_of(const struct eth *f, size_t at)
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
bool rl_await(int tap, uint8_t proto, uint16_t dport, struct eth *ret)
{
	while (eth_read(tap, true, ret)) {
		if (is_arp_for_us(ret))
			answer_arp(tap, ret);
		if (ret->bytes[12] == 8 && ret->bytes[13] == 0 &&
		    ret->bytes[ETH_HLEN + 9] == proto && rl_port_of(ret, 2) == dport)
			return true;
	}
	return false;
}

/* Whether a datagram to that place comes back. */
bool rl_echoes(int tap, const char *to, uint16_t sport)
{
	const struct packet p = {.to = to, .proto = IPPROTO_UDP, .sport = sport, .dport = 7};
	const struct eth hello = eth_arp(NULL, NULL, NET_GATEWAY_IP, false);
	const struct eth f = eth_ip(&p);
	struct eth got;

	eth_send(tap, true, &hello);
	eth_send(tap, true, &f);
	return rl_await(tap, IPPROTO_UDP, sport, &got);
}

/* --- the VM's network --- */

int rl_vm_up(struct rl_vm *vm, const char *name, const struct net_config *c, struct err *err)
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

void rl_vm_down(struct rl_vm *vm)
{
	net_down(vm->net);
	free(vm->dir);
	host_free(&vm->host);
}

void rl_in_the_world(int (*fn)(void *data), void *data, const char *want)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(65536);

	user_make(&u, "rootless");
	user_open_tun();
	rl_world_make();
	*(const struct user **)data = &u;
	user_call(&u, fn, data, &out);
	cr_expect_str_eq(buf_str(&out), want);
}

int rl_place(const char *ip, uint16_t port, struct sockaddr_in *ret)
{
	*ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
	return inet_pton(AF_INET, ip, &ret->sin_addr) == 1 ? 0 : -1;
}
