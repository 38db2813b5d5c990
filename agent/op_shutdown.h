/* op_shutdown.h - ends the guest in order: container, disks, power. */
#ifndef FCVM_AGENT_OP_SHUTDOWN_H
#define FCVM_AGENT_OP_SHUTDOWN_H

#include <stdbool.h>

#include "control.h"

/* Replies once the container has ended and the disks are written, then reboots: with `-no-reboot`
 * and `reboot=t` the VMM exits. Repeating it while one is under way replies -EALREADY. */
void op_shutdown(struct agent *agent, const struct control_request *req, uint64_t grace_ms);
/* From the request on: nothing new of the workload is to begin. */
bool op_shutdown_under_way(void);

#endif
