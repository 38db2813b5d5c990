/* outside.h - a process of ours that stays in the host's namespaces.
 *
 * Who has entered a user namespace can open no socket of the host's network any more and start
 * nothing there. This process, forked before that, does both when asked: it makes sockets (for the
 * DNS relay's upstream, for looking whether a port is free) and it runs slirp4netns. It answers one
 * socket pair, whose other end only the supervisor has, and dies with the supervisor. */
#ifndef FCVM_NET_OUTSIDE_H
#define FCVM_NET_OUTSIDE_H

#include <sys/types.h>

#include "err.h"

struct outside;

/* To be called before userns_enter(). */
int outside_start(struct outside **ret, struct err *err);
/* Ends the process and what it runs. NULL is fine. */
void outside_stop(struct outside *o);

/* A socket of the host's network, close-on-exec, not connected, blocking. domain: AF_INET or
 * AF_INET6; type: SOCK_DGRAM or SOCK_STREAM. Blocks for as long as the kernel takes. */
int outside_socket(struct outside *o, int domain, int type, int *ret_fd, struct err *err);
/* Runs slirp4netns for the namespaces of `target`, in directory dir, with its API at dir/sock. It
 * writes to ready_fd when it serves and ends when the other end of exit_fd is closed (both are
 * duplicated). *ret_pidfd is the caller's. -ENOENT: it is not installed. */
struct outside_slirp {
	pid_t target;
	const char *dir, *sock;
	int ready_fd, exit_fd;
};
int outside_run_slirp(struct outside *o, const struct outside_slirp *what, int *ret_pidfd,
		      struct err *err);

#endif
