#include "op_hooks.h"

#include <errno.h>
#include <stdlib.h>

#include "launch.h"
#include "xalloc.h"

struct hooks {
	struct agent *agent;
	const char *label;
	struct proto_hooks list;
	size_t next;
	struct task *task;
	void (*done)(void *data, int code, const char *text);
	void *data;
};

static void finish(struct hooks *h, int code, const char *text)
{
	h->done(h->data, code, text);
	proto_hooks_free(&h->list);
	free(h);
}

static void run_next(struct hooks *h);

static void on_task(void *data, int code, const char *output)
{
	struct hooks *h = data;
	const struct proto_hook *hook = &h->list.v[h->next];

	if (code != 0) {
		auto_buf struct buf text = BUF_INIT(2048);

		buf_addf(&text, "%s hook %zu ('%s') failed with exit code %d%s%s", h->label,
			 h->next + 1, hook->argv.v[0], code, *output ? ": " : "", output);
		finish(h, code == LAUNCH_CODE_TIMEOUT ? -ETIMEDOUT : -ECHILD, buf_str(&text));
		return;
	}
	h->next++;
	run_next(h);
}

static void run_next(struct hooks *h)
{
	struct err err = {0};

	if (h->next == h->list.n) {
		finish(h, 0, "");
		return;
	}
	const struct proto_hook *hook = &h->list.v[h->next];
	struct launch_spec spec = {
		.container = hook->container, .argv = &hook->argv, .timeout_ms = hook->timeout_ms};
	if (task_start(h->agent, &spec, on_task, h, &h->task, &err) < 0) {
		(void)err_wrap(&err, "%s hook %zu ('%s')", h->label, h->next + 1, hook->argv.v[0]);
		finish(h, err.code, err.msg);
	}
}

void hooks_run(struct agent *agent, const char *label, struct proto_hooks *hooks,
	       void (*done)(void *data, int code, const char *text), void *data)
{
	struct hooks *h = xcalloc(1, sizeof(*h));

	h->agent = agent;
	h->label = label;
	h->list = *hooks;
	*hooks = (struct proto_hooks){0};
	h->done = done;
	h->data = data;
	run_next(h);
}
