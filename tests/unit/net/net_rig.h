/* net_rig.h - a host, the internet and VMs without guests, all in namespaces of the test's own
 * process tree: nothing of it outlives the test, whichever way it ends.
 *
 * The test's process is the host: 203.0.113.2 on wan0, default route to the internet, which is
 * 203.0.113.1 and 198.51.100.7. A VM's supervisor is a child that holds a struct net and runs its
 * loop; its guest is another namespace whose eth0 is wired to tap0 by a child that copies frames.
 */
#ifndef FCVM_TESTS_UNIT_NET_RIG_H
#define FCVM_TESTS_UNIT_NET_RIG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"
#include "host.h"
#include "json.h"

#define RIG_INET "203.0.113.1"
#define RIG_INET_2 "198.51.100.7"
#define RIG_WAN "203.0.113.2"

struct net_world {
	char *dir; /* a data directory */
	struct host host;
	pid_t inet; /* a process in that namespace */
};

/* Skips the test where this cannot be had. resolv: text of /etc/resolv.conf, NULL: the host's. */
void net_world_make(struct net_world *w, const char *resolv);
void net_world_free(struct net_world *w);
#define auto_world __attribute__((cleanup(net_world_free)))

struct net_vm {
	char *dir;
	pid_t supervisor, guest;
	int ctl, guest_end;       /* its pidfd */
	struct json_object *view; /* network, ip, loopback, ports */
};

/* config: JSON as in supervisor requests. Fails the test with the sentence. */
void net_vm_up(struct net_world *w, struct net_vm *vm, const char *name, const char *config);
/* Only up to net_up(): the error's sentence, or "". Caller frees. */
char *net_vm_try(struct net_world *w, const char *name, const char *config);
/* net_update(): the error's sentence, or "". */
char *net_vm_update(struct net_vm *vm, const char *config);
/* net_down() and the end of the process. */
void net_vm_down(struct net_vm *vm);
/* The end of the supervisor, without any farewell. */
void net_vm_kill(struct net_vm *vm);
const char *net_vm_text(const struct net_vm *vm, const char *key);

/* Where something happens: a process of that namespace; 0 is the host. */
/* Listens there in a child until the test ends; whoever connects (or sends a datagram) is told
 * "NAME PEER-ADDRESS". */
void net_serve_at(pid_t where, const char *name, const char *ip, uint16_t port, bool udp);
/* What is said there: the words, or "refused", "timeout", "unreachable", "filtered" (an ICMP
 * answer of the filter). from: source address, may be NULL. The text lives until the next call. */
const char *net_hear(pid_t where, const char *ip, uint16_t port, bool udp, const char *from);
/* A TCP connection from where the caller is, with limits on its waits; -1: none. */
int net_connect(const char *ip, uint16_t port);
/* Runs a program there; its words end with NULL. Returns its exit status, output to out. */
int net_run_at(pid_t where, struct buf *out, const char *const *argv);
/* Runs fn(data) there, in a child; its result. */
int net_at(pid_t where, int (*fn)(void *data), void *data);

#endif
