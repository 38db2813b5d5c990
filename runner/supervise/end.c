#include "super.h"

#include "cleanup.h"
#include "io.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/wait.h>

/* How long bytes the guest sent before it ended may take to get through the channel. */
#define DRAIN_MS 1000

static const enum vm_run final_runs[] = {
	[ENDED_NOT] = RUN_FAILED,       [ENDED_EXITED] = RUN_STOPPED,
	[ENDED_POWEROFF] = RUN_STOPPED, [ENDED_REQUESTED] = RUN_STOPPED,
	[ENDED_REAPED] = RUN_STOPPED,   [ENDED_CRASHED] = RUN_FAILED,
	[ENDED_MEMSERVER] = RUN_LOST,
};

static void on_end(struct loop *loop, struct loop_source *src, uint32_t events);

void super_end(struct super *s, enum vm_ended ended, const struct err *why)
{
	if (s->ending == ENDED_NOT) {
		s->ending = ended;
		s->end_err = why ? *why : (struct err){0};
	}
	super_timer(s, &s->end_timer, 0, on_end);
}

void super_take_down(struct super *s)
{
	struct err err = {0};

	loop_remove(s->loop, &s->launch_timer);
	loop_remove(s->loop, &s->stop_timer);
	loop_remove(s->loop, &s->end_timer);
	loop_remove(s->loop, &s->vmm);
	memwatch_stop(s);
	agentlink_free(s->link);
	s->link = NULL;
	vchan_free(s->chan);
	s->chan = NULL;
	if (s->up && s->engine->stop(&s->vm, 0, &err) < 0)
		vmstate_set_error(&s->st, err.msg);
	s->up = false;
	volset_stop(s->volumes);
	s->volumes = NULL;
	vmlogs_detach(s->logs);
	s->hello_done = s->container_started = s->resumed = s->stopping = false;
	s->guest_lost = s->check_again = false;
	s->st.vmm = (struct proc_id){0};
	s->st.serve_pid = 0;
	s->st.health = HEALTH_NONE;
}

/* The sentence people read in ps: the first reason wins, the VMM's last words follow. */
static void explain(struct super *s, enum vm_ended ended, bool was_up)
{
	char text[2048];
	const char *words = s->vm.last_words;

	if (s->end_err.msg[0]) {
		vmstate_set_error(&s->st, s->end_err.msg);
	} else if (ended == ENDED_EXITED && s->st.exit_code != 0) {
		(void)snprintf(text, sizeof(text), "container '%s' ended with exit code %d",
			       s->st.container ? s->st.container : "?", s->st.exit_code);
		vmstate_set_error(&s->st, text);
	} else if (ended == ENDED_CRASHED && was_up) {
		(void)snprintf(text, sizeof(text), "the VMM ended with status %d%s%s",
			       s->vm.exit_status, words[0] ? ": " : "", words);
		vmstate_set_error(&s->st, text);
	}
}

static void settle(struct super *s, enum vm_ended ended)
{
	bool was_up = s->up;
	enum vm_run run = final_runs[ended];

	super_take_down(s);
	if (ended == ENDED_EXITED && s->st.exit_code != 0)
		run = RUN_FAILED;
	s->st.ended = ended;
	(void)vmstate_move(&s->st, run);
	explain(s, ended, was_up);
	super_save(s);
}

static struct err reason(const struct super *s)
{
	struct err err = s->end_err;

	if (!err.msg[0])
		(void)err_set(&err, ERR_FAILED, -ECANCELED, "%s",
			      s->st.error ? s->st.error : "the VM was stopped");
	return err;
}

static void on_restart(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct super *s = src->data;

	(void)loop;
	(void)events;
	s->restart_tries++;
	s->st.restarts++;
	bringup_begin(s);
}

static void finish(struct super *s)
{
	if (s->stop_req)
		ctl_reply(s->stop_req, NULL);
	s->stop_req = NULL;
	loop_stop(s->loop, 0);
}

bool super_comes_back(const struct super *s)
{
	return s->ending != ENDED_NOT && !s->stop_wanted &&
	       restart_wanted(s->restart, s->ending, s->st.exit_code);
}

/* Between two runs: until the next one begins it has ended. */
void super_restart_changed(struct super *s)
{
	if (s->st.ended == ENDED_NOT || restart_wanted(s->restart, s->st.ended, s->st.exit_code))
		return;
	loop_remove(s->loop, &s->restart_timer);
	waits_fail(s);
	finish(s);
}

static void on_end(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct super *s = src->data;
	enum vm_ended ended = s->ending;
	/* A first start that fails is its caller's to repeat. */
	bool first = s->launching && s->launch_req;

	(void)loop;
	(void)events;
	loop_remove(s->loop, &s->restart_timer);
	settle(s, ended);
	struct err why = reason(s);

	snap_abort(s, &why);
	bringup_fail(s, &why);
	waits_fail(s);
	bool again = !first && super_comes_back(s);

	s->ending = ENDED_NOT;
	if (s->ready_at_ms && now_ms() - s->ready_at_ms >= RESTART_LAST_MS)
		s->restart_tries = 0;
	s->ready_at_ms = 0;
	if (again)
		super_timer(s, &s->restart_timer, restart_delay_ms(s->restart_tries), on_restart);
	else
		finish(s);
}

/* Exit status 0 without anybody asking: the guest switched itself off. */
static enum vm_ended why_gone(const struct super *s)
{
	siginfo_t info = {0};

	if (s->stopping)
		return s->stop_as;
	if (waitid(P_PIDFD, (id_t)s->vm.pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	    info.si_code == CLD_EXITED && info.si_status == 0)
		return ENDED_POWEROFF;
	return ENDED_CRASHED;
}

static void on_silence(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct super *s = src->data;

	(void)loop;
	(void)events;
	super_end(s, ENDED_CRASHED, &s->silence);
}

void super_guest_lost(struct super *s, const struct err *why)
{
	if (s->stopping || s->ending != ENDED_NOT || s->guest_lost) {
		if (s->ending != ENDED_NOT)
			super_end(s, s->ending, NULL);
		return;
	}
	s->guest_lost = true;
	s->silence = *why;
	super_timer(s, &s->end_timer, DRAIN_MS, on_silence);
}

static void on_vmm(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct super *s = src->data;

	(void)events;
	loop_remove(loop, &s->vmm);
	if (s->ending == ENDED_NOT) {
		s->ending = why_gone(s);
		s->end_err = (struct err){0};
	}
	/* What the guest said last may still be on its way; the channel's end comes behind it. */
	super_timer(s, &s->end_timer, s->chan && !s->guest_lost ? DRAIN_MS : 0, on_end);
}

void super_watch_vmm(struct super *s)
{
	struct err err = {0};

	if (loop_add(s->loop, &s->vmm, s->vm.pidfd, EPOLLIN, on_vmm, s, &err) < 0)
		super_end(s, ENDED_CRASHED, &err);
}
