/* vmrules.h - the nftables rules of a bridged VM's namespace, the same for every VM. As netlink
 * messages made here: parsing them as text would be half of what a VM's network costs. What they
 * are as text: tests/golden/vm-rules.nft. */
#ifndef FCVM_NET_VMRULES_H
#define FCVM_NET_VMRULES_H

#include "err.h"

/* In the VM's namespace, which has none yet; one transaction. */
int vmrules_load(struct err *err);

#endif
