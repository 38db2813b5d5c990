/* crun_rig.h - an agent with a container that runs, and what Podman and crun would be:
 * scripts.
 *
 * The container is a shell of the test's; all directories Podman owns are hidden. Needs root. */
#ifndef FCVM_TEST_CRUN_RIG_H
#define FCVM_TEST_CRUN_RIG_H

#include <sys/types.h>

#include "agent_rig.h"

#define CRUN_RIG_NAME "main"

struct crun_rig {
	struct agent_rig rig;
	struct client control;
	pid_t pid; /* the container's first process */
};

/* init: the container's shell script; it starts in the rig's directory. Returns once the container
 * has started. */
void crun_rig_new(struct crun_rig *c, const char *init);
void crun_rig_free(struct crun_rig *c);
/* The program of that name is this shell script from now on. */
void crun_rig_program(struct crun_rig *c, const char *name, const char *script);

#endif
