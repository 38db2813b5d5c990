/* status.h - text lines for whoever connects: "ready" once the workload is healthy, "exit:N" when
 * it has ended. What is true already is said at once. */
#ifndef FCVM_AGENT_STATUS_H
#define FCVM_AGENT_STATUS_H

#include "agent.h"

int status_new(struct agent *agent, struct err *err);
void status_free(struct agent *agent);
void status_accept(struct agent *agent, int fd);
void status_ready(struct agent *agent);
void status_exit(struct agent *agent, int code);

#endif
