/* net_config.h - what a VM's network is: mode, published ports, egress policy, resolvers. Plain
 * data; the same JSON in supervisor requests, records and status.json. Pure. */
#ifndef FCVM_NET_NET_CONFIG_H
#define FCVM_NET_NET_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "json.h"
#include "strv.h"

#define NET_PORTS_MAX 1024u
#define NET_ALLOW_MAX 1024u
#define NET_DNS_MAX 8u
#define NET_IP4_SIZE 16 /* "255.255.255.255" */

enum net_mode { NET_NONE, NET_BRIDGED, NET_ROOTLESS };
enum net_proto { NET_PROTO_ANY, NET_PROTO_TCP, NET_PROTO_UDP };

/* One published port. host_ip "" = the VM's own loopback address 127.x.y.z (resolved when the
 * network is up); "0.0.0.0" = every address of the host. The ports are never 0. */
struct net_port {
	char host_ip[NET_IP4_SIZE];
	uint16_t host_port, guest_port;
	bool udp;
};

/* One entry of egress.allow. name NULL: addr/prefix. port 0: any. */
struct net_allow {
	char *name;    /* owned; lower case, no trailing dot */
	uint32_t addr; /* host byte order, masked */
	uint8_t prefix;
	uint16_t port;
	enum net_proto proto;
};

struct net_config {
	enum net_mode mode;
	struct net_port *ports;
	size_t n_ports;
	bool egress_deny;
	struct net_allow *allow; /* means something under egress_deny only */
	size_t n_allow;
	struct strv dns; /* addresses; empty: the host's resolvers */
};

#define auto_net_config __attribute__((cleanup(net_config_free)))

void net_config_free(struct net_config *c);
void net_config_copy(const struct net_config *from, struct net_config *ret);

const char *net_mode_name(enum net_mode mode); /* "none" "bridged" "rootless" */
int net_mode_parse(const char *text, enum net_mode *ret, struct err *err);

/* Whether both allow the same. */
bool net_config_same_egress(const struct net_config *a, const struct net_config *b);

/* Whether one host cannot serve both: same protocol and port, and addresses that overlap. */
bool net_port_clashes(const struct net_port *a, const struct net_port *b);
/* "CIDR|IP|NAME[:PORT][/tcp|/udp]"; ret->name is the caller's. */
int net_allow_parse(const char *text, struct net_allow *ret, struct err *err);
char *net_allow_text(const struct net_allow *a); /* what net_allow_parse() reads; caller frees */
/* An IPv4 or IPv6 address in text. */
int net_dns_check(const char *text, struct err *err);

/* {"mode","ports":[{"host_ip","host_port","guest_port","proto"}],"egress":"allow|deny",
 * "allow":[text],"dns":[text]}; host_ip null = the VM's own address. The caller puts it. NULL for
 * NULL. */
struct json_object *net_config_to_json(const struct net_config *c);
struct json_object *net_port_to_json(const struct net_port *p);
/* Member "ports" of o alone. *ret is to be freed in any case. */
int net_ports_from_json(struct json_object *o, struct net_config *ret, struct err *err);
/* Everything is checked and bounded, as it may come from another process. */
int net_config_from_json(struct json_object *o, struct net_config *ret, struct err *err);

#endif
