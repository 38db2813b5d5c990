#include "super.h"

#include "cleanup.h"
#include "io.h"
#include "xalloc.h"

#include <errno.h>

enum until { BOOTED, STARTED, HEALTHY, UNTILS };

static const char *const until_names[UNTILS] = {
	[BOOTED] = "booted",
	[STARTED] = "started",
	[HEALTHY] = "healthy",
};

struct waiter {
	struct waiter *next;
	struct ctl_request *req;
	enum until until;
	uint64_t deadline_ms; /* 0: none */
};

static void arm_timer(struct super *s);

static struct ctl_request *unlink_waiter(struct super *s, struct waiter *w)
{
	struct ctl_request *req = w->req;
	struct waiter **at = &s->waiters;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	free(w);
	return req;
}

static void on_gone(void *data, struct ctl_request *req)
{
	struct super *s = data;
	struct waiter *w = s->waiters;

	while (w && w->req != req)
		w = w->next;
	if (w)
		ctl_reply(unlink_waiter(s, w), NULL);
}

static bool reached(const struct super *s, enum until until)
{
	bool booted = s->st.run == RUN_RUNNING || s->st.run == RUN_READY;

	if (until == BOOTED)
		return booted;
	if (until == STARTED)
		return booted && s->container_started;
	return until == HEALTHY && booted && s->container_started &&
	       (s->st.health == HEALTH_NONE || s->st.health == HEALTH_HEALTHY);
}

/* What the VM lacks, for people. */
static void missing(const struct super *s, enum until until, char *ret, size_t size)
{
	const char *name = s->st.container ? s->st.container : "the container";

	if (s->st.run == RUN_CREATING)
		(void)snprintf(ret, size, "the guest's agent has not answered");
	else if (until != BOOTED && !s->container_started)
		(void)snprintf(ret, size, "container '%s' has not started", name);
	else
		(void)snprintf(ret, size, "container '%s' is not healthy; its last probe said: %s",
			       name, s->probe_text[0] ? s->probe_text : "(nothing)");
}

static void time_out(struct super *s, struct waiter *w)
{
	struct err err = {0};
	char what[768];

	missing(s, w->until, what, sizeof(what));
	(void)err_set(&err, ERR_NOT_READY, -ETIMEDOUT, "not %s in time: %s", until_names[w->until],
		      what);
	ctl_fail(unlink_waiter(s, w), &err);
}

static void on_timer(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct super *s = src->data;
	struct waiter *next = NULL;

	(void)loop;
	(void)events;
	for (struct waiter *w = s->waiters; w; w = next) {
		next = w->next;
		if (w->deadline_ms && now_ms() >= w->deadline_ms)
			time_out(s, w);
	}
	arm_timer(s);
}

static void arm_timer(struct super *s)
{
	uint64_t first = UINT64_MAX, now = now_ms();

	for (const struct waiter *w = s->waiters; w; w = w->next)
		if (w->deadline_ms && w->deadline_ms < first)
			first = w->deadline_ms;
	if (first == UINT64_MAX)
		loop_remove(s->loop, &s->wait_timer);
	else
		super_timer(s, &s->wait_timer, first > now ? first - now : 0, on_timer);
}

static void add(struct super *s, struct ctl_request *req, enum until until, uint64_t timeout_ms)
{
	struct waiter *w = xcalloc(1, sizeof(*w));

	w->req = req;
	w->until = until;
	w->deadline_ms = timeout_ms ? deadline_in(timeout_ms) : 0;
	w->next = s->waiters;
	s->waiters = w;
	ctl_on_gone(req, on_gone, s);
	arm_timer(s);
	waits_check(s);
}

void waits_add(struct super *s, struct ctl_request *req, struct json_object *args)
{
	const char *name = json_opt_str(args, "until", "");
	struct err err = {0};

	for (enum until u = BOOTED; u < UNTILS; u++) {
		if (strcmp(name, until_names[u]) == 0) {
			add(s, req, u, json_opt_u64(args, "timeout_ms", 0));
			return;
		}
	}
	(void)err_set(&err, ERR_FAILED, -EINVAL, "cannot wait until '%s'", name);
	ctl_fail(req, &err);
}

void waits_check(struct super *s)
{
	struct waiter *next = NULL;

	for (struct waiter *w = s->waiters; w; w = next) {
		next = w->next;
		if (reached(s, w->until))
			ctl_reply(unlink_waiter(s, w), NULL);
	}
}

void waits_fail(struct super *s)
{
	struct err err = {0};

	while (s->waiters) {
		struct waiter *w = s->waiters;

		(void)err_set(&err, ERR_NOT_READY, -ECANCELED, "the VM ended before it was %s%s%s",
			      until_names[w->until], s->st.error ? ": " : "",
			      s->st.error ? s->st.error : "");
		ctl_fail(unlink_waiter(s, w), &err);
	}
}
