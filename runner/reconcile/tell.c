#include <string.h>

#include "cleanup.h"
#include "exec.h"
#include "io.h"
#include "plan_print.h"

static struct json_object *event(struct exec *e, const char *type, size_t step)
{
	auto_free char *address = exec_address(e, step);
	struct json_object *o = events_new(e->x->events, type);

	json_add_str(o, "resource", address);
	json_add_str(o, "action", plan_action_name(e->x->plan->steps[step].action));
	return o;
}

/* The members that every resource_* event has. */
static struct json_object *resource_event(struct exec *e, const char *type, size_t step,
					  uint64_t elapsed_ms)
{
	auto_free char *reason = plan_reason_text(e->x->g, &e->x->plan->steps[step]);
	struct json_object *o = event(e, type, step);

	json_add_str(o, "reason", reason);
	json_add_u64(o, "elapsed_ms", elapsed_ms);
	json_add_u64(o, "attempt", 1);
	return o;
}

void tell_start(struct exec *e, size_t step, uint64_t now_ms)
{
	if (e->x->progress)
		progress_start(e->x->progress, step, now_ms);
	if (e->x->events)
		events_emit(e->x->events, resource_event(e, "resource_start", step, 0));
}

void tell_say(struct exec *e, size_t step, const char *text, uint64_t started_ms)
{
	if (e->x->progress)
		progress_say(e->x->progress, step, text);
	if (!e->x->events)
		return;
	struct json_object *o = resource_event(e, "resource_progress", step, now_ms() - started_ms);
	json_add_str(o, "text", text);
	events_emit(e->x->events, o);
}

/* A boot that had to be tried again is never silent (decisions 25). */
static void tell_retries(struct exec *e, size_t step, struct json_object *record,
			 uint64_t elapsed_ms)
{
	struct json_object *list = NULL;

	if (!record || !json_object_object_get_ex(record, "boot_retries", &list) ||
	    !json_object_is_type(list, json_type_array))
		return;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *o = resource_event(e, "resource_retry", step, elapsed_ms);

		json_add_str(o, "reason",
			     json_object_get_string(json_object_array_get_idx(list, i)));
		json_add_u64(o, "attempt", i + 2);
		events_emit(e->x->events, o);
	}
}

static void tell_ready(struct exec *e, size_t step, struct json_object *record)
{
	struct json_object *gates = record ? json_opt_obj(record, "gates") : NULL;

	if (!gates)
		return;
	struct json_object *o = event(e, "ready", step);
	json_add(o, "gates", json_object_get(gates));
	json_add_u64(o, "ready_ms", json_opt_u64(record, "ready_ms", 0));
	events_emit(e->x->events, o);
}

/* Also by an update of a VM that had ended meanwhile. */
static bool made_one(const struct exec *e, size_t step, const struct step_result *result)
{
	const struct step *s = &e->x->plan->steps[step];
	struct json_object *was = e->x->seen[s->node].record;

	if (!result->ok || s->verb != VERB_UPDATE)
		return result->ok && s->verb == VERB_CREATE;
	return strcmp(json_opt_str(result->record, "vm_id", ""), json_opt_str(was, "vm_id", "")) !=
	       0;
}

void tell_end(struct exec *e, size_t step, const struct step_result *result, uint64_t started_ms)
{
	if (e->x->progress)
		progress_end(e->x->progress, step, now_ms(), result->ok ? NULL : result->err.msg);
	if (!e->x->events)
		return;
	uint64_t elapsed_ms = now_ms() - started_ms;
	if (made_one(e, step, result)) {
		tell_retries(e, step, result->record, elapsed_ms);
		tell_ready(e, step, result->record);
	}
	struct json_object *o = resource_event(e, result->ok ? "resource_done" : "resource_failed",
					       step, elapsed_ms);
	if (!result->ok)
		json_add_str(o, "error", result->err.msg);
	events_emit(e->x->events, o);
}

void tell_note(struct exec *e, const char *text)
{
	if (e->x->progress)
		progress_note(e->x->progress, text);
}
