/* pump_host.h - the host's side for tests of mounts: a served directory, in a mount namespace that
 * ends with the test. The server is a process: tests fork pumps, and must not have threads then. */
#ifndef FCVM_TESTS_PUMP_HOST_H
#define FCVM_TESTS_PUMP_HOST_H

#include <sys/types.h>

struct pump_host {
	char *dir;    /* of the test */
	char *root;   /* what is served */
	char *target; /* where it is to be mounted; not there yet */
	pid_t server;
	int control;
};

/* Skips without root or /dev/fuse. */
void pump_host_start(struct pump_host *h);
void pump_host_stop(struct pump_host *h);
/* fd is taken over, and served. */
void pump_host_give(struct pump_host *h, int fd);
/* Another stream to the server: the guest's end. */
int pump_host_stream(struct pump_host *h);

#endif
