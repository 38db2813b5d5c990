/* serve.h - the threads that answer page faults, and the memory file they answer from.
 *
 * A VM belongs to one thread for life, so its events are handled in order without a lock. All
 * functions below are for one controlling thread. */
#ifndef FCVM_MEMORY_SERVE_H
#define FCVM_MEMORY_SERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "pager.h"

struct serve;
struct serve_vm;

struct serve_spec {
	int memory_fd;    /* open read-only; borrowed */
	uint64_t size;    /* whole pages */
	unsigned threads; /* 0: one for each CPU, 8 at most */
	bool plain_read;  /* as on kernels without RWF_NOWAIT for userfaultfd */
};

/* Maps and scans the file, starts the threads. */
int serve_start(const struct serve_spec *spec, struct serve **ret, struct err *err);
/* Ends the threads; VMs still there are left unserved (their vCPUs wait: they must be killed). */
void serve_free(struct serve *s);

/* Serves this userfaultfd (taken over also on failure) until serve_remove. owner comes back from
 * serve_next_ended. */
int serve_add(struct serve *s, int uffd, const struct regions *regions, void *owner,
	      struct serve_vm **ret, struct err *err);
/* No event of it is reported afterwards; it frees itself. */
void serve_remove(struct serve_vm *vm);
const struct pager_stats *serve_stats(const struct serve_vm *vm);
/* Pages known to be zero, for the log. */
uint64_t serve_zero_pages(const struct serve *s);

/* Readable when a VM's serving ended; serve_next_ended then returns its owner and the reason
 * (-ESRCH: the process is gone) in *ret_why, or NULL. The VM is still to be removed. */
int serve_note_fd(const struct serve *s);
void *serve_next_ended(struct serve *s, struct err *ret_why);

/* Once a second: lets every thread show that it lives, and frees one from a descriptor that
 * blocks. */
void serve_tick(struct serve *s);
/* False when a thread has not come round for 3 s. */
bool serve_alive(const struct serve *s);

#endif
