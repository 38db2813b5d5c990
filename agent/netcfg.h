/* netcfg.h - the guest's links; constants of the network in docs/architecture.md. */
#ifndef FCVM_AGENT_NETCFG_H
#define FCVM_AGENT_NETCFG_H

#include "err.h"

#define NETCFG_LINK "eth0"
#define NETCFG_ADDRESS "172.16.0.100"
#define NETCFG_PREFIX 24
#define NETCFG_GATEWAY "172.16.0.2"
#define NETCFG_DNS "172.16.0.3"

/* Loopback up; eth0 up with its address and default route, when there is one. */
int netcfg_setup(struct err *err);

#endif
