#include "op_resume.h"

#include <errno.h>
#include <stdlib.h>

#include "container.h"
#include "gates.h"
#include "health.h"
#include "identity.h"
#include "io.h"
#include "logs.h"
#include "op_hooks.h"
#include "op_shutdown.h"
#include "volume_host.h"
#include "volumes.h"
#include "xalloc.h"

struct resume {
	struct agent *agent;
	struct control_request req;
	struct proto_resume id;
	uint64_t started_ms;
};

/* The one that waits for health, NULL when none does. */
static struct resume *waiting;

static void finish(struct resume *r, int code, const char *text)
{
	if (waiting == r) {
		waiting = NULL;
		health_when_healthy(r->agent, NULL, NULL);
	}
	control_reply(r->agent, &r->req, code, text);
	explicit_bzero(r->id.entropy, sizeof(r->id.entropy));
	proto_resume_free(&r->id);
	free(r);
}

static void passed(struct resume *r, const char *gate)
{
	control_event_gate(r->agent, gate, now_ms() - r->started_ms);
}

static void on_healthy(void *data)
{
	struct resume *r = data;

	passed(r, "health");
	finish(r, 0, "");
}

static void on_hooks(void *data, int code, const char *text)
{
	struct resume *r = data;

	if (code < 0) {
		finish(r, code, text);
		return;
	}
	passed(r, "hooks");
	if (container_state(r->agent) == CONTAINER_NONE) {
		finish(r, 0, "");
		return;
	}
	if (container_state(r->agent) == CONTAINER_EXITED) {
		finish(r, -ESRCH, "the container has ended");
		return;
	}
	waiting = r;
	if (r->id.has_health)
		health_set(r->agent, &r->id.health);
	else
		health_begin(r->agent);
	if (waiting == r)
		health_when_healthy(r->agent, on_healthy, r);
}

void op_resume_container_ended(struct agent *agent)
{
	(void)agent;
	if (waiting)
		finish(waiting, -ESRCH, "the container ended before it was healthy");
}

/* --- gates that need no waiting ----------------------------------------------------------------
 */

static int do_clock(struct resume *r, struct err *err)
{
	/* Two hosts' clocks in one test would be one too many. */
	return r->agent->machine ? gate_clock(r->id.unix_now_ns, err) : 0;
}

static int do_entropy(struct resume *r, struct err *err)
{
	return r->agent->machine ? gate_entropy(r->id.entropy, r->id.entropy_len, err) : 0;
}

static int do_identity(struct resume *r, struct err *err)
{
	return identity_apply(r->agent, &r->id, err);
}

static int do_sockets(struct resume *r, struct err *err)
{
	return r->agent->machine ? gate_sockets(err) : 0;
}

static int do_network(struct resume *r, struct err *err)
{
	if (r->id.mtu > 65535)
		return err_set(err, ERR_GUEST, -EINVAL, "MTU is over 65535");
	return r->agent->machine ? gate_network((uint32_t)r->id.mtu, err) : 0;
}

static const struct {
	const char *name;
	int (*pass)(struct resume *r, struct err *err);
} gates[] = {
	{"clock", do_clock},     {"entropy", do_entropy}, {"identity", do_identity},
	{"sockets", do_sockets}, {"network", do_network},
};

static int pass_gates(struct resume *r, struct err *err)
{
	for (size_t i = 0; i < sizeof(gates) / sizeof(gates[0]); i++) {
		int code = gates[i].pass(r, err);

		if (code < 0)
			return err_wrap(err, "gate %s", gates[i].name);
		passed(r, gates[i].name);
	}
	return 0;
}

/* No instruction of the workload runs before its files are there. */
static void on_volumes(void *data, int code, const char *text)
{
	struct resume *r = data;
	struct err err = {0};

	if (op_shutdown_under_way()) {
		finish(r, -ECANCELED, "the guest is shutting down");
		return;
	}
	if (code >= 0) {
		passed(r, "volumes");
		code = container_thaw(r->agent, &err);
	} else {
		(void)err_set(&err, ERR_GUEST, code, "gate volumes: %s", text);
	}
	if (code < 0)
		finish(r, code, err.msg);
	else
		hooks_run(r->agent, "on_clone", &r->id.hooks, on_hooks, r);
}

/* Disks at once, host directories when their servers answer. */
static void begin_volumes(struct resume *r)
{
	struct err err = {0};
	int code = volumes_apply(r->agent, &r->id.volumes, &err);

	if (code < 0)
		on_volumes(r, code, err.msg);
	else
		volume_host_await(r->agent, on_volumes, r);
}

void op_resume(struct agent *agent, const struct control_request *req, struct proto_resume *id)
{
	struct resume *r = xcalloc(1, sizeof(*r));
	struct err err = {0};

	r->agent = agent;
	r->req = *req;
	r->id = *id;
	*id = (struct proto_resume){0};
	r->started_ms = now_ms();
	if (waiting)
		finish(waiting, -ECANCELED, "another resume began");
	logs_clear(agent);
	int code = pass_gates(r, &err);
	if (code < 0)
		finish(r, code, err.msg);
	else
		begin_volumes(r);
}
