/* cgroup.h - the one cgroup (v2) all containers live below. */
#ifndef FCVM_AGENT_CGROUP_H
#define FCVM_AGENT_CGROUP_H

#include <stdbool.h>

#include "loop.h"

struct freezer {
	struct loop *loop;
	int events_fd; /* cgroup.events; -1 while nobody waits */
	struct loop_source events;
	struct loop_source timer;
	void (*done)(void *data, int r);
	void *data;
};

/* Asks the kernel to freeze everything below dir; done once cgroup.events says so, or -ETIMEDOUT
 * after timeout_ms. Never called before this returns. */
int freezer_start(struct freezer *f, struct loop *loop, const char *dir, uint64_t timeout_ms,
		  void (*done)(void *data, int r), void *data, struct err *err);
void freezer_cancel(struct freezer *f); /* done is not called */
/* done gets -ECANCELED, when one is under way. */
void freezer_abort(struct freezer *f);
int cgroup_thaw(const char *dir, struct err *err);
/* Kills everything below dir, frozen or not. */
int cgroup_kill(const char *dir, struct err *err);

#endif
