/* test_rootless_names.c - the relay of mode_rootless.c: names open the way to addresses. */
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
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "eth.h"
#include "file.h"
#include "io.h"
#include "rootless_rig.h"
#include "user.h"

TestSuite(rootless_names, .fini = rl_world_end);

/* Whatever is asked is at RL_INET. */
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

		(void)rl_place("127.0.0.53", 53, &at);
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
static int ask(const struct rl_vm *vm, struct loop *loop, const char *name, uint16_t sport)
{
	unsigned char query[64] = {0x12, 0x34, 1, 0, 0, 1};
	size_t len = strlen(name);
	struct packet p = {
		.to = NET_DNS_IP, .proto = IPPROTO_UDP, .sport = sport, .dport = 53, .data = query};
	uint64_t deadline_ms = deadline_in(RL_PATIENCE_MS);
	int tap = net_tap_fd(vm->net);
	struct eth got, f;

	query[12] = (unsigned char)len;
	memcpy(query + 13, name, len + 1); /* its NUL is the root's label */
	query[15 + len] = 1;               /* A */
	query[17 + len] = 1;               /* IN */
	p.data_len = 18 + len;
	if (!find_relay(tap, &got))
		return -1;
	p.to_mac = got.bytes + 6;
	f = eth_ip(&p);
	eth_send(tap, true, &f);
	while (deadline_left(deadline_ms) > 0) {
		(void)loop_once(loop, 50, NULL);
		if (io_wait(tap, POLLIN, deadline_in(1)) == 1 &&
		    rl_await(tap, IPPROTO_UDP, sport, &got))
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
	struct rl_vm vm = {.user = *u};
	struct loop *loop = NULL;
	struct err err = {0};

	if (rl_vm_up(&vm, "vm", &c, &err) < 0 || loop_new(&loop, &err) < 0 ||
	    net_serve(vm.net, loop, &err) < 0)
		return rl_say(err.msg);
	int tap = net_tap_fd(vm.net);

	rl_say(rl_echoes(tap, RL_INET, 4001) ? "open" : "closed");
	(void)dprintf(STDOUT_FILENO, "other: %d\n", ask(&vm, loop, "other", 5001));
	(void)dprintf(STDOUT_FILENO, "repo: %d\n", ask(&vm, loop, "repo", 5002));
	rl_say(rl_echoes(tap, RL_INET, 4002) ? "open" : "closed");
	/* The same policy again: what names have opened stays open. */
	if (net_update(vm.net, &c, &err) < 0)
		return rl_say(err.msg);
	rl_say(rl_echoes(tap, RL_INET, 4003) ? "open" : "closed");
	rl_vm_down(&vm);
	loop_free_p(&loop);
	return 0;
}

Test(rootless_names, an_allowed_name_opens_the_way_to_its_address)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(65536);
	auto_free char *conf = NULL;
	const struct user *p = &u;
	pid_t resolver;

	user_make(&u, "rootless");
	user_open_tun();
	rl_world_make();
	conf = path_join(u.home, "resolv.conf");
	cr_assert_eq(file_replace(conf, "nameserver 127.0.0.53\n", 22, 0644, NULL), 0);
	cr_assert_eq(mount(conf, "/etc/resolv.conf", NULL, MS_BIND, NULL), 0);
	resolver = resolver_start();
	user_call(&u, names, &p, &out);
	(void)kill(resolver, SIGKILL);
	(void)waitpid(resolver, NULL, 0);
	cr_expect_str_eq(buf_str(&out), "closed\nother: 5\nrepo: 0\nopen\nopen\n");
}
