/* agent_client.h - a connection to one of the agent's ports, through <instance>/v.sock, which
 * speaks Firecracker's "CONNECT <port>\n" -> "OK <n>\n" on every engine. */
#ifndef FCVM_GUEST_AGENT_CLIENT_H
#define FCVM_GUEST_AGENT_CLIENT_H

#include <stdint.h>

#include "err.h"

#define AGENT_CLIENT_SOCK "v.sock"

/* Blocks up to the deadline. *ret_fd is the caller's and non-blocking. -ENOENT or -ECONNREFUSED
 * when the VM's channel is not there, -ECONNRESET when the guest refuses the port. */
int agent_client_connect(const char *instance_dir, uint32_t port, uint64_t deadline_ms, int *ret_fd,
			 struct err *err);

#endif
