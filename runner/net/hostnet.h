/* hostnet.h - what this host lets packets of VMs do, for doctor. Changes nothing. */
#ifndef FCVM_NET_HOSTNET_H
#define FCVM_NET_HOSTNET_H

#include <net/if.h>
#include <stdbool.h>

#include "buf.h"
#include "err.h"

/* The whole ruleset of the namespace the process is in, without counters, as text. */
int hostnet_ruleset(struct buf *ret, struct err *err);
/* Pure: a chain at hook forward that drops what none of its rules accepts, in a table that has no
 * rule for our links (fv*): "ip filter FORWARD". False: there is none. */
bool hostnet_drops_forward(const char *ruleset, struct buf *ret);

/* The link of the default route, from the text of /proc/net/route. False: there is none. */
bool hostnet_uplink(const char *routes, char ret[IF_NAMESIZE]);
/* Whether IPv4 packets that come in there are passed on. */
bool hostnet_forwards(const char *link);

#endif
