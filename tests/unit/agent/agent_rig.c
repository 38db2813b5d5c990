#include "agent_rig.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "identity.h"
#include "io.h"
#include "proto.h"
#include "proto_workload.h"
#include "services.h"

void agent_rig_new(struct agent_rig *r)
{
	*r = (struct agent_rig){.dir = "/tmp/agent-rig-XXXXXX"};
	cr_assert_not_null(mkdtemp(r->dir));
	cr_assert_eq(loop_new(&r->loop, NULL), 0);
	cr_assert_eq(agent_init(&r->agent, r->loop, false, r->dir, r->dir, NULL), 0);
	cr_assert_eq(identity_setup(&r->agent, NULL), 0);
}

void agent_rig_free(struct agent_rig *r)
{
	/* What closing clients leads to. */
	while (loop_once(r->loop, 50, NULL) > 0)
		;
	agent_fini(&r->agent);
	loop_free_p(&r->loop);
	(void)file_remove_tree(r->dir, NULL);
}

static void take_exit(struct client *c, const struct frame *f)
{
	auto_free char *text = NULL;
	uint64_t code = 0;

	cr_assert_eq(proto_find_u64(f->body, f->len, TAG_EXIT_CODE, 999, &code, NULL), 0);
	cr_assert_geq(proto_find_str(f->body, f->len, TAG_TEXT, 500, &text, NULL), 0);
	c->ended = true;
	c->code = (int)code;
	(void)snprintf(c->text, sizeof(c->text), "%s", text ? text : "");
}

static void on_frame(struct chan *chan, void *data, const struct frame *f)
{
	struct client *c = data;

	(void)chan;
	cr_assert_not(c->ended, "a frame after the exit");
	c->frames++;
	if (f->type == MSG_EXEC_STDOUT) {
		buf_add(&c->out, f->body, f->len);
	} else if (f->type == MSG_EXEC_STDERR) {
		buf_add(&c->err, f->body, f->len);
	} else if (f->type == MSG_EXEC_EXIT) {
		take_exit(c, f);
	} else {
		buf_reset(&c->last);
		buf_add(&c->last, f->body, f->len);
		c->last_type = f->type;
	}
}

static void on_closed(struct chan *chan, void *data)
{
	struct client *c = data;

	(void)chan;
	c->closed = true;
	c->chan = NULL;
}

void client_open(struct agent_rig *r, uint32_t port, struct client *c)
{
	static const struct chan_ops ops = {on_frame, NULL, on_closed};
	int pair[2];

	*c = (struct client){
		.out = BUF_INIT(64u << 20), .err = BUF_INIT(64u << 20), .last = BUF_INIT(1u << 20)};
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(chan_new(r->loop, pair[0], AGENT_CONTROL_MAX, &ops, c, &c->chan, NULL), 0);
	cr_assert_eq(serve_connection(&r->agent, port, pair[1]), 0);
}

void client_close(struct client *c)
{
	if (c->chan)
		chan_close(TAKE_PTR(c->chan));
	buf_free(&c->out);
	buf_free(&c->err);
	buf_free(&c->last);
}
