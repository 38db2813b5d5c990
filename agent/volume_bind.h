/* volume_bind.h - a volume that a clone has and its source had not, or that was mounted again: into
 * the running container at the same path. */
#ifndef FCVM_AGENT_VOLUME_BIND_H
#define FCVM_AGENT_VOLUME_BIND_H

#include <stdbool.h>
#include <sys/types.h>

struct volume_bind {
	pid_t container; /* its init */
	const char *target;
	bool again; /* in place of the dead one that it has there */
};

/* In a forked child, which ends up in the container's mount namespace; data is a struct
 * volume_bind. 0, or an errno as exit status. */
int volume_bind_run(void *data);

#endif
