/* host_table.h - `table ip fcvm` of the host's namespace: static rules, loaded once for all VMs; a
 * VM is its elements (elements.h). Its sets outlive every reload, so that a second fcvm, or one of
 * another version, never takes a live VM's elements away. Works on a socket of that namespace;
 * only loading needs the process itself there. */
#ifndef FCVM_NET_HOST_TABLE_H
#define FCVM_NET_HOST_TABLE_H

#include <stdbool.h>

#include "elements.h"
#include "err.h"

bool host_table_is_loaded(struct mnl_socket *nl);
/* Loads the rules unless this very generation of them is there. */
int host_table_ensure(struct mnl_socket *nl, struct err *err);
/* What is in the sets for that VM. */
int host_table_read(struct mnl_socket *nl, const struct slot *s, const enum element_set *sets,
		    size_t n_sets, struct elements *ret, struct err *err);
/* Takes out every element of the VM, whoever put it in. Gone already is success. */
int host_table_purge(struct mnl_socket *nl, const struct slot *s, struct err *err);
/* Removes the table unless a VM is in it, or comes in meanwhile. False: it stays. *links gets the
 * uplinks it named. */
bool host_table_remove_unused(struct mnl_socket *nl, struct elements *uplinks);

#endif
