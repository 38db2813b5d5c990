/* op_exec.h - the exec service: one connection, one command. */
#ifndef FCVM_AGENT_OP_EXEC_H
#define FCVM_AGENT_OP_EXEC_H

#include "agent.h"

/* Takes fd. The command and all its group die with the connection. */
void op_exec_accept(struct agent *agent, int fd);

#endif
