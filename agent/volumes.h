/* volumes.h - what is mounted for the workload: in the guest at its target, and bound into every
 * container at the same path. Mounts live in the guest's memory: a clone has its source's. */
#ifndef FCVM_AGENT_VOLUMES_H
#define FCVM_AGENT_VOLUMES_H

#include "agent.h"
#include "proto_volume.h"
#include "strv.h"

int volumes_new(struct agent *agent, struct err *err);
void volumes_free(struct agent *agent);

/* Gate `volumes`: mounts what is wanted and not there yet, changes what is mounted otherwise; takes
 * *want over. Volumes of a kind this agent does not know are -EOPNOTSUPP. */
int volumes_apply(struct agent *agent, struct proto_volumes *want, struct err *err);
/* --volume=... for each, for podman. */
void volumes_add_args(const struct agent *agent, struct strv *args);

#endif
