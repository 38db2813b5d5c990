/* slot.h - what is unique about a bridged VM on its host: link fvN and a /30 out of 10.200.0.0/16.
 * Pure. */
#ifndef FCVM_NET_SLOT_H
#define FCVM_NET_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "net_config.h"

#define SLOT_LINK_SIZE 16 /* IFNAMSIZ */
#define SLOT_PREFIX 30
#define SLOT_NET "10.200.0.0"
#define SLOT_NET_PREFIX 16

/* Addresses in host byte order. */
struct slot {
	uint32_t number;
	char link[SLOT_LINK_SIZE]; /* the host's end of the veth */
	uint32_t host_addr;        /* on it */
	uint32_t vm_addr;          /* on the VM's end, up0 */
};

struct slot slot_of(uint32_t number);
/* False: not a link of ours. */
bool slot_of_link(const char *link, struct slot *ret);
void slot_format(uint32_t addr, char ret[NET_IP4_SIZE]);

#endif
