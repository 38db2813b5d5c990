/* control.h - the supervisor's one connection: requests in, replies and events out. */
#ifndef FCVM_AGENT_CONTROL_H
#define FCVM_AGENT_CONTROL_H

#include "agent.h"

int control_new(struct agent *agent, struct err *err);
void control_free(struct agent *agent);
/* fd becomes the control connection; an older one is closed. */
void control_accept(struct agent *agent, int fd);

/* A request that is answered later. Replies to a connection that is gone are dropped. */
struct control_request {
	uint64_t connection;
	uint64_t id;
};
/* code: 0, or a negative errno with the sentence. */
void control_reply(struct agent *agent, const struct control_request *req, int code,
		   const char *text);

void control_event_container(struct agent *agent, const char *name, const char *state,
			     int exit_code /* -1: none */, const char *text);
void control_event_health(struct agent *agent, const char *name, const char *state,
			  const char *text);
void control_event_gate(struct agent *agent, const char *gate, uint64_t ms);
void control_event_volume(struct agent *agent, const char *target, unsigned int stream);

#endif
