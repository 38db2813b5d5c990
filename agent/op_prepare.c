#include "op_prepare.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "container.h"
#include "health.h"
#include "logs.h"
#include "op_hooks.h"
#include "op_shutdown.h"
#include "xalloc.h"

struct prepare {
	struct agent *agent;
	struct control_request req;
	uint64_t settle_ms;
	bool thawed; /* before there was a freeze: it must not come any more */
	struct loop_source timer;
	struct child sync;
};

/* Two at once would thaw each other's freeze. */
static struct prepare *under_way;

static void finish(struct prepare *p, int code, const char *text)
{
	under_way = NULL;
	control_reply(p->agent, &p->req, code, text);
	free(p);
}

/* The workload goes on as if nothing had been asked. */
static void give_up(struct prepare *p, int code, const char *text)
{
	struct agent *agent = p->agent;

	finish(p, code, text);
	(void)op_thaw(agent, NULL);
}

/* Meanwhile the workload was told to go on, or to end: neither can be done standing still. */
static bool called_off(const struct prepare *p)
{
	return p->thawed || op_shutdown_under_way();
}

static void cancel(struct prepare *p)
{
	if (op_shutdown_under_way())
		finish(p, -ESHUTDOWN, "the guest is shutting down");
	else
		finish(p, -ECANCELED, "the workload was thawed meanwhile");
}

static void on_frozen(void *data, int r)
{
	struct prepare *p = data;

	if (r == -ECANCELED) {
		cancel(p);
		return;
	}
	if (r < 0) {
		give_up(p, r, "the container's processes did not freeze in time");
		return;
	}
	logs_drain(p->agent);
	finish(p, 0, "");
}

static void on_synced(void *data, const struct child_end *end)
{
	struct prepare *p = data;
	struct err err = {0};

	(void)end;
	if (called_off(p)) {
		cancel(p);
		return;
	}
	health_pause(p->agent);
	int r = container_freeze(p->agent, on_frozen, p, &err);
	if (r < 0)
		give_up(p, r, err.msg);
}

static int run_sync(void *data)
{
	(void)data;
	sync();
	return 0;
}

/* In a child: sync waits for the disk as long as it takes. */
static void start_sync(struct prepare *p)
{
	struct child_spec spec = {.in = -1, .out = -1, .err = -1, .run = run_sync};
	struct err err = {0};
	int r = child_spawn(&p->agent->children, &spec, &p->sync, on_synced, p, &err);

	if (r < 0)
		finish(p, r, err.msg);
}

static void on_settled(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct prepare *p = src->data;

	(void)events;
	loop_remove(loop, src);
	if (called_off(p))
		cancel(p);
	else
		start_sync(p);
}

static void on_hooks(void *data, int code, const char *text)
{
	struct prepare *p = data;
	struct err err = {0};

	if (code < 0) {
		finish(p, code, text);
		return;
	}
	if (called_off(p)) {
		cancel(p);
		return;
	}
	if (!p->settle_ms) {
		start_sync(p);
		return;
	}
	int r = loop_timer(p->agent->loop, &p->timer, p->settle_ms, 0, on_settled, p, &err);
	if (r < 0)
		finish(p, r, err.msg);
}

void op_prepare(struct agent *agent, const struct control_request *req, struct proto_hooks *hooks,
		uint64_t settle_ms)
{
	if (under_way) {
		control_reply(agent, req, -EBUSY, "the guest is being prepared already");
		return;
	}
	struct prepare *p = xcalloc(1, sizeof(*p));
	under_way = p;
	p->agent = agent;
	p->req = *req;
	p->settle_ms = settle_ms;
	hooks_run(agent, "prepare", hooks, on_hooks, p);
}

int op_thaw(struct agent *agent, struct err *err)
{
	int r = container_thaw(agent, err);

	if (under_way)
		under_way->thawed = true;
	if (r == 0)
		health_begin(agent);
	return r;
}
