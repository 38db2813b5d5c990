/* hostside.h - what a bridged VM has on the host: its end of the veth, its elements in the host's
 * table, the uplink's forwarding. */
#ifndef FCVM_NET_HOSTSIDE_H
#define FCVM_NET_HOSTSIDE_H

#include "elements.h"
#include "err.h"
#include "grants.h"
#include "host.h"
#include "net_config.h"
#include "ports.h"
#include "slot.h"

struct mnl_socket;
struct nl_sock;

/* Rules may be flushed by anybody at any moment. */
#define HOSTSIDE_TRIES 64

/* Held while the host's table comes or goes, whatever the data directory. */
int hostside_lock(const struct host *host, int *ret_fd, struct err *err);

/* In the host's namespace. The table is there, and what leads to the default route forwards. */
int hostside_prepare(const struct host *host, struct mnl_socket *nl, struct nl_sock *rt,
		     struct err *err);
/* In the host's namespace: where somebody else has made the host a router, its uplinks forward for
 * everybody, and are not ours to switch off any more. */
void hostside_yield_uplinks(struct mnl_socket *nl);
/* A slot that nothing on this host uses; `again`: the one before was, though no route says so. In
 * any namespace. */
int hostside_take_slot(const struct host *host, const char *owner, struct mnl_socket *nl,
		       struct nl_sock *rt, bool again, struct slot *ret, struct err *err);
/* What a supervisor that died in this directory left. In any namespace. */
void hostside_forget_owner(const struct host *host, const char *owner, struct mnl_socket *nl);
/* In the host's namespace: fvN, which is there, gets its address and comes up. loopback: packets
 * with 127/8 addresses may leave through it. */
int hostside_link_up(struct nl_sock *rt, const struct slot *s, bool loopback, struct err *err);
/* The same, later. */
int hostside_loopback(const struct slot *s, bool on, struct err *err);

/* Everything a VM is in the table, but for what names allowed. */
void hostside_elements(const struct slot *s, const struct ports *ports, const struct net_config *c,
		       struct elements *ret);
/* The egress policy alone. */
void hostside_egress(const struct slot *s, const struct net_config *c, struct elements *ret);
/* What answers have opened, for as long as it still is; without what is in *ret already. */
void hostside_granted(const struct slot *s, const struct grants *g, struct elements *ret);
/* What opens the fresh ones in a table that is in use, or has their time begin anew, whether they
 * are there, have timed out or never were. */
void hostside_grant(const struct slot *s, const struct net_config *c, const struct grants *fresh,
		    struct elements *ret);
/* Puts them in. Ports they publish are held by the caller, so whatever else is published there is
 * of somebody who is dead, and goes. */
int hostside_commit(struct mnl_socket *nl, const struct elements *l, struct err *err);
/* In the host's namespace: the same for a VM that is in it for the first time. The table may have
 * gone with the last VM since it was seen. */
int hostside_enter(const struct host *host, struct mnl_socket *nl, struct nl_sock *rt,
		   const struct elements *l, struct err *err);
/* Cuts what the VM began, or with `all` what goes to it as well. */
int hostside_cut(struct mnl_socket *nl, const struct slot *s, bool all, struct err *err);
/* The same for VMs that are gone, as far as possible. */
void hostside_cut_dead(struct mnl_socket *nl, const struct slot *slots, size_t n);
/* Takes the VM out of the table and cuts its connections; as far as possible. */
void hostside_forget(struct mnl_socket *nl, const struct slot *s);

#endif
