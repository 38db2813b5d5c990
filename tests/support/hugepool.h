/* hugepool.h - the kernel's pool of 2 MiB pages, larger for the length of a test. */
#ifndef FCVM_TESTS_HUGEPOOL_H
#define FCVM_TESTS_HUGEPOOL_H

#include <stdbool.h>
#include <stddef.h>

/* Adds that many pages until this process ends, however it ends; another process that asks waits
 * until then. False, with the reason, where the pool cannot be grown. Once a process. */
bool hugepool_grow(size_t pages, char *why, size_t size);
/* How many are free now. */
size_t hugepool_free(void);

#endif
