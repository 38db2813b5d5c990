#include "op_shutdown.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "container.h"
#include "logs.h"
#include "volume_host.h"
#include "xalloc.h"

/* Long enough for the reply to leave through the port, and no peer can make it longer. */
#define REPLY_MS 50
/* Longer than any supervisor needs that reads at all, shorter than it waits for our end. */
#define LOGS_MS 1500

struct down {
	struct agent *agent;
	struct control_request req;
	struct child sync;
	unsigned int waiting; /* for the disks and for the logs */
	struct loop_source timer;
};

static struct down *under_way;

static void on_power(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct down *d = src->data;
	bool machine = d->agent->machine;

	(void)events;
	loop_remove(loop, src);
	free(d);
	under_way = NULL;
	if (machine)
		(void)reboot(RB_AUTOBOOT);
	loop_stop(loop, 0);
}

static void step_done(void *data)
{
	struct down *d = data;

	if (--d->waiting > 0)
		return;
	control_reply(d->agent, &d->req, 0, "");
	if (loop_timer(d->agent->loop, &d->timer, REPLY_MS, 0, on_power, d, NULL) < 0)
		on_power(d->agent->loop, &d->timer, 0);
}

static void on_synced(void *data, const struct child_end *end)
{
	(void)end;
	step_done(data);
}

/* A file system left clean: the upper layer of / keeps the disk from being unmounted, but
 * read-only is as good. */
static int run_sync(void *data)
{
	const struct agent *agent = data;

	sync();
	volume_host_unmount(agent);
	if (agent->machine)
		(void)mount(NULL, AGENT_DATA_DIR, NULL, MS_REMOUNT | MS_RDONLY, NULL);
	return 0;
}

/* What the container said last may lie in our ring or wait for the host's credit: the power goes
 * when the supervisor has it. */
static void on_stopped(void *data)
{
	struct down *d = data;
	struct child_spec spec = {
		.in = -1, .out = -1, .err = -1, .run = run_sync, .run_data = d->agent};

	d->waiting = 2;
	if (child_spawn(&d->agent->children, &spec, &d->sync, on_synced, d, NULL) < 0)
		step_done(d);
	logs_finish(d->agent, LOGS_MS, step_done, d);
}

void op_shutdown(struct agent *agent, const struct control_request *req, uint64_t grace_ms)
{
	if (under_way) {
		control_reply(agent, req, -EALREADY, "the guest is shutting down already");
		return;
	}
	under_way = xcalloc(1, sizeof(*under_way));
	under_way->agent = agent;
	under_way->req = *req;
	container_stop(agent, grace_ms, on_stopped, under_way);
}

bool op_shutdown_under_way(void)
{
	return under_way;
}
