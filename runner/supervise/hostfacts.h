/* hostfacts.h - what a snapshot depends on of the machine it was taken on. */
#ifndef FCVM_SUPERVISE_HOSTFACTS_H
#define FCVM_SUPERVISE_HOSTFACTS_H

#include <stdint.h>

#include "err.h"

struct hostfacts {
	char cpu_model[128];
	char kernel[128];
	uint64_t tsc_khz; /* 0: unknown */
	uint64_t page_size;
};

/* Takes the 20 ms a measurement of the TSC needs. */
int hostfacts_read(struct hostfacts *ret, struct err *err);

#endif
