/* foreground.h - a VM that is our child: its log on our stdout and stderr until it ends. */
#ifndef FCVM_CMD_FOREGROUND_H
#define FCVM_CMD_FOREGROUND_H

#include <stdbool.h>

#include "err.h"
#include "host.h"

/* The caller has blocked SIGINT and SIGTERM; either stops the VM (grace for the container), twice
 * kills it. Returns when the VM is gone: *ret_code is the container's exit code, 130 when
 * interrupted. Fails when the VM ended without one, or was removed meanwhile. follow_logs false:
 * only waits. */
int foreground_wait(const struct host *host, const char *dir, bool follow_logs, int *ret_code,
		    struct err *err);
/* Blocks them; call before anything is started. */
void foreground_block_signals(void);

#endif
