/* stray.h - processes of ours that no record knows: a supervisor or memory server started by an
 * apply that was killed before it could write down the pid. */
#ifndef FCVM_RESOURCE_STRAY_H
#define FCVM_RESOURCE_STRAY_H

#include <stdbool.h>

#include "err.h"
#include "host.h"

/* Kills every `fcvm internal ...` process whose arguments name dir (an absolute path) or something
 * below it, and waits for its end. Recognised by its arguments, never guessed. */
int stray_kill(const struct host *host, const char *dir, struct err *err);
/* Whether argv (NUL-separated, len bytes) is such a process. */
bool stray_matches(const char *cmdline, size_t len, const char *dir);

#endif
