#include "control.h"

#include <errno.h>
#include <stdlib.h>

#include "chan.h"
#include "cleanup.h"
#include "container.h"
#include "health.h"
#include "identity.h"
#include "op_prepare.h"
#include "op_resume.h"
#include "op_shutdown.h"
#include "proto.h"
#include "proto_workload.h"
#include "tlv.h"
#include "volume_host.h"
#include "xalloc.h"

struct control {
	struct agent *agent;
	struct chan *chan;
	uint64_t connection; /* which one, counted from 1 */
};

int control_new(struct agent *agent, struct err *err)
{
	(void)err;
	agent->control = xcalloc(1, sizeof(*agent->control));
	agent->control->agent = agent;
	return 0;
}

void control_free(struct agent *agent)
{
	if (!agent->control)
		return;
	if (agent->control->chan)
		chan_close(agent->control->chan);
	free(TAKE_PTR(agent->control));
}

/* --- out ---------------------------------------------------------------------------------------
 */

static void put_reply(struct buf *body, uint64_t id, int code, const char *text)
{
	tlv_put_u64(body, TAG_ID, id);
	tlv_put_u64(body, TAG_CODE, code < 0 ? (uint64_t)-code : 0);
	if (code < 0)
		tlv_put_str(body, TAG_TEXT, *text ? text : "failed");
}

void control_reply(struct agent *agent, const struct control_request *req, int code,
		   const char *text)
{
	struct control *c = agent->control;
	auto_buf struct buf body = BUF_INIT(AGENT_CONTROL_MAX);

	if (!c->chan || req->connection != c->connection)
		return;
	put_reply(&body, req->id, code, text);
	chan_send_buf(c->chan, MSG_REPLY, &body);
}

static void send_event(struct agent *agent, uint16_t msg, const struct buf *body)
{
	if (agent->control->chan)
		chan_send_buf(agent->control->chan, msg, body);
}

void control_event_container(struct agent *agent, const char *name, const char *state,
			     int exit_code, const char *text)
{
	auto_buf struct buf body = BUF_INIT(AGENT_CONTROL_MAX);

	tlv_put_str(&body, TAG_NAME, name);
	tlv_put_str(&body, TAG_STATE, state);
	if (exit_code >= 0)
		tlv_put_u64(&body, TAG_EXIT_CODE, (uint64_t)exit_code);
	if (text && *text)
		tlv_put_str(&body, TAG_TEXT, text);
	send_event(agent, MSG_EVENT_CONTAINER, &body);
}

void control_event_health(struct agent *agent, const char *name, const char *state,
			  const char *text)
{
	auto_buf struct buf body = BUF_INIT(AGENT_CONTROL_MAX);

	tlv_put_str(&body, TAG_NAME, name);
	tlv_put_str(&body, TAG_STATE, state);
	if (text && *text)
		tlv_put_str(&body, TAG_TEXT, text);
	send_event(agent, MSG_EVENT_HEALTH, &body);
}

void control_event_gate(struct agent *agent, const char *gate, uint64_t ms)
{
	auto_buf struct buf body = BUF_INIT(1024);

	tlv_put_str(&body, TAG_NAME, gate);
	tlv_put_u64(&body, TAG_MS, ms);
	send_event(agent, MSG_EVENT_GATE, &body);
}

void control_event_volume(struct agent *agent, const char *target, unsigned int stream)
{
	auto_buf struct buf body = BUF_INIT(1024);

	tlv_put_str(&body, TAG_NAME, target);
	tlv_put_u64(&body, TAG_STREAM, stream);
	send_event(agent, MSG_EVENT_VOLUME, &body);
}

/* --- requests ----------------------------------------------------------------------------------
 */

#define ANSWERED 1 /* the handler replied, or will */

/* Returns 0 or a negative errno with a sentence, to be replied, or ANSWERED. */
typedef int (*handler)(struct control *c, const struct control_request *req, const struct frame *f,
		       struct err *err);

static int on_hello(struct control *c, const struct control_request *req, const struct frame *f,
		    struct err *err)
{
	auto_buf struct buf body = BUF_INIT(1024);
	uint64_t version = 0;
	char boot_id[37];
	int r = proto_find_u64(f->body, f->len, TAG_VERSION, 0, &version, err);

	if (r < 0)
		return r;
	bool same = version == AGENT_PROTO_VERSION;
	if (!same)
		(void)err_set(err, ERR_GUEST, -EPROTO,
			      "the agent speaks protocol %d, the host %llu", AGENT_PROTO_VERSION,
			      (unsigned long long)version);
	identity_boot_id(c->agent, boot_id);
	put_reply(&body, req->id, same ? 0 : -EPROTO, same ? "" : err->msg);
	tlv_put_u64(&body, TAG_VERSION, AGENT_PROTO_VERSION);
	tlv_put_str(&body, TAG_BOOT_ID, boot_id);
	tlv_put_str(&body, TAG_AGENT, "fc-agent " FCVM_VERSION);
	chan_send_buf(c->chan, MSG_REPLY, &body);
	container_announce(c->agent);
	health_announce(c->agent);
	volume_host_announce(c->agent);
	return ANSWERED;
}

static int on_ping(struct control *c, const struct control_request *req, const struct frame *f,
		   struct err *err)
{
	(void)c;
	(void)req;
	(void)f;
	(void)err;
	return 0;
}

static int on_workload(struct control *c, const struct control_request *req, const struct frame *f,
		       struct err *err)
{
	auto_proto_container struct proto_container spec = {0};
	const uint8_t *value;
	size_t len;
	int r = proto_find(f->body, f->len, TAG_CONTAINER, &value, &len, err);

	(void)req;
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(err, ERR_GUEST, -EBADMSG, "a workload without a container");
	r = proto_get_container(value, len, &spec, err);
	return r < 0 ? r : container_run(c->agent, &spec, err);
}

static int on_prepare(struct control *c, const struct control_request *req, const struct frame *f,
		      struct err *err)
{
	auto_proto_hooks struct proto_hooks hooks = {0};
	uint64_t settle_ms = 0;
	int r = proto_get_hooks(f->body, f->len, &hooks, err);

	if (r >= 0)
		r = proto_find_u64(f->body, f->len, TAG_SETTLE_MS, 0, &settle_ms, err);
	if (r < 0)
		return r;
	op_prepare(c->agent, req, &hooks, settle_ms);
	return ANSWERED;
}

static int on_thaw(struct control *c, const struct control_request *req, const struct frame *f,
		   struct err *err)
{
	(void)req;
	(void)f;
	return op_thaw(c->agent, err);
}

static int on_resume(struct control *c, const struct control_request *req, const struct frame *f,
		     struct err *err)
{
	auto_proto_resume struct proto_resume id = {0};
	int r = proto_get_resume(f->body, f->len, &id, err);

	if (r < 0)
		return r;
	op_resume(c->agent, req, &id);
	return ANSWERED;
}

static int on_metadata(struct control *c, const struct control_request *req, const struct frame *f,
		       struct err *err)
{
	auto_free char *text = NULL;
	int r = proto_find_str(f->body, f->len, TAG_METADATA, PROTO_METADATA_MAX, &text, err);

	(void)req;
	if (r == 0)
		return err_set(err, ERR_GUEST, -EBADMSG, "a metadata message without metadata");
	return r < 0 ? r : identity_set_metadata(c->agent, text, err);
}

static int on_healthcheck(struct control *c, const struct control_request *req,
			  const struct frame *f, struct err *err)
{
	auto_proto_health struct proto_health spec = {0};
	const uint8_t *value;
	size_t len;
	int r = proto_find(f->body, f->len, TAG_HEALTH, &value, &len, err);

	(void)req;
	if (r > 0)
		r = proto_get_health(value, len, &spec, err);
	if (r < 0)
		return r;
	health_set(c->agent, &spec);
	return 0;
}

static int on_shutdown(struct control *c, const struct control_request *req, const struct frame *f,
		       struct err *err)
{
	uint64_t grace_ms = 0;
	int r = proto_find_u64(f->body, f->len, TAG_GRACE_MS, 10000, &grace_ms, err);

	if (r < 0)
		return r;
	op_shutdown(c->agent, req, grace_ms);
	return ANSWERED;
}

static const struct {
	uint16_t msg;
	handler handle;
} table[] = {
	{MSG_HELLO, on_hello},       {MSG_WORKLOAD, on_workload},       {MSG_PREPARE, on_prepare},
	{MSG_THAW, on_thaw},         {MSG_RESUME, on_resume},           {MSG_METADATA, on_metadata},
	{MSG_SHUTDOWN, on_shutdown}, {MSG_HEALTHCHECK, on_healthcheck}, {MSG_PING, on_ping},
};

static int dispatch(struct control *c, const struct control_request *req, const struct frame *f,
		    struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].msg == f->type)
			return table[i].handle(c, req, f, err);
	return err_set(err, ERR_GUEST, -EOPNOTSUPP, "the agent knows no message %u", f->type);
}

static void on_frame(struct chan *chan, void *data, const struct frame *f)
{
	struct control *c = data;
	struct control_request req = {.connection = c->connection};
	struct err err = {0};
	int r = proto_find_u64(f->body, f->len, TAG_ID, 0, &req.id, &err);

	(void)chan;
	if (r >= 0)
		r = dispatch(c, &req, f, &err);
	if (r != ANSWERED)
		control_reply(c->agent, &req, r, err.msg);
}

static void on_closed(struct chan *chan, void *data)
{
	struct control *c = data;

	if (c->chan == chan)
		c->chan = NULL;
}

void control_accept(struct agent *agent, int fd)
{
	static const struct chan_ops ops = {on_frame, NULL, on_closed};
	struct control *c = agent->control;

	if (c->chan)
		chan_close(TAKE_PTR(c->chan));
	c->connection++;
	(void)chan_new(agent->loop, fd, AGENT_CONTROL_MAX, &ops, c, &c->chan, NULL);
}
