/* net_priv.h - shared by the files of this folder only: the struct behind net.h and the table a
 * mode fills in. A new mode is one file and one line in net.c. */
#ifndef FCVM_NET_NET_PRIV_H
#define FCVM_NET_NET_PRIV_H

#include "net.h"

struct net {
	const struct net_ops *ops;
	const struct host *host;
	char *dir;
	struct net_config config;
	struct net_view view;
	struct loop *loop; /* NULL until net_serve() */
	int lock;
	int tap_fd;
	void *mode; /* the mode's own; it frees it in down() */
};

/* An entry is never NULL. Every one is called in the VM's namespace but for up(), which begins in
 * the host's and ends in the VM's. */
struct net_ops {
	enum net_mode mode;
	uint32_t mtu;
	/* n->config is what is wanted; fills view and tap_fd. After a failure down() follows. */
	int (*up)(struct net *n, struct err *err);
	int (*serve)(struct net *n, struct err *err);
	/* From n->config to *to, which the caller keeps in n->config afterwards; fills view. */
	int (*update)(struct net *n, const struct net_config *to, struct err *err);
	void (*down)(struct net *n);
};

extern const struct net_ops net_none;

#endif
