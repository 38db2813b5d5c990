/* podman_args.h - the command line of `podman run` for a container; pure. */
#ifndef FCVM_AGENT_PODMAN_ARGS_H
#define FCVM_AGENT_PODMAN_ARGS_H

#include "agent.h"
#include "proto_workload.h"

/* Files podman writes for us, below private_dir. */
#define PODMAN_ID_FILE "container.id"
#define PODMAN_PID_FILE "container.pid"
#define PODMAN_CONMON_FILE "conmon.pid"

int podman_args(const struct agent *agent, const struct proto_container *spec, struct strv *ret,
		struct err *err);

#endif
