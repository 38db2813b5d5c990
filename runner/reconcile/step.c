#include "step.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "json.h"
#include "proc.h"
#include "xalloc.h"

#define REAP_MS 10000u

/* --- in the child --- */

struct child {
	const struct step_input *in;
	int out;
	char *address;
};

static void send_object(struct child *c, struct json_object *o)
{
	auto_free char *text = json_line(o);
	auto_free char *line = xasprintf("%s\n", text);

	/* A parent that is gone takes us with it; nobody else reads this. */
	(void)io_write_full(c->out, line, strlen(line), 0, NULL);
}

static void child_say(void *data, const char *text)
{
	auto_json struct json_object *o = json_object_new_object();

	json_add_str(o, "say", text);
	send_object(data, o);
}

static int child_note(void *data, const char *what, struct err *err)
{
	struct child *c = data;

	if (!c->in->journal)
		return 0;
	return journal_add(c->in->journal, "note", c->address, what, err);
}

static int run_verb(const struct resource_ctx *ctx, const struct step_input *in,
		    struct json_object **ret, struct err *err)
{
	const struct node *node = &in->g->nodes[in->step->node];
	const struct seen *seen = &in->seen[in->step->node];
	const struct resource_ops *ops = in->g->ops[node->kind];
	struct need_list needs = graph_needs(in->g, in->seen, in->step->node);

	switch (in->step->verb) {
	case VERB_CREATE:
		return ops->create(ctx, &needs, node, seen, ret, err);
	case VERB_UPDATE:
		return ops->update(ctx, &needs, node, seen, ret, err);
	case VERB_RELEASE:
		return ops->release(ctx, node, seen, ret, err);
	case VERB_PRUNE:
		return ops->prune(ctx, node, seen, ret, err);
	case VERB_YIELD:
		return ops->yield(ctx, node, seen, in->step->stays, err);
	case VERB_DESTROY:
	default:
		return ops->destroy(ctx, node, seen, err);
	}
}

static void send_result(struct child *c, int r, struct json_object *record, const struct err *err)
{
	auto_json struct json_object *o = json_object_new_object();

	json_add_bool(o, "ok", r >= 0);
	json_add(o, "record", record);
	if (r < 0) {
		json_add_u64(o, "class", err->class);
		json_add(o, "code", json_object_new_int64(r));
		json_add_str(o, "msg", err->msg);
		json_add_str(o, "hint", err->hint);
	}
	send_object(c, o);
}

/* PDEATHSIG is not inherited and races with the parent's end: it is checked again. */
static void enter(const struct step_input *in, pid_t parent)
{
	sigset_t none;

	if (in->lock_fd >= 0)
		close(in->lock_fd);
	(void)setpgid(0, 0);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
}

__attribute__((noreturn)) static void child_main(const struct step_input *in, int out, pid_t parent)
{
	const struct node *node = &in->g->nodes[in->step->node];
	struct child c = {.in = in, .out = out};
	struct resource_ctx ctx = *in->ctx;
	struct json_object *record = NULL;
	struct err err = {0};

	enter(in, parent);
	c.address = resource_address(node->kind, node->name);
	ctx.say = child_say;
	ctx.note = child_note;
	ctx.data = &c;
	int r = run_verb(&ctx, in, &record, &err);
	send_result(&c, r, record, &err);
	_exit(0);
}

/* --- in the parent --- */

int step_start(const struct step_input *in, struct step_child *ret, struct err *err)
{
	int fds[2];
	pid_t parent = getpid();

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	auto_close int out = fds[0];
	auto_close int in_child = fds[1];
	pid_t pid = fork();
	if (pid < 0)
		return err_sys(err, "cannot fork");
	if (pid == 0) {
		close(out);
		child_main(in, in_child, parent);
	}
	/* Both sides set it: whoever comes first, a kill of the group finds it. */
	(void)setpgid(pid, pid);
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return err_sys(err, "cannot open a pidfd of a step");
	(void)io_set_nonblock(out, true);
	*ret = (struct step_child){.pid = pid, .pidfd = pidfd, .out = TAKE_FD(out)};
	return 0;
}

void step_kill(const struct step_child *c)
{
	/* Not reaped yet, so the pid, and the group it leads, are still ours. */
	(void)kill(-c->pid, SIGKILL);
	(void)proc_signal(c->pidfd, SIGKILL);
}

int step_reap(struct step_child *c, int *ret_status, struct err *err)
{
	int r = proc_wait(c->pidfd, deadline_in(REAP_MS), ret_status, err);

	close(c->pidfd);
	close(c->out);
	*c = (struct step_child){.pid = -1, .pidfd = -1, .out = -1};
	return r;
}

void step_result_clear(struct step_result *r)
{
	json_put_p(&r->record);
	*r = (struct step_result){0};
}

static void take_result(struct json_object *o, struct step_result *ret)
{
	struct json_object *record = json_opt_obj(o, "record");
	uint64_t class = json_opt_u64(o, "class", ERR_FAILED);
	int64_t code = 0;

	*ret = (struct step_result){.ok = json_opt_bool(o, "ok", false)};
	if (record)
		ret->record = json_object_get(record);
	if (ret->ok)
		return;
	if (json_get_i64(o, "code", &code, NULL) < 0 || code >= 0 || code < -4095)
		code = -EIO;
	(void)err_set(&ret->err, class <= ERR_INTERRUPTED ? (enum err_class) class : ERR_FAILED,
		      (int)code, "%s", json_opt_str(o, "msg", "no reason given"));
	if (*json_opt_str(o, "hint", ""))
		(void)err_hint(&ret->err, "%s", json_opt_str(o, "hint", ""));
}

int step_parse_line(const char *line, size_t len, char **ret_say, struct step_result *ret,
		    struct err *err)
{
	auto_json struct json_object *o = NULL;
	int r = json_parse(line, len, &o, err);

	if (r < 0)
		return r;
	const char *say = json_opt_str(o, "say", NULL);
	if (say) {
		*ret_say = xstrdup(say);
		return 1;
	}
	if (!json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, "ok", NULL))
		return err_set(err, ERR_FAILED, -EBADMSG,
			       "a step said something else than a "
			       "result");
	take_result(o, ret);
	return 2;
}
