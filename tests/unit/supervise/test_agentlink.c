#include "agentlink.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "frame.h"
#include "io.h"
#include "tlv.h"

struct seen {
	int answers, code;
	bool over;
	char text[256], lost[256], event[256];
	int exit_code;
};

static void on_event(void *data, enum agent_msg msg, const struct agentlink_event *ev)
{
	struct seen *s = data;

	(void)snprintf(s->event, sizeof(s->event), "%d %s %s %s", (int)msg, ev->name, ev->state,
		       ev->text);
	s->exit_code = ev->exit_code;
}

static void on_lost(void *data, const char *why)
{
	struct seen *s = data;

	(void)snprintf(s->lost, sizeof(s->lost), "%s", why);
}

static void on_done(void *data, const struct agentlink_answer *a)
{
	struct seen *s = data;

	s->answers++;
	s->code = a->code;
	s->over = a->over;
	(void)snprintf(s->text, sizeof(s->text), "%s", a->text);
}

static const struct agentlink_ops ops = {on_event, on_lost};

struct pair {
	struct loop *loop;
	struct agentlink *link;
	struct seen seen;
	int peer;
};

static void pair_make(struct pair *p)
{
	int fds[2];

	*p = (struct pair){.peer = -1};
	cr_assert_geq(loop_new(&p->loop, NULL), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	cr_assert_geq(io_set_nonblock(fds[0], true), 0);
	p->peer = fds[1];
	cr_assert_geq(agentlink_new(p->loop, fds[0], &ops, &p->seen, &p->link, NULL), 0);
}

static void pair_free(struct pair *p)
{
	agentlink_free(p->link);
	loop_free_p(&p->loop);
	close(p->peer);
}
#define auto_pair __attribute__((cleanup(pair_free)))

static void send_frame(struct pair *p, uint16_t type, const struct buf *body)
{
	cr_assert_geq(frame_write(p->peer, type, 0, body->data, body->len, deadline_in(1000), NULL),
		      0);
	cr_assert_geq(loop_once(p->loop, 1000, NULL), 0);
}

static uint64_t ask(struct pair *p, uint64_t timeout_ms)
{
	auto_buf struct buf body = BUF_INIT(65536);
	struct frame f = {0};
	struct tlv t = {0};
	size_t pos = 0;
	uint64_t id = 0;

	cr_assert_geq(
		agentlink_request(p->link, MSG_PING, NULL, timeout_ms, on_done, &p->seen, NULL), 0);
	cr_assert_geq(frame_read(p->peer, 65536, &f, &body, deadline_in(1000), NULL), 0);
	cr_expect_eq(f.type, MSG_PING);
	cr_assert_eq(tlv_next(f.body, f.len, &pos, &t, NULL), 1);
	cr_assert_eq(t.tag, TAG_ID);
	cr_assert_geq(tlv_u64(&t, &id, NULL), 0);
	return id;
}

static void answer(struct pair *p, uint64_t id, uint64_t code, const char *text)
{
	auto_buf struct buf body = BUF_INIT(65536);

	tlv_put_u64(&body, TAG_ID, id);
	tlv_put_u64(&body, TAG_CODE, code);
	tlv_put_str(&body, TAG_TEXT, text);
	send_frame(p, MSG_REPLY, &body);
}

Test(agentlink, an_answer_finds_its_request_once)
{
	auto_pair struct pair p;

	pair_make(&p);
	uint64_t one = ask(&p, 60000), two = ask(&p, 60000);

	cr_expect_neq(one, two);
	answer(&p, two, ENOENT, "no such thing");
	cr_expect_eq(p.seen.answers, 1);
	cr_expect_eq(p.seen.code, -ENOENT);
	cr_expect_str_eq(p.seen.text, "no such thing");
	answer(&p, two, 0, "again");
	answer(&p, 999, 0, "nobody's");
	cr_expect_eq(p.seen.answers, 1);
	answer(&p, one, 0, NULL);
	cr_expect_eq(p.seen.answers, 2);
	cr_expect_eq(p.seen.code, 0);
}

Test(agentlink, silence_ends_at_the_deadline)
{
	auto_pair struct pair p;

	pair_make(&p);
	uint64_t id = ask(&p, 1);

	cr_assert_geq(loop_once(p.loop, 5000, NULL), 0);
	cr_expect_eq(p.seen.code, -ETIMEDOUT);
	answer(&p, id, 0, "late");
	cr_expect_eq(p.seen.answers, 1);
}

Test(agentlink, what_is_open_at_the_end_is_cancelled)
{
	auto_pair struct pair p;

	pair_make(&p);
	(void)ask(&p, 60000);
	agentlink_free(p.link);
	p.link = NULL;
	cr_expect_eq(p.seen.answers, 1);
	cr_expect_eq(p.seen.code, -ECANCELED);
	cr_expect(p.seen.over);
}

Test(agentlink, no_code_of_the_agent_is_the_end_of_the_link)
{
	auto_pair struct pair p;

	pair_make(&p);
	answer(&p, ask(&p, 60000), ECANCELED, "the VM has ended");
	cr_expect_eq(p.seen.code, -ECANCELED);
	cr_expect_not(p.seen.over);
}

Test(agentlink, events_carry_what_the_guest_said_and_no_more)
{
	auto_pair struct pair p;
	auto_buf struct buf body = BUF_INIT(65536);

	pair_make(&p);
	tlv_put_str(&body, TAG_NAME, "main");
	tlv_put_str(&body, TAG_STATE, "exited");
	tlv_put_u64(&body, TAG_EXIT_CODE, 3);
	send_frame(&p, MSG_EVENT_CONTAINER, &body);
	cr_expect_str_eq(p.seen.event, "65 main exited ");
	cr_expect_eq(p.seen.exit_code, 3);
}

Test(agentlink, malformed_input_ends_the_connection)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
		{"\377\377\377\377\100\000\000\000", 8},      /* too long */
		{"\004\000\000\000\100\000\000\000abcd", 12}, /* no field */
		{"\010\000\000\000\100\000\000\000\001\000\000\000\377\000\000\000", 16},
		{"\011\000\000\000\100\000\000\000\001\000\000\000\001\000\000\000x", 17},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_pair struct pair p;

		pair_make(&p);
		cr_assert_geq(io_write_full(p.peer, cases[i].bytes, cases[i].len, 0, NULL), 0);
		cr_assert_geq(loop_once(p.loop, 1000, NULL), 0);
		cr_expect_neq(p.seen.lost[0], '\0', "case %zu", i);
	}
}

Test(agentlink, an_agent_that_owes_too_much_gets_no_more_requests)
{
	auto_pair struct pair p;
	struct err err = {0};

	pair_make(&p);
	for (unsigned int i = 0; i < AGENTLINK_PENDING_MAX; i++)
		cr_assert_geq(
			agentlink_request(p.link, MSG_PING, NULL, 60000, on_done, &p.seen, NULL),
			0);
	cr_expect_eq(agentlink_request(p.link, MSG_PING, NULL, 1, on_done, &p.seen, &err), -EBUSY);
	cr_expect_str_eq(err.msg, "the agent owes 64 answers already");
}
