/* agentlink.h - the control connection to the agent: requests with ids, answers to callbacks, each
 * with a deadline; events from the guest. All that comes in is the guest's: bounded and checked;
 * what is malformed ends the connection (lost), never the supervisor. */
#ifndef FCVM_SUPERVISE_AGENTLINK_H
#define FCVM_SUPERVISE_AGENTLINK_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "loop.h"
#include "proto.h"

#define AGENTLINK_PENDING_MAX 64u
#define AGENTLINK_TEXT_MAX 4096u

struct agentlink;

/* What the guest said happened; texts are cut to AGENTLINK_TEXT_MAX, never NULL. */
struct agentlink_event {
	const char *name, *state, *text;
	int exit_code; /* 0..255, or -1 */
	uint64_t ms;
	uint64_t stream; /* volume */
};

struct agentlink_ops {
	void (*event)(void *data, enum agent_msg msg, const struct agentlink_event *ev);
	void (*lost)(void *data, const char *why);
};

struct agentlink_answer {
	int code;  /* 0, or a negative errno: the agent's, or ours */
	bool over; /* the link was freed: never what the agent says */
	const char *text;
	uint64_t version; /* hello: the agent's protocol version */
	const char *boot_id;
};
typedef void (*agentlink_done)(void *data, const struct agentlink_answer *answer);

/* fd is owned from now on, also on failure. */
int agentlink_new(struct loop *loop, int fd, const struct agentlink_ops *ops, void *data,
		  struct agentlink **ret, struct err *err);
/* Answers what is under way with `over` and -ECANCELED. Not from inside a callback. NULL is fine.
 */
void agentlink_free(struct agentlink *c);
/* body: the request's fields without TAG_ID; NULL for none. done runs exactly once, never from
 * inside this call. */
int agentlink_request(struct agentlink *c, enum agent_msg msg, const struct buf *body,
		      uint64_t timeout_ms, agentlink_done done, void *data, struct err *err);

#endif
