/* bridge.h - br0 in a rootless VM's namespace: slirp0 and tap0 side by side, and the relay's own
 * address on it. */
#ifndef FCVM_NET_BRIDGE_H
#define FCVM_NET_BRIDGE_H

#include "err.h"

#define BRIDGE_LINK "br0"
#define BRIDGE_MAC "02:fc:00:00:00:03"

/* Makes br0 (up, with the DNS address and a constant MAC) and puts tap0 in it. Once a namespace. */
int bridge_make(unsigned int mtu, struct err *err);
/* Puts slirp0 in it, up; after every start of slirp4netns. */
int bridge_add_uplink(unsigned int mtu, struct err *err);

#endif
