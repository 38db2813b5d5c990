/* bringup.c - a VM on its way up: the VMM runs -> the channel answers -> hello -> identity ->
 * workload -> ready. The same road for a first boot, a clone and every restart of one. */
#include "super.h"

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "parse.h"
#include "proto.h"
#include "tlv.h"
#include "xalloc.h"

#include <errno.h>
#include <unistd.h>

#define RESTORE_MS 120000
#define STEP_MS 60000

void bringup_spec_free(struct bringup_spec *l)
{
	vm_config_free(&l->config);
	workload_free(&l->workload);
	free(l->hostname);
	free(l->metadata);
	free(l->snapshot_dir);
	free(l->backend);
	free(l->memserver);
	hooks_free(l->hooks, l->n_hooks);
	net_config_free(&l->net);
	volume_list_free(&l->volumes);
	*l = (struct bringup_spec){0};
}

static uint64_t since_launch(const struct super *s)
{
	uint64_t ms = now_ms() - s->launch_ms;

	return ms ? ms : 1;
}

void bringup_fail(struct super *s, const struct err *why)
{
	s->launching = false;
	if (s->launch_req)
		ctl_fail(s->launch_req, why);
	s->launch_req = NULL;
}

static void answer(struct super *s)
{
	s->launching = false;
	loop_remove(s->loop, &s->launch_timer);
	if (s->launch_req)
		ctl_reply(s->launch_req, vmstate_to_json(&s->st));
	s->launch_req = NULL;
}

__attribute__((format(printf, 3, 4))) static void fail(struct super *s, int code, const char *fmt,
						       ...)
{
	auto_buf struct buf text = BUF_INIT(1024);
	struct err err = {0};
	va_list ap;

	/* Of the stop's making: that has its timer, and its own word for the end. */
	if (s->stopping)
		return;
	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	(void)err_set(&err, code == -ETIMEDOUT ? ERR_NOT_READY : ERR_GUEST, code, "%s",
		      buf_str(&text));
	super_end(s, ENDED_CRASHED, &err);
}

/* How long the way up may take; a boot's clock stops once the agent answers. */
static uint64_t limit_ms(const struct super *s)
{
	if (!s->launch.restore)
		return s->boot_ms;
	return s->launch.timeout_ms ? s->launch.timeout_ms : RESTORE_MS;
}

static void on_deadline(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct super *s = src->data;
	auto_free char *tail = vmlogs_console_tail(s->logs);

	(void)loop;
	(void)events;
	/* Its end is on its way, and says more. */
	if (s->ending != ENDED_NOT)
		return;
	if (!s->hello_done && boot_retry(s)) {
		super_take_down(s);
		bringup_begin(s);
	} else if (!s->hello_done) {
		fail(s, -ETIMEDOUT,
		     "the guest's agent did not answer in time; the console ends "
		     "with: %s",
		     tail[0] ? tail : "(nothing)");
	} else {
		fail(s, -ETIMEDOUT, "not ready in time; the last probe said: %s",
		     s->probe_text[0] ? s->probe_text : "(nothing)");
	}
}

/* --- ready ---------------------------------------------------------------------------------- */

static bool is_ready(const struct super *s)
{
	if (!s->resumed || (s->launching && !s->launch.restore))
		return false;
	if (!s->launch.has_workload)
		return true;
	return s->container_started &&
	       (s->st.health == HEALTH_NONE || s->st.health == HEALTH_HEALTHY);
}

static void note_ready(struct super *s)
{
	(void)vmstate_move(&s->st, RUN_READY);
	if (s->st.ready_ms == 0) {
		s->st.ready_ms = since_launch(s);
		/* Of what runs in the snapshot already, the agent says it. */
		if (s->launch.has_workload && !s->launch.workload_in_snapshot)
			vmstate_gate(&s->st, "health", since_launch(s));
	}
	s->ready_at_ms = now_ms();
}

static void check_ready(struct super *s)
{
	bool ready = is_ready(s), begins = ready && s->st.run == RUN_RUNNING;

	if (begins)
		note_ready(s);
	else if (!ready && s->st.run == RUN_READY)
		(void)vmstate_move(&s->st, RUN_RUNNING);
	super_save(s);
	if (begins && s->launching)
		answer(s);
	waits_check(s);
}

/* --- events --------------------------------------------------------------------------------- */

static void on_container(struct super *s, const struct agentlink_event *ev)
{
	if (strcmp(ev->state, "started") == 0) {
		s->container_started = true;
		check_ready(s);
		return;
	}
	if (strcmp(ev->state, "exited") != 0)
		return;
	s->st.exit_code = ev->exit_code < 0 ? 125 : ev->exit_code;
	if (ev->text[0])
		vmstate_set_error(&s->st, ev->text);
	super_save(s);
	if (!s->stopping)
		stop_after_logs(s);
}

static void on_health(struct super *s, const struct agentlink_event *ev)
{
	static const struct {
		const char *name;
		enum vm_health health;
	} states[] = {
		{"healthy", HEALTH_HEALTHY},
		{"unhealthy", HEALTH_UNHEALTHY},
		{"starting", HEALTH_STARTING},
	};

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		if (strcmp(ev->state, states[i].name) != 0)
			continue;
		s->st.health = states[i].health;
		(void)snprintf(s->probe_text, sizeof(s->probe_text), "%s", ev->text);
		check_ready(s);
		return;
	}
}

/* --- workload ------------------------------------------------------------------------------- */

static void on_workload(void *data, const struct agentlink_answer *a)
{
	struct super *s = data;

	if (a->over)
		return;
	if (a->code < 0) {
		fail(s, a->code, "the guest cannot start container '%s': %s",
		     s->launch.workload.name, a->text);
		return;
	}
	if (!s->launch.restore)
		answer(s);
	check_ready(s);
}

static void start_workload(struct super *s)
{
	auto_buf struct buf body = BUF_INIT(AGENTMSG_MAX);
	struct err err = {0};

	if (!s->launch.has_workload || s->launch.workload_in_snapshot) {
		const struct agentlink_answer done = {.text = ""};

		on_workload(s, &done);
		return;
	}
	if (healthspec_has_check(&s->launch.workload.health))
		s->st.health = HEALTH_STARTING;
	super_progress(s, "starting the container");
	agentmsg_workload(&body, &s->launch.workload);
	if (agentlink_request(s->link, MSG_WORKLOAD, &body, STEP_MS, on_workload, s, &err) < 0)
		super_end(s, ENDED_CRASHED, &err);
}

/* --- identity ------------------------------------------------------------------------------- */

static void on_resumed(void *data, const struct agentlink_answer *a)
{
	struct super *s = data;

	if (a->over)
		return;
	if (a->code < 0) {
		fail(s, a->code, "the guest did not take its identity: %s", a->text);
		return;
	}
	s->resumed = true;
	update_on_resumed(s);
	super_save(s);
	start_workload(s);
}

/* Booted VMs take the same road: their names and random bytes are not their image's either. */
static void send_identity(struct super *s)
{
	auto_buf struct buf body = BUF_INIT(AGENTMSG_MAX);
	struct agentmsg_identity id = {.epoch = ""};
	char unnamed[] = "fcvm";
	struct agentmsg_resume r = {
		.id = &id,
		.hostname = s->launch.hostname ? s->launch.hostname : unnamed,
		.metadata = s->launch.metadata,
		.health = s->launch.health_override ? &s->launch.workload.health : NULL,
		.mtu = s->launch.config.has_net ? net_mtu(s->net) : 0,
		.volumes = &s->launch.volumes,
		.hooks = s->launch.hooks,
		.n_hooks = s->launch.n_hooks,
	};
	struct err err = {0};

	agentmsg_identity_draw(&id);
	if (s->launch.workload_in_snapshot && healthspec_has_check(&s->launch.workload.health))
		s->st.health = HEALTH_STARTING;
	r.unix_ns = (uint64_t)s->host->unix_ms() * UINT64_C(1000000);
	agentmsg_resume(&body, &r);
	explicit_bzero(id.entropy, sizeof(id.entropy));
	s->resume_sent_ms = now_ms();
	if (agentlink_request(s->link, MSG_RESUME, &body, limit_ms(s) + STEP_MS, on_resumed, s,
			      &err) < 0)
		super_end(s, ENDED_CRASHED, &err);
}

/* --- hello ---------------------------------------------------------------------------------- */

static int open_logs(struct super *s, struct err *err)
{
	int fd = -1, r = vchan_open(s->chan, AGENT_PORT_LOGS, &fd, err);

	return r < 0 ? r : vmlogs_attach(s->logs, fd, err);
}

/* The VM has its identity: its snapshot has cost it every stream, and it wants to go on. */
static void on_linked_again(struct super *s)
{
	struct err err = {0};

	if (open_logs(s, &err) < 0) {
		super_end(s, ENDED_CRASHED, &err);
		return;
	}
	snap_on_synced(s);
	stop_on_linked(s);
}

static void on_hello(void *data, const struct agentlink_answer *a)
{
	struct super *s = data;
	struct err err = {0};

	if (a->over)
		return;
	if (a->code < 0) {
		fail(s, a->code, "the guest's agent refuses us: %s", a->text);
		return;
	}
	if (a->version != AGENT_PROTO_VERSION) {
		fail(s, -EPROTONOSUPPORT,
		     "the guest's agent speaks protocol %llu, this fcvm protocol %d: %s",
		     (unsigned long long)a->version, AGENT_PROTO_VERSION,
		     s->launch.restore ? "take the snapshot again" : "run fcvm setup");
		return;
	}
	s->hello_done = true;
	if (s->resumed) {
		on_linked_again(s);
		return;
	}
	if (!s->launch.restore)
		super_timer(s, &s->launch_timer, STEP_MS, on_deadline);
	vmstate_gate(&s->st, "agent", since_launch(s));
	(void)vmstate_move(&s->st, RUN_RUNNING);
	super_save(s);
	waits_check(s);
	if (open_logs(s, &err) < 0)
		super_end(s, ENDED_CRASHED, &err);
	else
		send_identity(s);
}

static void on_event(void *data, enum agent_msg msg, const struct agentlink_event *ev)
{
	struct super *s = data;

	if (msg == MSG_EVENT_CONTAINER)
		on_container(s, ev);
	else if (msg == MSG_EVENT_HEALTH)
		on_health(s, ev);
	else if (msg == MSG_EVENT_GATE && parse_is_name(ev->name))
		vmstate_gate(&s->st, ev->name, s->resume_sent_ms - s->launch_ms + ev->ms);
	else if (msg == MSG_EVENT_VOLUME)
		volset_want(s->volumes, s->chan, ev->name, ev->stream);
}

static void on_link_lost(void *data, const char *why)
{
	struct err err = {0};

	(void)err_set(&err, ERR_GUEST, -ECONNRESET, "the guest's agent is gone: %s", why);
	super_guest_lost(data, &err);
}

static const struct agentlink_ops link_ops = {.event = on_event, .lost = on_link_lost};

static int say_hello(struct super *s, struct err *err)
{
	auto_buf struct buf body = BUF_INIT(64);
	int fd = -1, r = vchan_open(s->chan, AGENT_PORT_CONTROL, &fd, err);

	if (r >= 0)
		r = agentlink_new(s->loop, fd, &link_ops, s, &s->link, err);
	if (r < 0)
		return r;
	tlv_put_u64(&body, TAG_VERSION, AGENT_PROTO_VERSION);
	return agentlink_request(s->link, MSG_HELLO, &body, SUPER_BOOT_MS, on_hello, s, err);
}

/* --- channel -------------------------------------------------------------------------------- */

static void on_synced(void *data, bool fresh)
{
	struct super *s = data;
	struct err err = {0};

	if (!fresh && vchan_keeps_streams(s->chan))
		snap_on_synced(s);
	else if (say_hello(s, &err) < 0)
		super_end(s, ENDED_CRASHED, &err);
}

static void on_quiesced(void *data)
{
	snap_on_quiesced(data);
}

static void on_chan_lost(void *data, const char *why)
{
	struct err err = {0};

	(void)err_set(&err, ERR_GUEST, -EPIPE, "the channel to the guest is lost: %s", why);
	super_guest_lost(data, &err);
}

static const struct vchan_ops chan_ops = {
	.synced = on_synced,
	.quiesced = on_quiesced,
	.lost = on_chan_lost,
};

static int wire_up(struct super *s, struct err *err)
{
	const struct vchan_far far = {.mux_fd = s->vm.channel_fd,
				      .vsock_dir = s->vm.vm_dir,
				      .vsock_name = s->vm.vsock,
				      .vsock_uid = s->vm.uid};
	int r = proc_id_of(s->vm.pid, &s->st.vmm, err);

	if (r >= 0)
		r = vchan_new(s->loop, s->spec->dir, &far, &chan_ops, s, &s->chan, err);
	if (r >= 0)
		r = vchan_sync(s->chan, false, err);
	return r;
}

/* --- begin ---------------------------------------------------------------------------------- */

/* Once a supervisor: restarts keep the network, and with it the VM's addresses. */
static int enter_network(struct super *s, struct err *err)
{
	const struct net_spec spec = {
		.host = s->host, .dir = s->spec->dir, .config = &s->launch.net};
	int r = s->net ? 0 : net_up(&spec, &s->net, err);

	if (r >= 0 && !s->st.net)
		r = net_serve(s->net, s->loop, err);
	if (r < 0)
		return r;
	s->st.net = net_look(s->net);
	s->vm.has_tap = net_has_tap(s->net);
	if (s->engine->can & ENGINE_OWN_TAP)
		net_close_tap(s->net);
	s->vm.tap_fd = net_tap_fd(s->net);
	return 0;
}

/* What a VM may read of itself from its engine, without an agent. */
static char *engine_metadata(const struct super *s)
{
	auto_json struct json_object *o = json_object_new_object(), *given = NULL;
	struct json_object *own = json_object_new_object();

	json_add_str(own, "vm_id", s->spec->vm_id);
	json_add_str(own, "hostname", s->launch.hostname);
	if (s->launch.metadata &&
	    json_parse(s->launch.metadata, strlen(s->launch.metadata), &given, NULL) >= 0)
		json_add(own, "metadata", TAKE_PTR(given));
	json_add(o, "fcvm", own);
	return json_line(o);
}

static int run_vmm(struct super *s, struct err *err)
{
	int r = s->engine->probe(s->host, &s->caps, err);
	auto_free char *metadata = engine_metadata(s);

	if (r >= 0)
		r = enter_network(s, err);
	if (r < 0)
		return r;
	s->vm.metadata = metadata;
	s->st.accel = s->launch.restore ? s->caps.accel : s->launch.config.accel;
	s->st.has_accel = true;
	r = s->launch.restore ? restore_run(s, err) : boot_run(s, err);
	s->vm.metadata = NULL;
	if (r < 0)
		return r;
	s->up = true;
	super_watch_vmm(s);
	return wire_up(s, err);
}

void bringup_begin(struct super *s)
{
	struct err err = {0};

	vmstate_reset(&s->st);
	(void)vmstate_move(&s->st, RUN_CREATING);
	s->launching = true;
	s->launch_ms = now_ms();
	s->probe_text[0] = '\0';
	super_progress(s, s->launch.restore ? "restoring" : "booting");
	super_save(s);
	if (run_vmm(s, &err) < 0) {
		super_end(s, ENDED_CRASHED, &err);
		return;
	}
	vmstate_set_text(&s->st.container, s->launch.workload.name);
	if (s->launch.restore) {
		vmstate_gate(&s->st, "restored", since_launch(s));
		(void)vmstate_move(&s->st, RUN_RUNNING);
	}
	super_save(s);
	super_timer(s, &s->launch_timer, limit_ms(s), on_deadline);
}
