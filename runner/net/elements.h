/* elements.h - elements of the host table's sets and maps (docs/network.md): a VM is nothing but
 * elements there. A list of them is made by pure functions and put in or taken out in one
 * transaction by libnftnl. */
#ifndef FCVM_NET_ELEMENTS_H
#define FCVM_NET_ELEMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "net_config.h"
#include "slot.h"

#define ELEMENTS_TABLE "fcvm"
#define ELEMENT_KEY_MAX 28 /* ifname . ipv4_addr . inet_proto . inet_service */

struct mnl_socket;

enum element_set {
	SET_VMIF,        /* ifname */
	SET_SPOOFOK,     /* ifname . ipv4_addr */
	SET_PUB,         /* ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service */
	SET_PUB_ANY,     /* inet_proto . inet_service : ipv4_addr . inet_service */
	SET_RESTRICTED,  /* ifname */
	SET_ALLOW,       /* ifname . ipv4_addr . inet_proto . inet_service */
	SET_ALLOW_PROTO, /* ifname . ipv4_addr . inet_proto: any port */
	SET_ALLOW_ADDR,  /* ifname . ipv4_addr: anything */
	SET_UPLINK,      /* ifname: forwarding is on there because of us */
	SET_COUNT
};
const char *element_set_name(enum element_set set);
/* Whether keys are ranges: key to key_end. */
bool element_set_is_range(enum element_set set);
size_t element_key_size(enum element_set set);
size_t element_data_size(enum element_set set);

struct element {
	enum element_set set;
	uint8_t key[ELEMENT_KEY_MAX], key_end[ELEMENT_KEY_MAX], data[8];
	uint64_t timeout_ms; /* 0: stays */
	bool take_out;       /* of the set, instead of into it */
};

struct elements {
	struct element *v;
	size_t n, cap;
};
void elements_free(struct elements *l);
#define auto_elements __attribute__((cleanup(elements_free)))

/* Append. */
struct element *elements_link(struct elements *l, enum element_set set, const char *link);
void elements_vm(struct elements *l, const struct slot *s);
void elements_port(struct elements *l, const struct slot *s, const struct net_port *port);
/* allow is no name. A port without a protocol is both. What an entry before it (of the same slot)
 * covers already is left out: the kernel takes no overlapping ranges. */
void elements_allow(struct elements *l, const struct slot *s, const struct net_allow *allow,
		    uint64_t timeout_ms);
void elements_copy(struct elements *l, const struct element *e);
/* Every element becomes one to take out. */
void elements_reverse(struct elements *l);
/* Of a set whose keys begin with a link. */
void element_link_name(const struct element *e, char ret[SLOT_LINK_SIZE]);
/* Whether the element speaks of that VM. */
bool element_is_of(const struct element *e, const struct slot *s);

/* All of them or none. -ENOENT: the table, or something to take out, is not there. */
int elements_commit(struct mnl_socket *nl, const struct elements *l, struct err *err);
/* Changes with every transaction of the namespace, whoever's it is. */
int elements_generation(struct mnl_socket *nl, uint32_t *ret, struct err *err);
/* Everything in a set is appended, as it was at one moment. -EAGAIN: transactions never stopped. */
int elements_read(struct mnl_socket *nl, enum element_set set, struct elements *l, struct err *err);
/* 1: there, 0: not there (or no table). */
int elements_has_link(struct mnl_socket *nl, enum element_set set, const char *link,
		      struct err *err);

#endif
