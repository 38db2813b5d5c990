/* The DNS relay and egress by name, in a world of namespaces. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "dns_msg.h"
#include "net.h"
#include "net_dns.h"
#include "net_place.h"
#include "net_rig.h"

#define STUB "127.0.0.53"
#define CONFIG(egress, allow, dns)                                                       \
	"{\"mode\":\"bridged\",\"ports\":[],\"egress\":\"" egress "\",\"allow\":[" allow \
	"],\"dns\":[" dns "]}"

static const char *ask(const struct net_vm *vm, const char *name)
{
	return net_ask(vm->guest, NET_DNS_IP, name, DNS_TYPE_A, false);
}

static void update(struct net_vm *vm, const char *config)
{
	auto_free char *words = net_vm_update(vm, config);

	cr_assert_str_eq(words, "");
}

Test(names, the_relay_asks_the_hosts_resolver_for_the_guest)
{
	auto_world struct net_world w;
	struct net_vm vm;

	net_world_make(&w, "# a comment\nsearch test\nnameserver " STUB "\n");
	net_resolver_at(0, STUB);
	net_vm_up(&w, &vm, "vm", CONFIG("allow", "", ""));
	cr_expect_str_eq(ask(&vm, "api.test"), "0 203.0.113.1");
	cr_expect_str_eq(ask(&vm, "BOTH.test"), "0 203.0.113.1 198.51.100.7");
	cr_expect_str_eq(ask(&vm, "no.test"), "3");
	cr_expect_str_eq(ask(&vm, "liar.test"), "0 203.0.113.1", "lies are passed over");
	cr_expect_str_eq(ask(&vm, "big.test"), "cut");
	cr_expect_str_eq(net_ask(vm.guest, NET_DNS_IP, "big.test", DNS_TYPE_A, true),
			 "0 100 addresses");
	cr_expect_str_eq(net_ask(vm.guest, NET_DNS_IP, "api.test", DNS_TYPE_AAAA, false), "0",
			 "there is no IPv6 to go to");
	net_vm_down(&vm);
}

Test(names, resolvers_are_those_of_the_spec_or_as_the_host_has_them_now)
{
	auto_world struct net_world w;
	struct net_vm vm;

	net_world_make(&w, "nameserver 127.0.0.9\nnameserver 127.0.0.8\n");
	net_vm_up(&w, &vm, "vm", CONFIG("allow", "", ""));
	cr_expect_str_eq(ask(&vm, "api.test"), "2", "both refuse: SERVFAIL");
	net_resolver_at(0, "127.0.0.8");
	cr_expect_str_eq(ask(&vm, "api.test"), "0 203.0.113.1", "the second is asked");
	auto_close int fd = open("/etc/resolv.conf", O_WRONLY | O_TRUNC | O_CLOEXEC);

	cr_assert_gt(write(fd, "nameserver 203.0.113.1\n", 23), 0);
	cr_expect_str_eq(ask(&vm, "api.test"), "2");
	net_resolver_at(w.inet, RIG_INET);
	cr_expect_str_eq(ask(&vm, "api.test"), "0 203.0.113.1", "the file was read again");
	update(&vm, CONFIG("allow", "", "\"127.0.0.7\""));
	cr_expect_str_eq(ask(&vm, "api.test"), "2");
	update(&vm, CONFIG("allow", "", "\"127.0.0.8\""));
	cr_expect_str_eq(ask(&vm, "api.test"), "0 203.0.113.1");
	net_vm_down(&vm);
}

Test(names, under_default_deny_a_name_opens_what_it_answers_and_nothing_else)
{
	auto_world struct net_world w;
	struct net_vm vm;

	net_world_make(&w, "nameserver " STUB "\n");
	net_resolver_at(0, STUB);
	net_serve_at(w.inet, "inet", RIG_INET, 80, false);
	net_serve_at(w.inet, "inet", RIG_INET, 81, false);
	net_serve_at(w.inet, "inet", RIG_INET_2, 80, false);
	net_resolver_at(w.inet, RIG_INET_2);
	net_vm_up(&w, &vm, "vm", CONFIG("deny", "\"api.test:80/tcp\"", ""));
	cr_expect_str_eq(net_hear(vm.guest, RIG_INET, 80, false, NULL), "refused");
	cr_expect_str_eq(ask(&vm, "two.test"), "5");
	cr_expect_str_eq(ask(&vm, "sub.api.test"), "5");
	cr_expect_str_eq(net_ask(vm.guest, RIG_INET_2, "two.test", DNS_TYPE_A, false), "nothing",
			 "no other resolver is reached");
	cr_expect_str_eq(ask(&vm, "api.test"), "0 203.0.113.1");
	cr_expect_str_eq(net_hear(vm.guest, RIG_INET, 80, false, NULL), "inet " RIG_WAN);
	cr_expect_str_eq(net_hear(vm.guest, RIG_INET, 81, false, NULL), "refused");
	cr_expect_str_eq(net_hear(vm.guest, RIG_INET_2, 80, false, NULL), "refused");
	cr_expect_str_eq(ask(&vm, "Api.Test"), "0 203.0.113.1", "asked again it is as before");

	/* Somebody flushes the host's rules: what a change puts back has the open addresses. */
	cr_assert_eq(net_run_at(0, NULL, (const char *const[]){"nft", "flush", "ruleset", NULL}),
		     0);
	update(&vm, CONFIG("deny", "\"api.test:80/tcp\"", "\"127.0.0.53\""));
	cr_expect_str_eq(net_hear(vm.guest, RIG_INET, 80, false, NULL), "inet " RIG_WAN);
	cr_expect_str_eq(net_hear(vm.guest, RIG_INET, 81, false, NULL), "refused");

	/* One more name: what the first has opened stays open. */
	update(&vm, CONFIG("deny", "\"api.test:80/tcp\",\"two.test\"", ""));
	cr_expect_str_eq(net_hear(vm.guest, RIG_INET, 80, false, NULL), "inet " RIG_WAN);
	cr_expect_str_eq(net_ask(vm.guest, NET_DNS_IP, "two.test", DNS_TYPE_A, true),
			 "0 198.51.100.7");
	cr_expect_str_eq(net_hear(vm.guest, RIG_INET_2, 80, false, NULL), "inet " RIG_WAN);

	/* What a name has opened an entry may cover, and the other way round. */
	update(&vm, CONFIG("deny", "\"api.test:80/tcp\",\"203.0.113.1:80/tcp\"", ""));
	cr_expect_str_eq(ask(&vm, "api.test"), "0 203.0.113.1");
	cr_expect_str_eq(net_hear(vm.guest, RIG_INET, 80, false, NULL), "inet " RIG_WAN);
	cr_expect_str_eq(net_hear(vm.guest, RIG_INET_2, 80, false, NULL), "refused");
	update(&vm, CONFIG("deny", "", ""));
	cr_expect_str_eq(net_hear(vm.guest, RIG_INET, 80, false, NULL), "refused");
	cr_expect_str_eq(ask(&vm, "api.test"), "5");
	net_vm_down(&vm);
}

/* --- connections that are open --------------------------------------------------------------- */

struct connection {
	const char *ip;
	uint16_t port;
	int told, go; /* pipe ends */
};

/* Connects, says so, waits for its turn, then wants its byte back. */
static int hold_connection(void *data)
{
	const struct connection *c = data;
	int fd = net_connect(c->ip, c->port);
	char byte = 'x', text[256];

	if (fd < 0 || recv(fd, text, sizeof(text), 0) <= 0 || write(c->told, &byte, 1) != 1 ||
	    read(c->go, &byte, 1) != 1)
		return 1;
	if (send(fd, "y", 1, MSG_NOSIGNAL) != 1 || recv(fd, text, sizeof(text), 0) != 1)
		return 2;
	return 0;
}

struct holder {
	pid_t pid;
	int go;
};

static void hold(struct holder *h, pid_t where, const char *ip, uint16_t port)
{
	int told[2], go[2];
	char byte = 0;

	cr_assert(pipe2(told, O_CLOEXEC) == 0 && pipe2(go, O_CLOEXEC) == 0);
	h->pid = net_spawn();
	if (h->pid == 0) {
		struct connection c = {.ip = ip, .port = port, .told = told[1], .go = go[0]};

		net_enter(where);
		_exit(hold_connection(&c));
	}
	(void)close(told[1]);
	(void)close(go[0]);
	cr_assert_eq(read(told[0], &byte, 1), 1, "no connection to %s", ip);
	(void)close(told[0]);
	h->go = go[1];
}

static int ask_holder(struct holder *h)
{
	int status = 0;

	cr_assert_eq(write(h->go, "x", 1), 1);
	cr_assert_eq(waitpid(h->pid, &status, 0), h->pid);
	(void)close(h->go);
	return WEXITSTATUS(status);
}

Test(names, a_policy_that_tightens_cuts_what_it_no_longer_allows)
{
	auto_world struct net_world w;
	struct holder kept, cut, in;
	struct net_vm vm;

	net_world_make(&w, NULL);
	net_serve_at(w.inet, "inet", RIG_INET, 80, false);
	net_serve_at(w.inet, "inet", RIG_INET_2, 80, false);
	net_vm_up(&w, &vm, "vm", CONFIG("allow", "", ""));
	net_serve_at(vm.guest, "guest", "0.0.0.0", 80, false);
	hold(&kept, vm.guest, RIG_INET, 80);
	hold(&cut, vm.guest, RIG_INET_2, 80);
	hold(&in, 0, net_vm_text(&vm, "ip"), 80);
	update(&vm, CONFIG("deny", "\"203.0.113.1\"", ""));
	cr_expect_eq(ask_holder(&kept), 0, "it is allowed as before");
	cr_expect_eq(ask_holder(&cut), 2, "it is not");
	cr_expect_eq(ask_holder(&in), 0, "it is none of the guest's");
	net_vm_down(&vm);
}

Test(names, a_port_that_is_published_no_more_drops_its_connections)
{
#define PORTS(list)                                                                             \
	"{\"mode\":\"bridged\",\"ports\":[" list "],\"egress\":\"allow\",\"allow\":[],\"dns\":" \
	"[]}"
#define AT(host, guest)                                                                         \
	"{\"host_ip\":\"127.0.0.1\",\"host_port\":" host ",\"guest_port\":" guest ",\"proto\":" \
	"\"tcp\"}"
	auto_world struct net_world w;
	struct holder kept, cut, moved;
	struct net_vm vm;

	net_world_make(&w, NULL);
	net_vm_up(&w, &vm, "vm", PORTS(AT("81", "80") "," AT("82", "80") "," AT("83", "80")));
	net_serve_at(vm.guest, "old", "0.0.0.0", 80, false);
	net_serve_at(vm.guest, "new", "0.0.0.0", 90, false);
	hold(&kept, 0, "127.0.0.1", 81);
	hold(&cut, 0, "127.0.0.1", 82);
	hold(&moved, 0, "127.0.0.1", 83);
	update(&vm, PORTS(AT("81", "80") "," AT("83", "90") "," AT("84", "80")));
	cr_expect_eq(ask_holder(&kept), 0);
	cr_expect_eq(ask_holder(&cut), 2);
	cr_expect_eq(ask_holder(&moved), 2);
	cr_expect_str_eq(net_hear(0, "127.0.0.1", 81, false, NULL), "old 10.200.0.1");
	cr_expect_str_eq(net_hear(0, "127.0.0.1", 82, false, NULL), "refused");
	cr_expect_str_eq(net_hear(0, "127.0.0.1", 83, false, NULL), "new 10.200.0.1");
	cr_expect_str_eq(net_hear(0, "127.0.0.1", 84, false, NULL), "old 10.200.0.1");
	net_vm_down(&vm);
}

Test(names, a_taken_port_is_refused_with_its_holder_and_nothing_changes)
{
	auto_world struct net_world w;
	auto_free char *words = NULL;
	struct net_vm vm;

	net_world_make(&w, NULL);
	net_serve_at(0, "other", "127.0.0.1", 82, false);
	net_vm_up(&w, &vm, "vm", PORTS(AT("81", "80")));
	net_serve_at(vm.guest, "guest", "0.0.0.0", 80, false);
	words = net_vm_update(&vm, PORTS(AT("81", "80") "," AT("82", "80")));
	cr_expect(strstr(words, "network: cannot publish 127.0.0.1:82/tcp: process "), "%s", words);
	cr_expect(strstr(words, "(unit-net) has it"), "%s", words);
	cr_expect_str_eq(net_hear(0, "127.0.0.1", 81, false, NULL), "guest 10.200.0.1");
	cr_expect_str_eq(net_hear(0, "127.0.0.1", 82, false, NULL), "other 127.0.0.1");
	auto_free char *second = net_vm_try(&w, "second", PORTS(AT("81", "80")));

	cr_expect(strstr(second, "network: cannot publish 127.0.0.1:81/tcp: process "), "%s",
		  second);
	net_vm_down(&vm);
}
