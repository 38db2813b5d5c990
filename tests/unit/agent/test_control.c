#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent_rig.h"
#include "cleanup.h"
#include "container.h"
#include "crun_rig.h"
#include "file.h"
#include "io.h"
#include "logs.h"
#include "proto.h"
#include "proto_workload.h"
#include "tlv.h"
#include "xalloc.h"

/* Sends one request and waits for its reply; returns TAG_CODE, text into ret. */
static int call(struct agent_rig *r, struct client *c, uint16_t msg, const struct buf *more,
		char text[512])
{
	static uint64_t id;
	auto_buf struct buf body = BUF_INIT(AGENT_CONTROL_MAX);
	auto_free char *got = NULL;
	uint64_t code = 0, back = 0;

	tlv_put_u64(&body, TAG_ID, ++id);
	if (more)
		buf_add(&body, buf_str(more), more->len);
	c->last_type = 0;
	chan_send_buf(c->chan, msg, &body);
	RIG_UNTIL(r, c->last_type == MSG_REPLY);
	const uint8_t *reply = (const uint8_t *)buf_str(&c->last);
	cr_assert_eq(proto_find_u64(reply, c->last.len, TAG_ID, 0, &back, NULL), 0);
	cr_assert_eq(back, id);
	cr_assert_eq(proto_find_u64(reply, c->last.len, TAG_CODE, 999, &code, NULL), 0);
	cr_assert_geq(proto_find_str(reply, c->last.len, TAG_TEXT, 500, &got, NULL), 0);
	(void)snprintf(text, 512, "%s", got ? got : "");
	return (int)code;
}

static void read_run(struct agent_rig *r, const char *name, struct buf *out)
{
	auto_free char *path = path_join(r->dir, name);

	buf_reset(out);
	cr_assert_eq(file_read(path, 4096, out, NULL), 0, "%s", path);
}

static struct proto_resume an_identity(void)
{
	static char epoch[] = "11111111-2222-3333-4444-555555555555",
		    boot[] = "66666666-7777-8888-9999-aaaaaaaaaaaa", host[] = "web-1",
		    machine[] = "0123456789abcdef0123456789abcdef", meta[] = "{\"n\":1}";

	return (struct proto_resume){.epoch = epoch,
				     .unix_now_ns = 1,
				     .entropy_len = 64,
				     .hostname = host,
				     .machine_id = machine,
				     .boot_id = boot,
				     .metadata = meta};
}

Test(control, hello_tells_version_boot_id_and_agent)
{
	struct agent_rig r;
	struct client c;
	char text[512];
	auto_buf struct buf more = BUF_INIT(256);
	auto_free char *agent = NULL;

	agent_rig_new(&r);
	client_open(&r, AGENT_PORT_CONTROL, &c);
	tlv_put_u64(&more, TAG_VERSION, AGENT_PROTO_VERSION);
	cr_expect_eq(call(&r, &c, MSG_HELLO, &more, text), 0);
	cr_assert_eq(proto_find_str((const uint8_t *)buf_str(&c.last), c.last.len, TAG_AGENT, 64,
				    &agent, NULL),
		     1);
	cr_expect_eq(strncmp(agent, "fc-agent ", 9), 0);
	buf_reset(&more);
	tlv_put_u64(&more, TAG_VERSION, 99);
	cr_expect_eq(call(&r, &c, MSG_HELLO, &more, text), EPROTO);
	cr_expect_str_eq(text, "the agent speaks protocol 2, the host 99");
	client_close(&c);
	agent_rig_free(&r);
}

Test(control, a_new_connection_replaces_the_old_one)
{
	struct agent_rig r;
	struct client first, second;
	char text[512];

	agent_rig_new(&r);
	client_open(&r, AGENT_PORT_CONTROL, &first);
	cr_expect_eq(call(&r, &first, MSG_PING, NULL, text), 0);
	client_open(&r, AGENT_PORT_CONTROL, &second);
	RIG_UNTIL(&r, first.closed);
	cr_expect_eq(call(&r, &second, MSG_PING, NULL, text), 0);
	client_close(&first);
	client_close(&second);
	agent_rig_free(&r);
}

Test(control, what_cannot_be_done_is_answered_with_a_sentence)
{
	static const struct {
		uint16_t msg;
		int code;
		const char *text;
	} cases[] = {
		{99, EOPNOTSUPP, "the agent knows no message 99"},
		{MSG_WORKLOAD, EBADMSG, "a workload without a container"},
		{MSG_METADATA, EBADMSG, "a metadata message without metadata"},
		{MSG_RESUME, EBADMSG, "malformed message: entropy is not 64 to 256 bytes"},
	};
	struct agent_rig r;
	struct client c;
	char text[512];

	agent_rig_new(&r);
	client_open(&r, AGENT_PORT_CONTROL, &c);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cr_expect_eq(call(&r, &c, cases[i].msg, NULL, text), cases[i].code);
		cr_expect_str_eq(text, cases[i].text, "%s", text);
	}
	client_close(&c);
	agent_rig_free(&r);
}

Test(control, a_resume_rewrites_identity_in_place_runs_hooks_and_says_ready)
{
	struct agent_rig r;
	struct client c;
	char text[512];
	auto_buf struct buf body = BUF_INIT(4096);
	auto_buf struct buf file = BUF_INIT(4096);
	struct proto_resume id = an_identity();
	struct proto_hook hook = {0};
	struct stat before, after;

	agent_rig_new(&r);
	client_open(&r, AGENT_PORT_CONTROL, &c);
	auto_free char *path = path_join(r.dir, "epoch");
	auto_free char *mark = path_join(r.dir, "hooked");
	cr_assert_eq(stat(path, &before), 0);
	strv_add(&hook.argv, "touch");
	strv_add(&hook.argv, mark);
	id.hooks = (struct proto_hooks){&hook, 1};
	proto_put_resume(&body, &id);
	cr_expect_eq(call(&r, &c, MSG_RESUME, &body, text), 0, "%s", text);
	cr_expect_eq(c.frames, 1 + 7, "six gates, hooks, and the reply");
	cr_assert_eq(stat(path, &after), 0);
	cr_expect_eq(before.st_ino, after.st_ino);
	read_run(&r, "epoch", &file);
	cr_expect_str_eq(buf_str(&file), "11111111-2222-3333-4444-555555555555\n");
	read_run(&r, "boot_id", &file);
	cr_expect_str_eq(buf_str(&file), "66666666-7777-8888-9999-aaaaaaaaaaaa\n");
	read_run(&r, "metadata.json", &file);
	cr_expect_str_eq(buf_str(&file), "{\"n\":1}\n");
	cr_expect(file_exists(mark));
	proto_hook_free(&hook);
	client_close(&c);
	agent_rig_free(&r);
}

Test(control, a_bad_identity_fails_its_gate_and_changes_nothing)
{
	static const struct {
		const char *host, *machine, *boot, *text;
	} cases[] = {
		{"-x", NULL, NULL, "gate identity: host name '-x' is not one"},
		{"a b", NULL, NULL, "gate identity: host name 'a b' is not one"},
		{NULL, "XYZ", NULL, "gate identity: machine-id 'XYZ' is not 32 hex digits"},
		{NULL, NULL, "no",
		 "gate identity: boot_id 'no' or epoch "
		 "'11111111-2222-3333-4444-555555555555' is not a UUID"},
	};
	struct agent_rig r;
	struct client c;
	char text[512];
	auto_buf struct buf before = BUF_INIT(4096);
	auto_buf struct buf after = BUF_INIT(4096);

	agent_rig_new(&r);
	client_open(&r, AGENT_PORT_CONTROL, &c);
	read_run(&r, "epoch", &before);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_buf struct buf body = BUF_INIT(4096);
		struct proto_resume id = an_identity();

		if (cases[i].host)
			id.hostname = (char *)(uintptr_t)cases[i].host;
		if (cases[i].machine)
			id.machine_id = (char *)(uintptr_t)cases[i].machine;
		if (cases[i].boot)
			id.boot_id = (char *)(uintptr_t)cases[i].boot;
		proto_put_resume(&body, &id);
		cr_expect_eq(call(&r, &c, MSG_RESUME, &body, text), EINVAL);
		cr_expect_str_eq(text, cases[i].text, "%s", text);
	}
	read_run(&r, "epoch", &after);
	cr_expect_str_eq(buf_str(&before), buf_str(&after));
	client_close(&c);
	agent_rig_free(&r);
}

static void put_hook(struct buf *body, const char *script, uint64_t timeout_ms)
{
	struct proto_hook hook = {.timeout_ms = timeout_ms};

	strv_add(&hook.argv, "sh");
	strv_add(&hook.argv, "-c");
	strv_add(&hook.argv, script);
	proto_put_hook(body, &hook);
	proto_hook_free(&hook);
}

Test(control, hooks_run_in_order_and_the_first_failure_ends_the_step)
{
	struct agent_rig r;
	struct client c;
	char text[512];
	auto_buf struct buf body = BUF_INIT(4096);

	agent_rig_new(&r);
	client_open(&r, AGENT_PORT_CONTROL, &c);
	auto_free char *mark = path_join(r.dir, "never");
	auto_buf struct buf script = BUF_INIT(256);
	put_hook(&body, "exit 0", 0);
	put_hook(&body, "echo one; echo two >&2; exit 3", 0);
	buf_addf(&script, "touch %s", mark);
	put_hook(&body, buf_str(&script), 0);
	cr_expect_eq(call(&r, &c, MSG_PREPARE, &body, text), ECHILD);
	cr_expect_str_eq(text, "prepare hook 2 ('sh') failed with exit code 3: one two", "%s",
			 text);
	cr_expect_not(file_exists(mark));

	buf_reset(&body);
	put_hook(&body, "sleep 1000", 50);
	cr_expect_eq(call(&r, &c, MSG_PREPARE, &body, text), ETIMEDOUT);
	cr_expect_str_eq(text,
			 "prepare hook 1 ('sh') failed with exit code 124: timed out after 50ms",
			 "%s", text);

	buf_reset(&body);
	put_hook(&body, "exit 0", 0);
	tlv_put_u64(&body, TAG_SETTLE_MS, 10);
	cr_expect_eq(call(&r, &c, MSG_PREPARE, &body, text), 0, "%s", text);
	cr_expect_eq(call(&r, &c, MSG_THAW, NULL, text), 0, "%s", text);
	client_close(&c);
	agent_rig_free(&r);
}

Test(control, a_second_prepare_waits_for_nobody_and_is_refused)
{
	struct agent_rig r;
	struct client first, second;
	char text[512];
	auto_buf struct buf body = BUF_INIT(4096);

	agent_rig_new(&r);
	client_open(&r, AGENT_PORT_CONTROL, &first);
	tlv_put_u64(&body, TAG_ID, 77);
	tlv_put_u64(&body, TAG_SETTLE_MS, 300);
	chan_send_buf(first.chan, MSG_PREPARE, &body);
	RIG_UNTIL(&r, loop_once(r.loop, 50, NULL) == 0);
	cr_expect_eq(call(&r, &first, MSG_PREPARE, NULL, text), EBUSY);
	cr_expect_str_eq(text, "the guest is being prepared already");
	first.last_type = 0;
	RIG_UNTIL(&r, first.last_type == MSG_REPLY);
	client_open(&r, AGENT_PORT_CONTROL, &second);
	cr_expect_eq(call(&r, &second, MSG_PREPARE, NULL, text), 0);
	client_close(&first);
	client_close(&second);
	agent_rig_free(&r);
}

/* Sends without waiting; the reply to id is to be seen in code. */
static void send_request(struct client *c, uint16_t msg, uint64_t id, const struct buf *more)
{
	auto_buf struct buf body = BUF_INIT(AGENT_CONTROL_MAX);

	tlv_put_u64(&body, TAG_ID, id);
	buf_add(&body, buf_str(more), more->len);
	chan_send_buf(c->chan, msg, &body);
}

static uint64_t reply_number(const struct client *c, uint16_t tag)
{
	uint64_t n = 0;

	cr_assert_eq(
		proto_find_u64((const uint8_t *)buf_str(&c->last), c->last.len, tag, 0, &n, NULL),
		0);
	return n;
}

/* Where a PREPARE may be before its freeze. */
static const struct stage {
	const char *what, *hook;
	uint64_t settle_ms;
} stages[] = {{"hook", "sleep 0.3", 0}, {"settle", NULL, 300}, {"sync", NULL, 0}};

/* What is sent behind it is there when the agent looks: nothing of PREPARE can be over. */
static void send_prepare(struct client *c, const struct stage *stage)
{
	auto_buf struct buf body = BUF_INIT(4096);

	if (stage->hook)
		put_hook(&body, stage->hook, 0);
	tlv_put_u64(&body, TAG_SETTLE_MS, stage->settle_ms);
	send_request(c, MSG_PREPARE, 500, &body);
}

static void expect_no_freeze(const struct client *c, const struct stage *stage, int code,
			     const char *sentence)
{
	auto_free char *text = NULL;

	cr_expect_eq(reply_number(c, TAG_ID), 500, "%s", stage->what);
	cr_expect_eq(reply_number(c, TAG_CODE), (uint64_t)code, "%s", stage->what);
	(void)proto_find_str((const uint8_t *)buf_str(&c->last), c->last.len, TAG_TEXT, 500, &text,
			     NULL);
	cr_expect_str_eq(text ? text : "", sentence, "%s", stage->what);
}

Test(control, a_prepare_that_is_thawed_before_its_freeze_does_not_freeze)
{
	auto_buf struct buf none = BUF_INIT(1);
	struct agent_rig r;
	struct client c;

	agent_rig_new(&r);
	client_open(&r, AGENT_PORT_CONTROL, &c);
	for (size_t i = 0; i < ARRAY_SIZE(stages); i++) {
		int before = c.frames;

		send_prepare(&c, &stages[i]);
		send_request(&c, MSG_THAW, 501, &none);
		RIG_UNTIL(&r, c.frames == before + 2);
		expect_no_freeze(&c, &stages[i], ECANCELED, "the workload was thawed meanwhile");
	}
	client_close(&c);
	agent_rig_free(&r);
}

Test(control, a_shutdown_replies_before_it_ends_the_agent)
{
	struct agent_rig r;
	struct client c;
	char text[512];

	agent_rig_new(&r);
	client_open(&r, AGENT_PORT_CONTROL, &c);
	cr_expect_eq(call(&r, &c, MSG_SHUTDOWN, NULL, text), 0);
	cr_expect_eq(loop_run(r.loop, NULL), 0);
	client_close(&c);
	agent_fini(&r.agent);
	loop_free_p(&r.loop);
	(void)file_remove_tree(r.dir, NULL);
}

Test(control, a_shutdown_waits_until_the_logs_are_taken)
{
	struct agent_rig r;
	struct client c, logs;
	int fds[2];
	char text[512];

	agent_rig_new(&r);
	client_open(&r, AGENT_PORT_CONTROL, &c);
	client_open(&r, AGENT_PORT_LOGS, &logs);
	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	cr_assert_eq(logs_attach(&r.agent, 1, fds[0], NULL), 0);
	cr_assert_eq(write(fds[1], "last\n", 5), 5);
	cr_expect_eq(call(&r, &c, MSG_SHUTDOWN, NULL, text), 0);
	cr_expect_eq(logs.frames, 1);
	cr_expect(logs.closed);
	(void)close(fds[1]);
	cr_expect_eq(loop_run(r.loop, NULL), 0);
	client_close(&c);
	client_close(&logs);
	agent_fini(&r.agent);
	loop_free_p(&r.loop);
	(void)file_remove_tree(r.dir, NULL);
}

#define CGROUP_KILL AGENT_CGROUP "/cgroup.kill"

static void read_kills(struct buf *out)
{
	buf_reset(out);
	cr_assert_eq(file_read(CGROUP_KILL, 64, out, NULL), 0);
}

/* The rig's cgroup is a plain file: it tells what was asked of the kernel, and the killing is ours.
 */
static void workload_with_a_trap(struct crun_rig *c, const char *on_term)
{
	auto_free char *script = xasprintf("trap '%s' TERM; touch trapped\n"
					   "while :; do sleep 0.01; done",
					   on_term);

	crun_rig_new(c, script);
	auto_free char *trapped = path_join(c->rig.dir, "trapped");
	cr_assert_eq(file_mkdir_p(AGENT_CGROUP, 0755, NULL), 0);
	cr_assert_eq(file_replace(CGROUP_KILL, "", 0, 0644, NULL), 0);
	RIG_UNTIL(&c->rig, file_exists(trapped));
}

static void ask_for_shutdown(struct crun_rig *c)
{
	auto_buf struct buf body = BUF_INIT(256);

	tlv_put_u64(&body, TAG_GRACE_MS, 600000);
	send_request(&c->control, MSG_SHUTDOWN, 600, &body);
}

static void end_of_shutdown(struct crun_rig *c)
{
	RIG_UNTIL(&c->rig,
		  c->control.last_type == MSG_REPLY && reply_number(&c->control, TAG_ID) == 600);
	cr_expect_eq(reply_number(&c->control, TAG_CODE), 0);
	cr_expect_eq(loop_run(c->rig.loop, NULL), 0);
	crun_rig_free(c);
}

Test(control, a_shutdown_lets_a_workload_end_itself_unless_it_is_frozen)
{
	static const struct {
		const char *what;
		bool thaw, killed;
	} cases[] = {{"thawed", true, false}, {"frozen, perhaps in a clone", false, true}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_buf struct buf kills = BUF_INIT(128);
		struct crun_rig c;
		char text[512];

		workload_with_a_trap(&c, "touch termed; exit 0");
		auto_free char *termed = path_join(c.rig.dir, "termed");
		cr_assert_eq(call(&c.rig, &c.control, MSG_PREPARE, NULL, text), 0);
		if (cases[i].thaw)
			cr_assert_eq(call(&c.rig, &c.control, MSG_THAW, NULL, text), 0);
		ask_for_shutdown(&c);
		RIG_UNTIL(&c.rig, (read_kills(&kills), kills.len > 0) ||
					  container_state(&c.rig.agent) == CONTAINER_EXITED);
		cr_expect_str_eq(buf_str(&kills), cases[i].killed ? "1" : "", "%s", cases[i].what);
		(void)kill(c.pid, SIGKILL);
		RIG_UNTIL(&c.rig, container_state(&c.rig.agent) == CONTAINER_EXITED);
		cr_expect_eq(file_exists(termed), !cases[i].killed, "%s", cases[i].what);
		end_of_shutdown(&c);
	}
}

Test(control, a_prepare_that_meets_a_shutdown_does_not_freeze)
{
	for (size_t i = 0; i < ARRAY_SIZE(stages); i++) {
		struct crun_rig c;

		/* It makes use of its grace. */
		workload_with_a_trap(&c, ":");
		c.control.last_type = 0;
		send_prepare(&c.control, &stages[i]);
		ask_for_shutdown(&c);
		RIG_UNTIL(&c.rig, c.control.last_type == MSG_REPLY);
		expect_no_freeze(&c.control, &stages[i], ESHUTDOWN, "the guest is shutting down");
		(void)kill(c.pid, SIGKILL);
		end_of_shutdown(&c);
	}
}

Test(control, a_resume_during_a_shutdown_neither_thaws_nor_runs_hooks)
{
	struct crun_rig c;
	char text[512];
	auto_buf struct buf body = BUF_INIT(4096);
	auto_buf struct buf script = BUF_INIT(256);
	struct proto_resume id = an_identity();

	workload_with_a_trap(&c, "touch termed; exit 0");
	auto_free char *mark = path_join(c.rig.dir, "hooked");
	buf_addf(&script, "touch %s", mark);
	proto_put_resume(&body, &id);
	put_hook(&body, buf_str(&script), 0);
	cr_assert_eq(call(&c.rig, &c.control, MSG_PREPARE, NULL, text), 0);
	ask_for_shutdown(&c);
	cr_expect_eq(call(&c.rig, &c.control, MSG_RESUME, &body, text), ECANCELED);
	cr_expect_str_eq(text, "the guest is shutting down", "%s", text);
	(void)kill(c.pid, SIGKILL);
	end_of_shutdown(&c);
	cr_expect_not(file_exists(mark));
}
