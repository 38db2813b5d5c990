/* session.h - one run of the loop: the set it holds, what is wanted, what is there, the plan. */
#ifndef FCVM_RECONCILE_SESSION_H
#define FCVM_RECONCILE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "events.h"
#include "execute.h"
#include "fleet.h"
#include "graph.h"
#include "host.h"
#include "journal.h"
#include "plan.h"
#include "resource.h"
#include "set.h"
#include "strv.h"

struct reconcile_options {
	const char *engine; /* --engine; NULL: by the spec, the environment, measurement */
	uint64_t timeout_ms;
	uint32_t parallelism; /* 0: by policy alone */
	bool fail_fast, no_wait, no_wait_lock, take_over;
	const char *events_path;
	bool json;              /* events to stdout, no plan text */
	bool color;             /* of what goes to stdout */
	bool terminal, quiet;   /* of what goes to stderr */
	const char *spec_label; /* the spec as the user named it */
	/* stdout: the answer. stderr: a sentence. */
	int (*print)(void *data, const char *text, struct err *err);
	void (*warn)(void *data, const char *text);
	void *data;
};

struct session {
	const struct reconcile_options *options;
	struct set set;
	struct resource_choice choice;
	struct resource_ctx ctx;
	struct graph graph;
	struct seen *seen;
	struct plan plan;
	struct journal *journal;
	struct events *events;
	struct strv notes; /* what people should know beside the plan */
	uint64_t started_ms, deadline_ms;
};
#define auto_session __attribute__((cleanup(session_close)))

/* Locks the set and opens journal and events. fleet NULL: only records count. */
int session_open(const struct host *host, const struct fleet *fleet, const char *set_name,
		 const char *command, const struct reconcile_options *options, struct session *ret,
		 struct err *err);
/* The same without lock, journal, events: nothing is changed. */
int session_open_readonly(const struct host *host, const struct fleet *fleet, const char *set_name,
			  const struct reconcile_options *options, struct session *ret,
			  struct err *err);
void session_close(struct session *run);

/* Graph, observation: run->graph and run->seen. */
int session_observe(struct session *run, struct buf *skipped, struct err *err);
/* The run ends before its first step: events and journal say why, and a set that was made for it
 * goes again. session_close() does it for a run whose journal is still open. */
void session_refuse(struct session *run, const struct err *why);
/* Executes run->plan; the result's sentence and class go to err. */
int session_execute(struct session *run, struct execute_result *ret, struct err *err);

#endif
