/* pins.h - which real version a name means, decided once (decisions 23): <cache>/KIND/pins.json.
 *
 * A pin moves only when its owner stores another; a file that cannot be read is an error and
 * never an empty list, or a damaged file would silently move every kernel. */
#ifndef FCVM_IMAGE_PINS_H
#define FCVM_IMAGE_PINS_H

#include "err.h"
#include "host.h"
#include "json.h"

/* 1 and *ret (the caller's reference) when the name is pinned, 0 when not. An ordinary user's own
 * pin comes before the system's. */
int pins_get(const struct host *host, const char *kind, const char *name, struct json_object **ret,
	     struct err *err);
/* Takes ownership of pin. Under a lock, so that two processes do not lose each other's. */
int pins_set(const struct host *host, const char *kind, const char *name, struct json_object *pin,
	     struct err *err);

#endif
