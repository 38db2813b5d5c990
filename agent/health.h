/* health.h - probes the container and tells the host of every change; see health_state.h. */
#ifndef FCVM_AGENT_HEALTH_H
#define FCVM_AGENT_HEALTH_H

#include "agent.h"
#include "proto_workload.h"

int health_new(struct agent *agent, struct err *err);
void health_free(struct agent *agent);
/* Takes *spec (left empty) and starts from `starting`, when the container runs. */
void health_set(struct agent *agent, struct proto_health *spec);
/* (Re)starts probing from `starting`; without a check the container is healthy at once. */
void health_begin(struct agent *agent);
/* No probes, no result of the one under way; the state stays. */
void health_pause(struct agent *agent);
/* Called once, at the first success from now on, or at once when it is healthy. */
void health_when_healthy(struct agent *agent, void (*fn)(void *data), void *data);
void health_announce(struct agent *agent);

#endif
