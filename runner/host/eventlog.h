/* eventlog.h - <set>/events.jsonl (docs/events.md): one JSON object a line, one write a line, so
 * that apply and the supervisors of its VMs can append to it at the same time. */
#ifndef FCVM_HOST_EVENTLOG_H
#define FCVM_HOST_EVENTLOG_H

#include "err.h"
#include "host.h"
#include "json.h"

#define EVENTLOG_NAME "events.jsonl"
#define EVENTLOG_OLD ".1"        /* after the name: what was turned over */
#define EVENTLOG_MAX (16u << 20) /* bytes; the next one to open it turns it over */

/* An event of that type and moment; the caller adds members and puts it. */
struct json_object *eventlog_new(const struct host *host, const char *type, uint64_t seq);
/* For appending one event; made where it is missing. The caller closes: whoever comes next may turn
 * it over, and who follows the log then looks at the new one. */
int eventlog_open(const char *path, int *ret_fd, struct err *err);
/* A full disk loses events, never what they tell of. */
void eventlog_write(int fd, struct json_object *event);

#endif
