/* pager.h - answers the userfaultfd events of one VM from the memory file. Allocates nothing. */
#ifndef FCVM_MEMORY_PAGER_H
#define FCVM_MEMORY_PAGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "hist.h"
#include "regions.h"
#include "zeromap.h"

/* The snapshot's memory as every pager sees it; shared and never written. */
struct pager_source {
	const unsigned char *map; /* never touched by user code: the kernel copies from it, so a
				     truncated file is -EFAULT and no signal */
	uint64_t size;
	struct zeromap zero;
	const unsigned char
		*zeros; /* REGIONS_HUGE_PAGE of them: a huge page is zeroed by copying */
};

/* Written by the serving thread, read by any. */
struct pager_stats {
	_Atomic uint64_t faults, copied, zero, retried; /* pages of the VM's own size */
	_Atomic uint64_t removed;                       /* pages of 4 KiB */
	struct hist service; /* ns from reading the fault to the page being there */
};

struct pager {
	int uffd; /* owned */
	const struct pager_source *source;
	struct regions regions;
	struct zeromap removed; /* pages the VMM gave back: zero from then on */
	unsigned int in_vain;   /* huge pages said to be there already, since the last one given */
	bool behind;            /* a removal kept faults from being answered: they wait */
	bool plain_read;        /* the kernel knows no RWF_NOWAIT here (before 6.10) */
	struct pager_stats stats;
};

void pager_init(struct pager *p, const struct pager_source *source, const struct regions *regions,
		int uffd);
void pager_free(struct pager *p);

/* Reads the events that wait (64 at most, or up to the removal that keeps them from being answered)
 * and answers them. Returns how many there were, 0 when none waits; -ESRCH when the VMM is gone;
 * any other error means this VM cannot be served and err says why. -EINTR: a read that had to block
 * was interrupted. */
int pager_serve(struct pager *p, struct err *err);

#endif
