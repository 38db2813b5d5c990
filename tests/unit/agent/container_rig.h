/* container_rig.h - an agent with a container that runs, and what Podman and crun would be:
 * scripts.
 *
 * The container is a shell of the test's; all directories Podman owns are hidden. Needs root. */
#ifndef FCVM_TEST_CONTAINER_RIG_H
#define FCVM_TEST_CONTAINER_RIG_H

#include <sys/types.h>

#include "agent_rig.h"

#define CONTAINER_RIG_NAME "main"

struct container_rig {
	struct agent_rig rig;
	struct client control;
	pid_t pid; /* the container's first process */
};

/* init: the container's shell script; it starts in the rig's directory. Returns once the container
 * has started. */
void container_rig_new(struct container_rig *c, const char *init);
void container_rig_free(struct container_rig *c);
/* The program of that name is this shell script from now on. */
void container_rig_program(struct container_rig *c, const char *name, const char *script);

#endif
