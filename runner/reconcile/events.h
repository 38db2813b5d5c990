/* events.h - what happens, one JSON object a line (docs/events.md): to <set>/events.jsonl and,
 * when asked, to a file and to stdout. */
#ifndef FCVM_RECONCILE_EVENTS_H
#define FCVM_RECONCILE_EVENTS_H

#include <stdbool.h>

#include "err.h"
#include "host.h"
#include "json.h"

struct events;

/* path: --events FILE or NULL. The first event, "version", is written at once. */
int events_open(const struct host *host, const char *set_dir, const char *path, bool to_stdout,
		struct events **ret, struct err *err);
void events_close_p(struct events **e);
#define auto_events __attribute__((cleanup(events_close_p)))

/* A new event of that type; the caller adds members, then gives it to events_emit(). */
struct json_object *events_new(struct events *e, const char *type);
/* Takes o. A full disk loses events, never the run. */
void events_emit(struct events *e, struct json_object *o);

#endif
