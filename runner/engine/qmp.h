/* qmp.h - QEMU's monitor over a socketpair: commands with replies, events in a queue.
 *
 * QEMU runs hostile guests, so what it says is bounded: lines, queue, nesting. Any error leaves
 * the connection unusable; QEMU dying is -ECONNRESET. Blocking calls, all with deadlines. */
#ifndef FCVM_ENGINE_QMP_H
#define FCVM_ENGINE_QMP_H

#include <stdint.h>

#include "err.h"
#include "json.h"

#define QMP_LINE_MAX (1u << 20)
#define QMP_EVENTS_MAX 256

struct qmp;

void qmp_free_p(struct qmp **q);
#define auto_qmp __attribute__((cleanup(qmp_free_p)))

/* Takes fd. */
struct qmp *qmp_new(int fd);
int qmp_fd(const struct qmp *q);
/* Waits for the greeting and negotiates no capabilities. */
int qmp_greet(struct qmp *q, uint64_t deadline_ms, struct err *err);

struct qmp_command {
	const char *name;
	struct json_object *arguments; /* given to the call, NULL for none */
	int fd;                        /* sent along when fd_name is set; stays the caller's */
	const char *fd_name;           /* getfd's name for it */
};
/* *ret (may be NULL) is the return value; the caller puts it. */
int qmp_call(struct qmp *q, const struct qmp_command *cmd, uint64_t deadline_ms,
	     struct json_object **ret, struct err *err);
/* The common case: no arguments, no result. */
int qmp_do(struct qmp *q, const char *name, uint64_t deadline_ms, struct err *err);
/* getfd: QEMU keeps a duplicate of fd under that name for fd:NAME. */
int qmp_give_fd(struct qmp *q, const char *name, int fd, uint64_t deadline_ms, struct err *err);

/* Events that any engine code waits for; all others are dropped as they come. */
enum qmp_event { QMP_STOP, QMP_RESUME, QMP_SHUTDOWN, QMP_MIGRATION, QMP_EVENT_KINDS };
/* The oldest unread event, waiting for one if need be. *ret_data: its "data" or NULL; caller puts
 * it. */
int qmp_next_event(struct qmp *q, uint64_t deadline_ms, enum qmp_event *ret,
		   struct json_object **ret_data, struct err *err);
/* Forgets queued events. */
void qmp_clear_events(struct qmp *q);
/* Takes what is there without waiting and drops it: for an idle monitor, whose output would pile
 * up in QEMU. */
int qmp_drain(struct qmp *q, struct err *err);

#endif
