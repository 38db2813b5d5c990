#include "vmstate.h"

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "json.h"
#include "utf8.h"
#include "xalloc.h"

#include <stdio.h>
#include <unistd.h>

static const char *const run_names[] = {
	[RUN_CREATING] = "creating", [RUN_RUNNING] = "running", [RUN_READY] = "ready",
	[RUN_STOPPED] = "stopped",   [RUN_FAILED] = "failed",   [RUN_LOST] = "lost",
};

static const char *const health_names[] = {
	[HEALTH_NONE] = "none",
	[HEALTH_STARTING] = "starting",
	[HEALTH_HEALTHY] = "healthy",
	[HEALTH_UNHEALTHY] = "unhealthy",
};

static const char *const ended_names[] = {
	[ENDED_NOT] = NULL,
	[ENDED_EXITED] = "exited",
	[ENDED_POWEROFF] = "poweroff",
	[ENDED_REQUESTED] = "requested",
	[ENDED_REAPED] = "reaped",
	[ENDED_CRASHED] = "crashed",
	[ENDED_MEMSERVER] = "memserver",
};

#define TO(r) (1u << (r))
#define TO_END (TO(RUN_STOPPED) | TO(RUN_FAILED) | TO(RUN_LOST))

/* Which steps exist. Ready and running change places: a clone that is restored again is creating
 * first, so nobody sees a "ready" that belongs to the VM before. What waits to be restarted can be
 * stopped. */
static const unsigned int moves[] = {
	[RUN_CREATING] = TO(RUN_RUNNING) | TO_END,
	[RUN_RUNNING] = TO(RUN_READY) | TO_END,
	[RUN_READY] = TO(RUN_RUNNING) | TO_END,
	[RUN_STOPPED] = TO(RUN_CREATING),
	[RUN_FAILED] = TO(RUN_CREATING) | TO(RUN_STOPPED),
	[RUN_LOST] = TO(RUN_CREATING) | TO(RUN_STOPPED),
};

const char *vmstate_run_name(enum vm_run run)
{
	return run_names[run];
}

bool vmstate_move(struct vmstate *s, enum vm_run to)
{
	if (s->run == to)
		return true;
	if (!(moves[s->run] & TO(to)))
		return false;
	s->run = to;
	return true;
}

void vmstate_free(struct vmstate *s)
{
	free(s->path);
	free(s->snapshot);
	free(s->backend);
	free(s->container);
	free(s->error);
	strv_free(&s->boot_retries);
	*s = (struct vmstate){0};
}

void vmstate_gate(struct vmstate *s, const char *name, uint64_t ms)
{
	size_t i = 0;

	while (i < s->n_gates && strncmp(s->gates[i].name, name, sizeof(s->gates[i].name) - 1) != 0)
		i++;
	if (i == VMSTATE_GATES_MAX)
		return;
	if (i == s->n_gates)
		s->n_gates++;
	(void)snprintf(s->gates[i].name, sizeof(s->gates[i].name), "%s", name);
	s->gates[i].ms = ms;
}

void vmstate_set_text(char **at, const char *text)
{
	char *copy = text ? xstrdup(text) : NULL;

	free(*at);
	*at = copy;
}

void vmstate_set_error(struct vmstate *s, const char *msg)
{
	auto_free char *clean = msg ? utf8_clean(msg) : NULL;

	vmstate_set_text(&s->error, clean);
}

void vmstate_reset(struct vmstate *s)
{
	s->n_gates = 0;
	s->ready_ms = 0;
	s->exit_code = -1;
	s->health = HEALTH_NONE;
	s->ended = ENDED_NOT;
	s->vmm = (struct proc_id){0};
	s->serve_pid = 0;
	vmstate_set_error(s, NULL);
}

static struct json_object *proc_json(const struct proc_id *p)
{
	struct json_object *o = json_object_new_object();

	json_add_u64(o, "pid", (uint64_t)p->pid);
	json_add_u64(o, "start_time", p->start_time);
	json_add_str(o, "boot_id", p->boot_id);
	return o;
}

static struct json_object *gates_json(const struct vmstate *s)
{
	struct json_object *o = json_object_new_object();

	for (size_t i = 0; i < s->n_gates; i++)
		json_add_u64(o, s->gates[i].name, s->gates[i].ms);
	return o;
}

static void add_u64_or_null(struct json_object *o, const char *key, bool known, uint64_t v)
{
	json_add(o, key, known ? json_object_new_uint64(v) : NULL);
}

static void add_times(struct json_object *o, const struct vmstate *s)
{
	char at[IO_TIME_SIZE];

	io_time_rfc3339(s->created_at, at);
	json_add_str(o, "created_at", at);
	add_u64_or_null(o, "ready_ms", s->ready_ms > 0, s->ready_ms);
	json_add(o, "gates", gates_json(s));
}

/* Text that is there and of a VM that is. */
static void add_place(struct json_object *o, const char *key, bool alive, const char *text)
{
	json_add_str(o, key, alive && text[0] ? text : NULL);
}

static void add_network(struct json_object *o, const struct net_view *net, bool alive)
{
	static const struct net_view none;
	const struct net_view *v = net ? net : &none;

	json_add_str(o, "network", net ? net_mode_name(net->mode) : NULL);
	add_place(o, "ip", alive, v->ip);
	add_place(o, "loopback", alive, v->loopback);
	json_add(o, "ports", net_ports_json(alive ? v : &none));
}

struct json_object *vmstate_to_json(const struct vmstate *s)
{
	struct json_object *o = json_object_new_object();
	bool alive = s->vmm.pid > 0;

	json_add_u64(o, "proto", SUPERVISE_PROTO_VERSION);
	json_add_str(o, "vm_id", s->vm_id);
	json_add_str(o, "engine", s->engine);
	json_add_str(o, "accel", !s->has_accel ? NULL : s->accel == VM_ACCEL_KVM ? "kvm" : "tcg");
	json_add_str(o, "state", run_names[s->run]);
	json_add_str(o, "health", health_names[s->health]);
	add_u64_or_null(o, "pid", alive, (uint64_t)s->vmm.pid);
	add_u64_or_null(o, "pid_start", alive, s->vmm.start_time);
	json_add(o, "supervisor", proc_json(&s->self));
	json_add_u64(o, "uid", s->uid);
	json_add_str(o, "snapshot", s->snapshot);
	json_add_str(o, "backend", s->backend);
	add_u64_or_null(o, "serve_pid", s->serve_pid > 0, (uint64_t)s->serve_pid);
	json_add_str(o, "container", s->container);
	add_times(o, s);
	add_u64_or_null(o, "exit_code", s->exit_code >= 0, (uint64_t)s->exit_code);
	json_add_u64(o, "restarts", s->restarts);
	add_network(o, s->net, alive);
	json_add_str(o, "ended", ended_names[s->ended]);
	json_add_str(o, "error", s->error);
	json_add(o, "boot_retries", json_strv(&s->boot_retries));
	return o;
}

void vmstate_add_event(const struct vmstate *s, struct json_object *o)
{
	json_add_str(o, "state", run_names[s->run]);
	json_add_str(o, "health", health_names[s->health]);
	json_add_u64(o, "restarts", s->restarts);
	if (s->ended == ENDED_NOT)
		return;
	json_add_str(o, "ended", ended_names[s->ended]);
	add_u64_or_null(o, "exit_code", s->exit_code >= 0, (uint64_t)s->exit_code);
	json_add_str(o, "error", s->error);
}

/* Nothing it says outlives this boot of the host, and a clone writes it ten times on its way up. */
int vmstate_save(const struct vmstate *s, struct err *err)
{
	auto_json struct json_object *o = vmstate_to_json(s);
	const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY);

	return file_replace_locked(s->path, text, strlen(text), false, err);
}
