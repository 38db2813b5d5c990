/* logs.h - what the container writes: lines with the time they were read, kept in a ring until the
 * supervisor's logs connection takes them. A full ring drops its oldest lines and says how many. */
#ifndef FCVM_AGENT_LOGS_H
#define FCVM_AGENT_LOGS_H

#include "agent.h"
#include "buf.h"
#include "logring.h"

int logs_new(struct agent *agent, struct err *err);
void logs_free(struct agent *agent);
/* The logs service: fd becomes its one connection, an older one is closed. */
void logs_accept(struct agent *agent, int fd);
/* Reads pipe (taken) to its end as the container's stream 1 or 2. */
int logs_attach(struct agent *agent, int stream, int pipe, struct err *err);
/* Takes out of the pipes what lies in them now (the writer is frozen). */
void logs_drain(struct agent *agent);
/* The last words before the power goes: what pipes and ring hold is sent, the connection is ended,
 * and done runs once the supervisor has read it all; after timeout_ms at the latest, and at once
 * when nobody listens. Only once. */
void logs_finish(struct agent *agent, uint64_t timeout_ms, void (*done)(void *data), void *data);
/* A clone's log begins at its restore: forgets what the source had not delivered. */
void logs_clear(struct agent *agent);
/* The last lines of stderr, for a message; "" when there are none. */
void logs_last_words(const struct agent *agent, struct buf *out);
/* Removes "ID\n" once from stdout: podman run -d prints it into the container's stream. */
void logs_expect_id(struct agent *agent, const char *id_file);

#endif
