/* container_rig.h - a container as the agent sees one: a program `podman` that succeeds, the files
 * it would have left, and two processes. In the test's own mount namespace (pump_host.h). */
#ifndef FCVM_TEST_CONTAINER_RIG_H
#define FCVM_TEST_CONTAINER_RIG_H

#include "agent_rig.h"

struct container_rig {
	pid_t init, monitor; /* the first has mounts of its own, copies of ours */
	int order;
};

/* It has started when this returns. In its namespace whoever goes below the directory `dam` waits,
 * until the dam is opened. */
void container_rig_start(struct container_rig *c, struct agent_rig *r, const char *dam);
void container_rig_open_dam(struct container_rig *c);
/* Another process in its mount namespace, 0 when there is none. */
pid_t container_rig_guest(const struct container_rig *c);
/* After agent_rig_free(). */
void container_rig_stop(struct container_rig *c);

#endif
