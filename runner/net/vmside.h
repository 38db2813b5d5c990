/* vmside.h - what lies inside a bridged VM's namespace: the same for every VM, but for the address
 * of up0. */
#ifndef FCVM_NET_VMSIDE_H
#define FCVM_NET_VMSIDE_H

#include "err.h"
#include "slot.h"

#define VMSIDE_UPLINK "up0"

struct nl_sock;

/* In the VM's namespace, where tap0 and up0 are; sock is of that namespace. */
int vmside_make(struct nl_sock *sock, const struct slot *s, struct err *err);

#endif
