#include "super.h"

#include "cleanup.h"
#include "proto.h"
#include "tlv.h"
#include "xalloc.h"

#include <errno.h>

#define UPDATE_MS 15000

/* One update: what the next run begins with, at most two requests to the guest, one answer to the
 * client. */
struct updating {
	struct super *s;
	struct ctl_request *req;
	unsigned int open; /* requests under way, and update_begin itself */
	struct err err;
};

static void step_done(struct updating *u)
{
	if (--u->open > 0)
		return;
	if (u->err.code < 0)
		ctl_fail(u->req, &u->err);
	else
		ctl_reply(u->req, NULL);
	free(u);
}

static void on_answer(void *data, const struct agentlink_answer *a)
{
	struct updating *u = data;
	bool next_has_it = a->over && super_comes_back(u->s);

	if (a->code < 0 && !next_has_it)
		(void)err_set(&u->err, ERR_GUEST, a->code, "the guest refuses the update: %s",
			      a->text);
	step_done(u);
}

/* A guest whose agent has not answered yet begins with it. */
static void ask(struct super *s, struct updating *u, enum agent_msg msg, const struct buf *body)
{
	if (s->hello_done &&
	    agentlink_request(s->link, msg, body, UPDATE_MS, on_answer, u, &u->err) >= 0)
		u->open++;
}

static int set_metadata(struct super *s, const char *text, struct updating *u, struct err *err)
{
	auto_buf struct buf body = BUF_INIT(AGENTMSG_MAX);

	if (!text)
		return 0;
	if (strlen(text) > SUPER_METADATA_MAX)
		return err_set(err, ERR_FAILED, -EMSGSIZE, "metadata is longer than %u bytes",
			       SUPER_METADATA_MAX);
	vmstate_set_text(&s->launch.metadata, text);
	tlv_put_str(&body, TAG_METADATA, text);
	ask(s, u, MSG_METADATA, &body);
	return 0;
}

static int set_health(struct super *s, struct json_object *o, struct updating *u, struct err *err)
{
	auto_buf struct buf body = BUF_INIT(AGENTMSG_MAX);
	struct health_spec h = {0};
	int r = 0;

	if (!o)
		return 0;
	r = healthspec_from_json(o, &h, err);
	if (r < 0)
		return r;
	healthspec_free(&s->launch.workload.health);
	s->launch.workload.health = h;
	s->launch.health_override = s->launch.restore;
	/* A resume under way begins with the check it has brought, once its hooks are done. */
	s->check_again = s->hello_done && !s->resumed;
	if (s->check_again)
		return 0;
	if (!healthspec_has_check(&h))
		s->st.health = HEALTH_NONE;
	agentmsg_health(&body, &h);
	ask(s, u, MSG_HEALTHCHECK, &body);
	return 0;
}

void update_on_resumed(struct super *s)
{
	auto_buf struct buf body = BUF_INIT(AGENTMSG_MAX);
	const struct health_spec *h = &s->launch.workload.health;

	if (!s->check_again)
		return;
	s->check_again = false;
	if (!healthspec_has_check(h))
		s->st.health = HEALTH_NONE;
	agentmsg_health(&body, h);
	/* Who wanted it has his answer: a guest that takes none fails at its next run. */
	(void)agentlink_request(s->link, MSG_HEALTHCHECK, &body, UPDATE_MS, NULL, NULL, NULL);
}

static int set_net(struct super *s, struct json_object *o, struct err *err)
{
	auto_net_config struct net_config c = {0};
	int r = o ? net_config_from_json(o, &c, err) : 0;

	if (!o || r < 0)
		return r;
	r = net_update(s->net, &c, err);
	if (r < 0)
		return r;
	super_save(s);
	return 0;
}

static int apply(struct super *s, struct json_object *args, struct updating *u, struct err *err)
{
	const char *policy = json_opt_str(args, "restart", NULL);
	int r = policy ? restart_parse(policy, &s->restart, err) : 0;

	if (r >= 0)
		r = set_net(s, json_opt_obj(args, "net"), err);
	if (r >= 0)
		r = set_metadata(s, json_opt_str(args, "metadata", NULL), u, err);
	if (r >= 0)
		r = set_health(s, json_opt_obj(args, "health"), u, err);
	return r;
}

int update_begin(struct super *s, struct ctl_request *req, struct json_object *args,
		 struct err *err)
{
	struct updating *u = NULL;

	/* Its first launch decides whether it is there at all; a snapshot may have cost it its
	 * link. */
	if (!s->launched || s->launch_req || (s->resumed && !s->link))
		return err_set(err, ERR_FAILED, -EAGAIN, "cannot update a VM that is %s",
			       vmstate_run_name(s->st.run));
	u = xcalloc(1, sizeof(*u));
	u->s = s;
	u->req = req;
	u->open = 1;
	(void)apply(s, args, u, &u->err);
	step_done(u);
	super_restart_changed(s);
	return 0;
}
