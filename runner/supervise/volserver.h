/* volserver.h - the server process of one host volume: started, given streams, started again when
 * it dies, or answers nothing. What outlives a process (keys, the log of the last requests) is in a
 * state file in the instance directory, which is the supervisor's. */
#ifndef FCVM_SUPERVISE_VOLSERVER_H
#define FCVM_SUPERVISE_VOLSERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "host.h"
#include "loop.h"
#include "volume.h"

struct volserver;

struct volserver_spec {
	const struct host *host;
	const struct volume_mount *mount; /* borrowed while the server lives */
	const char *tag;                  /* "SET/KIND/NAME", shown in its argv */
	int state_fd;                     /* taken over when it succeeds */
	bool rekey;                       /* the state is of a mount of another directory */
	int saved_fd; /* of volserver_save(), borrowed while it starts; 0: none */
	/* 0: as decisions.md has it, asked each second, dead after ten without an answer. */
	uint64_t ping_ms, silence_ms;
};

/* Blocks until it serves, or says why not. */
int volserver_start(struct loop *loop, const struct volserver_spec *spec, struct volserver **ret,
		    struct err *err);
/* Lets it finish what runs, for a moment, then kills it; returns when it is gone, or seconds later
 * when a disk that hangs keeps it: it ends with that. NULL is fine. */
void volserver_stop(struct volserver *v);
/* All at once: however many hang, they cost those seconds together. None is NULL. */
void volserver_stop_all(struct volserver *const *v, size_t n);
/* A stream to serve; fd is taken over in any case. Without a process it is closed: the guest asks
 * again. */
void volserver_give(struct volserver *v, int fd);
/* Blocks until all that arrived is done, at most FP_DRAIN_MS and a little. */
int volserver_drain(struct volserver *v, struct err *err);

/* After that: what a snapshot needs of the guest's locks and open files goes into fd, which is
 * empty and stays so when there is nothing, or no process. */
int volserver_save(struct volserver *v, int fd, struct err *err);

const struct volume_mount *volserver_mount(const struct volserver *v);
int volserver_state(const struct volserver *v); /* borrowed */
pid_t volserver_pid(const struct volserver *v); /* 0: between two lives */

#endif
