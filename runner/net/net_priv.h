/* net_priv.h - shared by the files of this folder only: the struct behind net.h and the table a
 * mode fills in. A new mode is one file and one line in net.c. */
#ifndef FCVM_NET_NET_PRIV_H
#define FCVM_NET_NET_PRIV_H

#include "net.h"
#include "relay.h"

struct net {
	const struct net_ops *ops;
	const struct host *host;
	char *dir;
	struct net_config config;
	struct net_view view;
	struct loop *loop;   /* NULL until net_serve() */
	struct relay *relay; /* likewise; NULL where ops->resolves is false */
	int lock;
	int tap_fd;   /* -1: none, or the VMM opens it itself */
	bool has_tap; /* there is a tap0 */
	void *mode;   /* the mode's own; it frees it in down() */
};

/* An entry is never NULL. Every one is called in the VM's namespace but for up(), which begins in
 * the host's and ends in the VM's. */
struct net_ops {
	enum net_mode mode;
	uint32_t mtu;
	/* n->config is what is wanted; fills view and tap_fd. After a failure down() follows. */
	int (*up)(struct net *n, struct err *err);
	int (*serve)(struct net *n, struct err *err);
	bool resolves; /* NET_DNS_IP is an address of the VM's namespace, and the relay answers */
	/* A non-blocking socket of the host's namespace for the relay, or a negative errno. */
	int (*host_socket)(struct net *n, int family, int type);
	/* Opens the way to addresses for as long as they are granted, from now on. */
	int (*grant)(struct net *n, const struct grants *fresh);
	/* From n->config to *to, which the caller keeps in n->config afterwards; fills view. */
	int (*update)(struct net *n, const struct net_config *to, struct err *err);
	void (*down)(struct net *n);
};

extern const struct net_ops net_none, net_bridged, net_rootless;

#endif
