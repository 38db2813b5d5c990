/* vm_end.h - the end of a VM, however it comes: by its supervisor's word, by the supervisor's
 * death, or by somebody who removes it. */
#ifndef FCVM_CMD_VM_END_H
#define FCVM_CMD_VM_END_H

#include "err.h"
#include "host.h"
#include "json.h"

struct vm_end {
	const struct host *host; /* borrowed, as dir is */
	const char *dir;
	int supervisor; /* pidfd to poll beside others; -1: gone already */
};
void vm_end_close(struct vm_end *e);
#define auto_vm_end __attribute__((cleanup(vm_end_close)))

/* From now on it is the supervisor of this moment that counts. */
void vm_end_open(const struct host *host, const char *dir, struct vm_end *ret);
/* 1 and its last status (the caller puts it), 0 while it goes on. Fails when the VM is gone and
 * nothing says how it ended. Does not block. */
int vm_end_look(const struct vm_end *e, struct json_object **ret, struct err *err);

#endif
