#include "health_state.h"

void health_state_start(struct health_state *s, uint64_t now_ms)
{
	*s = (struct health_state){.kind = HEALTH_STARTING, .started_ms = now_ms};
}

static bool failure_counts(const struct health_state *s, const struct health_times *t,
			   uint64_t now_ms)
{
	if (s->succeeded)
		return true;
	return t->start_period_ms > 0 && now_ms - s->started_ms >= t->start_period_ms;
}

bool health_state_result(struct health_state *s, const struct health_times *t, bool ok,
			 uint64_t now_ms)
{
	enum health_kind before = s->kind;

	if (ok) {
		s->succeeded = true;
		s->failures = 0;
		s->kind = HEALTH_HEALTHY;
	} else if (failure_counts(s, t, now_ms) && ++s->failures >= t->retries) {
		s->kind = HEALTH_UNHEALTHY;
	}
	return s->kind != before;
}

uint64_t health_state_delay_ms(const struct health_state *s, const struct health_times *t)
{
	return s->succeeded ? t->interval_ms : t->start_interval_ms;
}

const char *health_kind_name(enum health_kind kind)
{
	static const char *const names[] = {"starting", "healthy", "unhealthy"};

	return names[kind];
}
