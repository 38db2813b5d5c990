/* vm_find.h - which VM does the user mean? "SET.NAME", "NAME" when one set has it, or, unless
 * exact, a unique prefix of either. */
#ifndef FCVM_CMD_VM_FIND_H
#define FCVM_CMD_VM_FIND_H

#include <stdbool.h>

#include "err.h"
#include "host.h"
#include "inventory.h"

/* exact: for verbs that destroy. *ret_dir, its instance directory, is the caller's to free. */
int vm_find(const struct host *host, const char *word, bool exact, char **ret_dir, struct err *err);
/* The same over a list at hand; *ret points into it. Memory servers are no VMs. */
int vm_find_item(const struct inventory *all, const char *word, bool exact,
		 const struct inventory_item **ret, struct err *err);

#endif
