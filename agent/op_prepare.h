/* op_prepare.h - makes the guest ready to be snapshotted: hooks, settle, sync, freeze. */
#ifndef FCVM_AGENT_OP_PREPARE_H
#define FCVM_AGENT_OP_PREPARE_H

#include "control.h"
#include "proto_workload.h"

/* Takes *hooks. Replies once the workload stands still, with its output delivered. A SHUTDOWN that
 * comes before makes it fail with -ESHUTDOWN: what ends must not stand still. */
void op_prepare(struct agent *agent, const struct control_request *req, struct proto_hooks *hooks,
		uint64_t settle_ms);
/* The source goes on: thaws, probes again. A PREPARE under way fails with -ECANCELED instead of
 * freezing later. */
int op_thaw(struct agent *agent, struct err *err);

#endif
