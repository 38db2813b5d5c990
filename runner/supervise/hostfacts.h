/* hostfacts.h - what a snapshot depends on of the machine it was taken on, beyond what the engine
 * says (engine_caps). */
#ifndef FCVM_SUPERVISE_HOSTFACTS_H
#define FCVM_SUPERVISE_HOSTFACTS_H

#include <stdint.h>

#include "digest.h"
#include "err.h"

struct hostfacts {
	char cpu_model[128];
	char cpu_flags[DIGEST_HEX_SIZE]; /* digest of the list the kernel gives */
	char kernel[128];
	uint64_t page_size;
};

int hostfacts_read(struct hostfacts *ret, struct err *err);

#endif
