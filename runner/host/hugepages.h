/* hugepages.h - the host's pool of 2 MiB pages. */
#ifndef FCVM_HOST_HUGEPAGES_H
#define FCVM_HOST_HUGEPAGES_H

#include <stdint.h>

#include "err.h"

#define HUGEPAGES_SIZE (UINT64_C(2) << 20)
#define HUGEPAGES_DIR "/sys/kernel/mm/hugepages/hugepages-2048kB"

struct hugepages {
	uint64_t total, free; /* pages; what others have reserved is not free */
};

/* dir: HUGEPAGES_DIR, or its like. A kernel without huge pages has none: 0 and 0. */
int hugepages_read(const char *dir, struct hugepages *ret, struct err *err);

#endif
