/* mux_rig.h - two muxes on one loop, or one whose peer is raw bytes. */
#ifndef FCVM_TEST_MUX_RIG_H
#define FCVM_TEST_MUX_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "loop.h"
#include "mux_link.h"

#define MUX_RIG_DEADLINE_MS 30000

/* One end of a link: what its owner saw. */
struct end {
	struct mux *mux;
	int accepted[1100];
	int n_accepted;
	int refuse; /* errno to refuse with */
	int synced, fresh, quiesced, lost;
	char why[128];
};

struct mux_rig {
	struct loop *loop;
	int fds[2];
	struct end host, guest;
};

/* Runs the loop until cond holds; a test that waits too long fails here. */
#define RUN_UNTIL(r, cond)                                                                      \
	do {                                                                                    \
		uint64_t end_ = deadline_in(MUX_RIG_DEADLINE_MS);                               \
		while (!(cond)) {                                                               \
			cr_assert_gt(deadline_left(end_), 0, "waited too long for: %s", #cond); \
			cr_assert_geq(loop_once((r)->loop, 100, NULL), 0);                      \
		}                                                                               \
	} while (0)

void mux_rig_open(struct mux_rig *r);
/* Opened and synced. */
void mux_rig_new(struct mux_rig *r);
/* A guest mux alone; its peer is raw bytes on fds[0]. */
void mux_rig_raw(struct mux_rig *r);
void mux_rig_free(struct mux_rig *r);
/* Until nothing happens any more. */
void mux_rig_run_dry(struct mux_rig *r);
void mux_rig_put_frame(struct mux_rig *r, uint32_t id, uint8_t type, const void *payload,
		       uint16_t len);
void mux_rig_put_sync(struct mux_rig *r, bool keep);

#endif
