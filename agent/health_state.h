/* health_state.h - when to probe and what the results mean; pure, times are passed in.
 *
 * Until the first success the state is `starting` and probes come every start_interval. Failures
 * count from the end of start_period on, and only when a start_period was given: without one a
 * slow start is just slow. After that, probes come every interval and `retries` failures in a row
 * make it unhealthy; one success makes it healthy again. */
#ifndef FCVM_AGENT_HEALTH_STATE_H
#define FCVM_AGENT_HEALTH_STATE_H

#include <stdbool.h>
#include <stdint.h>

enum health_kind { HEALTH_STARTING, HEALTH_HEALTHY, HEALTH_UNHEALTHY };

struct health_times {
	uint64_t interval_ms, start_interval_ms, start_period_ms, retries;
};

struct health_state {
	enum health_kind kind;
	uint64_t started_ms;
	uint64_t failures; /* in a row */
	bool succeeded;    /* ever */
};

void health_state_start(struct health_state *s, uint64_t now_ms);
/* True when kind changed. */
bool health_state_result(struct health_state *s, const struct health_times *t, bool ok,
			 uint64_t now_ms);
uint64_t health_state_delay_ms(const struct health_state *s, const struct health_times *t);
const char *health_kind_name(enum health_kind kind);

#endif
