/* shared.h - the system's asset cache as an ordinary user may use it: read-only, and only where
 * nobody but root may have been able to write. */
#ifndef FCVM_IMAGE_SHARED_H
#define FCVM_IMAGE_SHARED_H

#include <stdbool.h>
#include <sys/stat.h>

#include "host.h"

/* Root's, no link, and writable for nobody else. */
bool shared_is_roots(const struct stat *st);
/* <shared cache>/KIND/NAME when it and every directory from the cache down are root's; NULL when
 * not, when it is absent, and for root, who has no cache beside their own. Caller frees. */
char *shared_path(const struct host *host, const char *kind, const char *name);

#endif
