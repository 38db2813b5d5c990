/* rootless_rules.h - what a rootless VM may send, as nftables text for its own namespace: a filter
 * at tap0 and slirp0, since the user's own power reaches further than a VM's should. Pure.
 *
 * The VM cannot be anybody else (MAC, address, protocol), never reaches the host (its loopback and
 * every address it has), its gateway's subnet, 169.254/16, multicast or other VMs (whose ports lie
 * on the host); under egress_deny it reaches what is allowed and nothing else. What is refused is
 * answered as bridged VMs are; only who pretends to be somebody else hears nothing. Replies to
 * whoever came in by a published port are let out whatever the policy. */
#ifndef FCVM_NET_ROOTLESS_RULES_H
#define FCVM_NET_ROOTLESS_RULES_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "net_config.h"

/* The whole table, in place of one that is there; after every start of slirp0, too. Addresses of
 * the host in host byte order. */
void rootless_rules_table(const struct net_config *c, const uint32_t *host, size_t n_host,
			  struct buf *out);
/* Another policy in the table that is there; what names have led to is forgotten. */
void rootless_rules_policy(const struct net_config *c, struct buf *out);
/* Other published ports. */
void rootless_rules_ports(const struct net_port *ports, size_t n, struct buf *out);
/* Other addresses of the host. */
void rootless_rules_host(const uint32_t *host, size_t n_host, struct buf *out);
/* An address a name of the allowlist has led to, for ttl_s seconds. */
void rootless_rules_named(const struct net_allow *a, uint32_t addr, uint32_t ttl_s,
			  struct buf *out);

#endif
