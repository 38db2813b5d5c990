/* rootless_rig.h - a host with an internet behind it, an ordinary user on it, and their VM whose
 * guest is made of frames; in namespaces of the test's own. Functions of the VM's side run in
 * user_call() and tell by rl_say(). */
#ifndef FCVM_TESTS_NET_ROOTLESS_RIG_H
#define FCVM_TESTS_NET_ROOTLESS_RIG_H

#include <netinet/in.h>
#include <stdbool.h>

#include "eth.h"
#include "net.h"
#include "user.h"

#define RL_INET "203.0.113.1"
#define RL_HOST "203.0.113.2"
#define RL_LATE "203.0.113.9" /* comes while the VM runs */
#define RL_PATIENCE_MS 20000

/* The test becomes the host; the internet echoes datagrams at RL_INET:7. */
void rl_world_make(void);
void rl_world_end(void); /* for TestSuite(.fini) */
void rl_sh(const char *script);
/* Echoes for ever. */
void rl_echo(int fd);
/* fn(data) as the user on that host; *data begins with a pointer that is set to the user. */
void rl_in_the_world(int (*fn)(void *data), void *data, const char *want);

struct rl_vm {
	struct host host;
	char *dir;
	struct net *net;
	int tcp, udp; /* of the host's network: opened before it was left */
	const struct user *user;
};
int rl_vm_up(struct rl_vm *vm, const char *name, const struct net_config *c, struct err *err);
void rl_vm_down(struct rl_vm *vm);

int rl_say(const char *text); /* -1 */
int rl_place(const char *ip, uint16_t port, struct sockaddr_in *ret);
/* A port of a packet: 0 the source's, 2 the destination's. */
unsigned int rl_port_of(const struct eth *f, size_t at);
/* Answers ARP until a packet of that protocol for that port comes. */
bool rl_await(int tap, uint8_t proto, uint16_t dport, struct eth *ret);
/* Whether a datagram to port 7 of that place comes back. */
bool rl_echoes(int tap, const char *to, uint16_t sport);

#endif
