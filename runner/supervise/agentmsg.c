#include "agentmsg.h"

#include "io.h"
#include "proto_workload.h"

#include <sys/random.h>

/* The views below borrow every pointer: they are never freed. */

static struct proto_health view_health(const struct health_spec *h)
{
	return (struct proto_health){
		.http = h->http,
		.tcp = h->tcp,
		.exec = h->exec,
		.interval_ms = h->interval_ms,
		.start_interval_ms = h->start_interval_ms,
		.timeout_ms = h->timeout_ms,
		.start_period_ms = h->start_period_ms,
		.retries = h->retries,
	};
}

void agentmsg_health(struct buf *out, const struct health_spec *h)
{
	struct proto_health view = view_health(h);

	proto_put_health(out, &view);
}

void agentmsg_workload(struct buf *out, const struct workload *w)
{
	struct proto_container view = {
		.name = w->name,
		.image = w->image,
		.store = w->store_serial,
		.entrypoint = w->entrypoint,
		.command = w->command,
		.env = w->environment,
		.user = w->user,
		.cwd = w->workdir,
		.health = view_health(&w->health),
	};

	proto_put_container(out, &view);
}

static struct proto_hook view_hook(const struct hook *h)
{
	return (struct proto_hook){
		.container = h->container, .argv = h->argv, .timeout_ms = h->timeout_ms};
}

void agentmsg_hooks(struct buf *out, const struct hook *h, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct proto_hook view = view_hook(&h[i]);

		proto_put_hook(out, &view);
	}
}

void agentmsg_identity_draw(struct agentmsg_identity *ret)
{
	char uuid[37];
	size_t n = 0;

	io_uuid(ret->epoch);
	io_uuid(ret->boot_id);
	io_uuid(uuid);
	for (size_t i = 0; uuid[i] && n < 32; i++)
		if (uuid[i] != '-')
			ret->machine_id[n++] = uuid[i];
	ret->machine_id[n] = '\0';
	if (getrandom(ret->entropy, sizeof(ret->entropy), 0) != (ssize_t)sizeof(ret->entropy))
		abort();
}

static struct proto_volume view_volume(const struct volume_mount *m)
{
	static char kinds[][8] = {[VOLUME_HOST] = "host", [VOLUME_DISK] = "disk"};
	static char none[] = "";

	return (struct proto_volume){
		.name = m->name,
		.kind = kinds[m->type],
		.target = m->target,
		/* Where a host directory lies is not the guest's business. */
		.source = m->type == VOLUME_DISK ? m->source : none,
		/* Whether a host directory may be written to its server decides: a clone's may say
		 * otherwise than the one its guest was snapshotted with. */
		.read_only = m->type == VOLUME_DISK && m->read_only,
		.trusted = m->trust == VOLUME_FULL,
	};
}

void agentmsg_resume(struct buf *out, const struct agentmsg_resume *r)
{
	struct proto_resume view = {
		.epoch = r->id->epoch,
		.unix_now_ns = r->unix_ns,
		.entropy_len = sizeof(r->id->entropy),
		.hostname = r->hostname,
		.machine_id = r->id->machine_id,
		.boot_id = r->id->boot_id,
		.mtu = r->mtu,
		.metadata = r->metadata,
	};

	memcpy(view.entropy, r->id->entropy, sizeof(r->id->entropy));
	if (r->health) {
		view.has_health = true;
		view.health = view_health(r->health);
	}
	proto_put_resume(out, &view);
	for (size_t i = 0; r->volumes && i < r->volumes->n; i++) {
		struct proto_volume v = view_volume(&r->volumes->v[i]);

		proto_put_volume(out, &v);
	}
	agentmsg_hooks(out, r->hooks, r->n_hooks);
}
