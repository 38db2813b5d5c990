/* agent_rig.h - an agent that owns no machine, and a client of its services on the same loop. */
#ifndef FCVM_TEST_AGENT_RIG_H
#define FCVM_TEST_AGENT_RIG_H

#include "agent.h"
#include "buf.h"
#include "chan.h"

#define RIG_DEADLINE_MS 30000

struct agent_rig {
	struct loop *loop;
	struct agent agent;
	char dir[64];
};

void agent_rig_new(struct agent_rig *r);
void agent_rig_free(struct agent_rig *r);

/* Runs the loop until cond holds; a test that waits too long fails here. */
#define RIG_UNTIL(r, cond)                                                                      \
	do {                                                                                    \
		uint64_t end_ = deadline_in(RIG_DEADLINE_MS);                                   \
		while (!(cond)) {                                                               \
			cr_assert_gt(deadline_left(end_), 0, "waited too long for: %s", #cond); \
			cr_assert_geq(loop_once((r)->loop, 100, NULL), 0);                      \
		}                                                                               \
	} while (0)

/* A connection to one of the services: what came back. */
struct client {
	struct chan *chan;
	struct buf out, err; /* of an exec */
	struct buf last;     /* body of the last frame of another kind */
	uint16_t last_type;
	int frames;
	bool ended; /* EXIT came */
	int code;
	char text[512];
	bool closed;
};

void client_open(struct agent_rig *r, uint32_t port, struct client *c);
void client_close(struct client *c);

#endif
