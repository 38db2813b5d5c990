#include "super.h"

#include "cleanup.h"
#include "io.h"
#include "proto.h"
#include "tlv.h"

/* After its grace the guest gets this long to write its disks and switch off. */
#define POWEROFF_MS 2000
/* A container that has ended: its last output comes first, until it pauses this long. */
#define LOGS_PAUSE_MS 100
#define LOGS_MAX_MS 10000
#define AFTER_EXIT_MS 5000

static void on_late(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct super *s = src->data;

	(void)loop;
	(void)events;
	super_end(s, s->stop_as, NULL);
}

/* Refused, lost or never answered: the timer has the last word. */
static void on_answer(void *data, const struct agentlink_answer *answer)
{
	(void)data;
	(void)answer;
}

static bool request(struct super *s, enum agent_msg msg, const struct buf *body)
{
	return agentlink_request(s->link, msg, body, s->stop_grace_ms + POWEROFF_MS, on_answer, s,
				 NULL) >= 0;
}

static bool ask_guest(struct super *s)
{
	auto_buf struct buf body = BUF_INIT(64);

	if (!s->link || !s->hello_done)
		return false;
	/* The agent kills what is frozen, since that may be a clone. This one is a snapshot's
	 * source: its workload has a right to its grace. */
	if (s->snap && !request(s, MSG_THAW, NULL))
		return false;
	tlv_put_u64(&body, TAG_GRACE_MS, s->stop_grace_ms);
	return request(s, MSG_SHUTDOWN, &body);
}

/* A snapshot took the link with it, and the next one is on its way. */
static bool is_linked_soon(const struct super *s)
{
	return s->snap && !s->link;
}

void stop_on_linked(struct super *s)
{
	/* What the old link had may be lost; asked twice, the agent takes the first. */
	if (s->stopping)
		(void)ask_guest(s);
}

void stop_begin(struct super *s, enum vm_ended ended, uint64_t grace_ms)
{
	if (!s->stopping) {
		s->stop_as = ended;
		s->stop_grace_ms = grace_ms;
	}
	/* Whoever asks for more haste gets it; the guest is asked once. */
	if (grace_ms == 0 || !s->up || (!s->stopping && !is_linked_soon(s) && !ask_guest(s))) {
		super_end(s, s->stop_as, NULL);
		return;
	}
	s->stopping = true;
	super_timer(s, &s->stop_timer, grace_ms + POWEROFF_MS, on_late);
}

static void on_logs_pause(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct super *s = src->data;
	uint64_t received = vmlogs_received(s->logs);

	(void)loop;
	(void)events;
	if (received == s->logs_seen || now_ms() >= s->logs_deadline_ms) {
		stop_begin(s, ENDED_EXITED, AFTER_EXIT_MS);
		return;
	}
	s->logs_seen = received;
	super_timer(s, &s->stop_timer, LOGS_PAUSE_MS, on_logs_pause);
}

void stop_after_logs(struct super *s)
{
	s->logs_seen = vmlogs_received(s->logs);
	s->logs_deadline_ms = deadline_in(LOGS_MAX_MS);
	super_timer(s, &s->stop_timer, LOGS_PAUSE_MS, on_logs_pause);
}

void stop_request(struct super *s, struct ctl_request *req, uint64_t grace_ms)
{
	s->stop_wanted = true;
	/* The answer is for one of them; for all, the end of this process is what counts. */
	if (s->stop_req)
		ctl_reply(s->stop_req, NULL);
	s->stop_req = req;
	stop_begin(s, ENDED_REQUESTED, grace_ms);
}
