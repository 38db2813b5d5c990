/* volume_flags.h - a volume that a clone trusts otherwise than its source did: whether device nodes
 * and set-id bits work, where it is mounted in the guest and in the running container. */
#ifndef FCVM_AGENT_VOLUME_FLAGS_H
#define FCVM_AGENT_VOLUME_FLAGS_H

#include <stdbool.h>
#include <sys/types.h>

struct volume_flags {
	pid_t container; /* its init; 0: none runs */
	const char *target;
	bool trusted;
};

/* In a forked child, which ends up in the container's mount namespace; data is a struct
 * volume_flags. 0, or an errno as exit status. A container that has taken the volume off is left
 * alone. Repeating it is safe. */
int volume_flags_run(void *data);

#endif
