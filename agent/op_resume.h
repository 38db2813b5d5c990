/* op_resume.h - the identity gate of a clone (or of a guest on its first boot). */
#ifndef FCVM_AGENT_OP_RESUME_H
#define FCVM_AGENT_OP_RESUME_H

#include "control.h"
#include "proto_workload.h"

/* Takes *id (left empty). In order: clock, entropy, identity, sockets, network, volumes; then the
 * workload is thawed, the hooks run, and its first healthy probe ends it. Each gate is an event
 * with the milliseconds since this call; the reply says ready, or which gate failed. A workload
 * whose identity failed stays frozen. */
void op_resume(struct agent *agent, const struct control_request *req, struct proto_resume *id);
/* The container has ended: a resume that waits for its health fails. */
void op_resume_container_ended(struct agent *agent);

#endif
