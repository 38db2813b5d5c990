/* container.h - the workload: one container run by Podman, its exit code through conmon's exit
 * file, its cgroup frozen and thawed as a whole. */
#ifndef FCVM_AGENT_CONTAINER_H
#define FCVM_AGENT_CONTAINER_H

#include "agent.h"
#include "proto_workload.h"

enum container_state { CONTAINER_NONE, CONTAINER_CREATED, CONTAINER_STARTED, CONTAINER_EXITED };

/* What `crun exec` needs to know; borrowed. */
struct container_view {
	const char *id;
	const char *bundle; /* directory with config.json */
	pid_t pid;          /* its init, in our pid namespace */
};

int container_new(struct agent *agent, struct err *err);
void container_free(struct agent *agent);

/* Takes *spec (left empty). -EBUSY when there is one already. Progress comes as events. */
int container_run(struct agent *agent, struct proto_container *spec, struct err *err);
enum container_state container_state(const struct agent *agent);
const char *container_name(const struct agent *agent); /* "" when none */
/* The running container of that name, -ENOENT or -ESRCH with a sentence otherwise. */
int container_find(struct agent *agent, const char *name, struct container_view *ret,
		   struct err *err);
/* Sends the state again (to a control connection that is new). */
void container_announce(struct agent *agent);

/* Stops all its processes where they are; done(0) once the kernel says so, -ETIMEDOUT when it does
 * not, -ECANCELED when it is thawed meanwhile. One at a time. */
int container_freeze(struct agent *agent, void (*done)(void *data, int r), void *data,
		     struct err *err);
int container_thaw(struct agent *agent, struct err *err);
/* SIGTERM, SIGKILL after grace_ms, or at once when all is frozen; done when it has ended (at once
 * when none runs). */
void container_stop(struct agent *agent, uint64_t grace_ms, void (*done)(void *data), void *data);

#endif
