/* services.h - ports to services; the same over the mux and over vsock, for every stream ends in a
 * socket. */
#ifndef FCVM_AGENT_SERVICES_H
#define FCVM_AGENT_SERVICES_H

#include "agent.h"
#include "mux.h"

#define SERVE_PORT_NAME "fcvm.agent"

/* Gives fd (taken) to the service of that port; -ECONNREFUSED when there is none. */
int serve_connection(struct agent *agent, uint32_t port, int fd);
/* Serves the mux on fd (borrowed). lost may be NULL. */
int serve_mux(struct agent *agent, int fd, void (*lost)(void *data, const char *why), void *data,
	      struct mux **ret, struct err *err);
/* The virtio-serial port named SERVE_PORT_NAME, or -ENOENT. *ret_fd is the caller's. */
int serve_find_port(int *ret_fd, struct err *err);
/* Listens on AF_VSOCK on every port of ours, for as long as the agent lives. */
int serve_vsock(struct agent *agent, struct err *err);

#endif
