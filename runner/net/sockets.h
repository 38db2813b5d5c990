/* sockets.h - sockets of the namespace the caller is in: the ones that keep published ports ours,
 * and those the DNS relay talks through. */
#ifndef FCVM_NET_SOCKETS_H
#define FCVM_NET_SOCKETS_H

#include "err.h"
#include "net_config.h"

/* Binds a socket of that kind, whatever its namespace, to the port's place. */
int sockets_bind(int fd, const struct net_port *port, struct err *err);
/* Binds the port (and listens, so that ss and net_port_holder() show who has it); nothing is ever
 * accepted, since the packets go to the guest before they get here. -EADDRINUSE, -EADDRNOTAVAIL
 * and -EACCES say why not. */
int sockets_reserve(const struct net_port *port, int *ret_fd, struct err *err);

#endif
