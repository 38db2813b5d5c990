/* choose_net.h - what networks this host can give VMs. */
#ifndef FCVM_RESOURCE_CHOOSE_NET_H
#define FCVM_RESOURCE_CHOOSE_NET_H

#include "resource.h"

/* Fills no_nic and auto_network. Refuses (ERR_HOST, with the spec's line) a spec that insists on a
 * mode, or on publishing ports, where the host does not let it; fleet NULL: nothing insists. */
int choose_network(const struct host *host, const struct fleet *fleet,
		   struct resource_choice *choice, struct err *err);

#endif
