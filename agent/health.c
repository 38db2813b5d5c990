#include "health.h"

#include <stdlib.h>

#include "cleanup.h"
#include "container.h"
#include "control.h"
#include "health_probe.h"
#include "health_state.h"
#include "io.h"
#include "status.h"
#include "xalloc.h"

struct health {
	struct agent *agent;
	struct proto_health spec;
	struct health_state state;
	bool running; /* probing, or healthy for want of a check */
	struct probe *probe;
	struct loop_source timer;
	char *output;
	void (*when)(void *data);
	void *when_data;
};

int health_new(struct agent *agent, struct err *err)
{
	(void)err;
	agent->health = xcalloc(1, sizeof(*agent->health));
	agent->health->agent = agent;
	return 0;
}

void health_free(struct agent *agent)
{
	struct health *h = agent->health;

	if (!h)
		return;
	health_pause(agent);
	proto_health_free(&h->spec);
	free(h->output);
	free(h);
	agent->health = NULL;
}

static struct health_times times_of(const struct proto_health *spec)
{
	return (struct health_times){.interval_ms = spec->interval_ms,
				     .start_interval_ms = spec->start_interval_ms,
				     .start_period_ms = spec->start_period_ms,
				     .retries = spec->retries};
}

void health_announce(struct agent *agent)
{
	struct health *h = agent->health;

	if (!h->running || !proto_health_has_check(&h->spec))
		return;
	control_event_health(agent, container_name(agent), health_kind_name(h->state.kind),
			     h->output);
}

static void tell_healthy(struct health *h)
{
	void (*when)(void *data) = h->when;

	h->when = NULL;
	status_ready(h->agent);
	if (when)
		when(h->when_data);
}

static void start_probe(struct health *h);

static void on_result(void *data, bool ok, const char *output)
{
	struct health *h = data;
	struct health_times times = times_of(&h->spec);

	h->probe = NULL;
	free(h->output);
	h->output = xstrdup(output);
	bool changed = health_state_result(&h->state, &times, ok, now_ms());
	if (changed)
		health_announce(h->agent);
	if (changed && h->state.kind == HEALTH_HEALTHY)
		tell_healthy(h);
}

static void on_timer(struct loop *loop, struct loop_source *src, uint32_t events)
{
	(void)loop;
	(void)events;
	start_probe(src->data);
}

static void schedule(struct health *h)
{
	struct health_times times = times_of(&h->spec);

	(void)loop_timer(h->agent->loop, &h->timer, health_state_delay_ms(&h->state, &times), 0,
			 on_timer, h, NULL);
}

static void on_probe_done(void *data, bool ok, const char *output)
{
	struct health *h = data;

	on_result(h, ok, output);
	/* The result's listeners may have paused or restarted us. */
	if (h->running && !h->probe && proto_health_has_check(&h->spec))
		schedule(h);
}

static void start_probe(struct health *h)
{
	struct err err = {0};

	if (h->probe)
		return;
	if (probe_start(h->agent, container_name(h->agent), &h->spec, on_probe_done, h, &h->probe,
			&err) < 0)
		on_probe_done(h, false, err.msg);
}

void health_pause(struct agent *agent)
{
	struct health *h = agent->health;

	h->running = false;
	loop_remove(agent->loop, &h->timer);
	if (h->probe)
		probe_abandon(TAKE_PTR(h->probe));
}

void health_begin(struct agent *agent)
{
	struct health *h = agent->health;

	health_pause(agent);
	if (container_state(agent) != CONTAINER_STARTED)
		return;
	h->running = true;
	health_state_start(&h->state, now_ms());
	free(TAKE_PTR(h->output));
	if (!proto_health_has_check(&h->spec)) {
		h->state.kind = HEALTH_HEALTHY;
		tell_healthy(h);
		return;
	}
	health_announce(agent);
	start_probe(h);
}

void health_set(struct agent *agent, struct proto_health *spec)
{
	struct health *h = agent->health;

	health_pause(agent);
	proto_health_free(&h->spec);
	h->spec = *spec;
	*spec = (struct proto_health){0};
	health_begin(agent);
}

void health_when_healthy(struct agent *agent, void (*fn)(void *data), void *data)
{
	struct health *h = agent->health;

	h->when = fn;
	h->when_data = data;
	if (fn && h->running && h->state.kind == HEALTH_HEALTHY)
		tell_healthy(h);
}
