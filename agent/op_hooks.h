/* op_hooks.h - runs a list of commands one after the other; the first failure ends it. */
#ifndef FCVM_AGENT_OP_HOOKS_H
#define FCVM_AGENT_OP_HOOKS_H

#include "agent.h"
#include "proto_workload.h"

/* Takes *hooks (left empty); label names them in messages ("prepare", "on_clone"). done comes once,
 * perhaps before this returns: 0, or a negative errno with a sentence. */
void hooks_run(struct agent *agent, const char *label, struct proto_hooks *hooks,
	       void (*done)(void *data, int code, const char *text), void *data);

#endif
