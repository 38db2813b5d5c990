/* vmgroup.h - a cgroup v2 of one VM: who is in it, limits where their controllers are, one kill. */
#ifndef FCVM_HOST_VMGROUP_H
#define FCVM_HOST_VMGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define VMGROUP_MOUNTINFO "/proc/self/mountinfo"

/* Where the text of a mountinfo file says that cgroup v2 is mounted; malloc'ed, NULL for nowhere.
 */
char *vmgroup_mount_in(const char *mountinfo);
/* Of this machine, as we see it; NULL, too, where nobody may make cgroups. */
char *vmgroup_mount(void);

struct vmgroup_limits { /* 0: none */
	uint64_t memory_bytes, pids, huge_bytes;
};

/* Which limits cannot be set below mount, as a list of controllers ("memory, pids"); "" when all
 * can. Changes nothing. mount NULL: nowhere to set any. */
void vmgroup_missing(const char *mount, char *ret, size_t size);

/* The cgroup of the VM whose directory this is: <mount>/fcvm/<hash of dir>; malloc'ed. */
char *vmgroup_path(const char *mount, const char *dir);
/* Makes it and sets what limits can be set; what a dead VM left in it is killed. *ret_procs, the
 * caller's, takes a process in that writes "0" to it. */
int vmgroup_make(const char *path, const struct vmgroup_limits *limits, int *ret_procs,
		 struct err *err);
/* Kills what is in it, waits and removes it; fine if there is none. */
int vmgroup_remove(const char *path, struct err *err);

#endif
