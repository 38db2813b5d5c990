/* net_rig.h - one baseline and one fleet, and nodes of theirs, for what the network makes of them.
 */
#ifndef FCVM_TESTS_NET_RIG_H
#define FCVM_TESTS_NET_RIG_H

#include "fleet.h"
#include "resource.h"

struct net_rig {
	struct fleet *fleet;
	struct resource_choice choice;
	char name[16];
	struct node baseline, clone; /* clone 1 */
};

/* `networks` and `more` (of the fleet) are lines of the spec. */
void net_rig_make(struct net_rig *r, const char *networks, const char *more);
void net_rig_free(struct net_rig *r);
/* What was found wrong with the spec since it was parsed, as people see it; the caller frees. */
char *net_rig_problems(struct net_rig *r);
#define auto_net_rig __attribute__((cleanup(net_rig_free)))

#endif
