/* loop.h - one epoll loop: descriptors, timers, children (pidfds) and signals.
 *
 * Sources are embedded in the caller's structs; the loop never allocates per source. A handler
 * may remove any source, itself included, while it runs: events already fetched for a removed
 * source are not delivered. Single-threaded. */
#ifndef FCVM_BASE_LOOP_H
#define FCVM_BASE_LOOP_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct loop;
struct loop_source;
typedef void (*loop_fn)(struct loop *loop, struct loop_source *src, uint32_t events);

struct loop_source {
	int fd;
	uint32_t events; /* EPOLLIN...; 0 while not registered */
	loop_fn fn;
	void *data;
	uint64_t generation; /* the loop's own */
	bool owns_fd;        /* timers and signal sources: closed on removal */
};

void loop_free_p(struct loop **loop);
#define auto_loop __attribute__((cleanup(loop_free_p)))

int loop_new(struct loop **ret, struct err *err);
int loop_add(struct loop *loop, struct loop_source *src, int fd, uint32_t events, loop_fn fn,
	     void *data, struct err *err);
/* Changes the interest set; 0 keeps the source registered but silent (but for HUP/ERR). */
int loop_mod(struct loop *loop, struct loop_source *src, uint32_t events);
void loop_remove(struct loop *loop, struct loop_source *src);
/* One shot (period_ms 0) or periodic; timerfd, CLOCK_BOOTTIME. Re-arms if already added. */
int loop_timer(struct loop *loop, struct loop_source *src, uint64_t first_ms, uint64_t period_ms,
	       loop_fn fn, void *data, struct err *err);
/* signalfd for the set (the caller has blocked it). The handler reads siginfo by itself. */
int loop_signals(struct loop *loop, struct loop_source *src, const sigset_t *set, loop_fn fn,
		 void *data, struct err *err);
/* Runs until loop_stop(); returns the value given there, or a negative errno. */
int loop_run(struct loop *loop, struct err *err);
/* One epoll_wait of at most timeout_ms (-1 = no limit); 0 on timeout, else handlers run. */
int loop_once(struct loop *loop, int timeout_ms, struct err *err);
void loop_stop(struct loop *loop, int value);

#endif
