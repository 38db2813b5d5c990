#include "commands.h"

#include "cleanup.h"
#include "client.h"
#include "exec_session.h"
#include "json.h"
#include "log.h"
#include "vm_find.h"
#include "xalloc.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define EXIT_OURS 125

struct exec_options {
	bool interactive, tty, vm;
	struct strv env;
	const char *workdir, *user, *container;
	uint64_t timeout_ms;
};

/* "-e K" takes our own value, as podman does; a name that is not set is left out. */
static void resolve_env(const struct host *host, const struct strv *given, struct strv *ret)
{
	for (size_t i = 0; i < given->n; i++) {
		const char *value = strchr(given->v[i], '=') ? NULL : host->getenv(given->v[i]);

		if (strchr(given->v[i], '='))
			strv_add(ret, given->v[i]);
		else if (value)
			strv_addf(ret, "%s=%s", given->v[i], value);
	}
}

static int check_usage(const struct exec_options *o, const struct strv *args, int before,
		       struct err *err)
{
	if (before < 0 || args->n < 2 || before != 1) {
		(void)err_set(err, ERR_SPEC, -EINVAL, "exec: expected VM -- CMD...%s",
			      before < 0    ? ", but there is no '--'"
			      : before != 1 ? ", with one VM before '--'"
					    : ", but no command follows '--'");
		return err_hint(err, "for example: fcvm exec %s -- hostname",
				args->n ? args->v[0] : "hello.web-0");
	}
	if (o->vm && o->container)
		return err_set(err, ERR_SPEC, -EINVAL,
			       "options '--vm' and '--container' exclude each other");
	if (o->tty && o->interactive && !isatty(STDIN_FILENO)) {
		(void)err_set(err, ERR_SPEC, -ENOTTY, "option '-t': stdin is not a terminal");
		return err_hint(err, "leave out -t");
	}
	return 0;
}

/* The container commands go to: the one asked for, else the VM's, "" for the guest OS. */
static int choose_container(const struct host *host, const char *dir, const char *vm,
			    const struct exec_options *o, char **ret, struct err *err)
{
	auto_json struct json_object *status = NULL;
	int r = supervisor_peek(dir, host->boot_id, &status, err);

	if (r < 0)
		return err_wrap(err, "VM '%s'", vm);
	if (json_opt_str(status, "ended", NULL))
		return err_set(err, ERR_FAILED, -ESRCH, "VM '%s' is not running, it is %s", vm,
			       json_opt_str(status, "state", "stopped"));
	*ret = xstrdup(o->vm          ? ""
		       : o->container ? o->container
				      : json_opt_str(status, "container", ""));
	return 0;
}

static int run(struct command_ctx *ctx, const struct exec_options *o, const struct strv *args,
	       struct exec_result *ret, struct err *err)
{
	auto_free char *dir = NULL, *container = NULL;
	auto_strv struct strv env = {0}, argv = {0};
	int r = vm_find(ctx->host, args->v[0], false, &dir, err);

	if (r >= 0)
		r = choose_container(ctx->host, dir, args->v[0], o, &container, err);
	if (r < 0)
		return r;
	resolve_env(ctx->host, &o->env, &env);
	for (size_t i = 1; i < args->n; i++)
		strv_add(&argv, args->v[i]);
	struct exec_request req = {
		.instance_dir = dir,
		.argv = &argv,
		.env = &env,
		.cwd = o->workdir,
		.user = o->user,
		.container = container,
		.interactive = o->interactive,
		.tty = o->tty,
		.term = ctx->host->getenv("TERM"),
		.timeout_ms = o->timeout_ms,
		.in = STDIN_FILENO,
		.out = STDOUT_FILENO,
		.err = STDERR_FILENO,
	};

	r = exec_session_run(&req, ret, err);
	return r < 0 ? err_wrap(err, "VM '%s'", args->v[0]) : 0;
}

int cmd_exec(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	struct exec_options o = {.env = {0}};
	const struct opt opts[] = {
		{'i', "interactive", OPT_FLAG, &o.interactive, NULL, "forward stdin", NULL, 0, 0},
		{'t', "tty", OPT_FLAG, &o.tty, NULL, "on a terminal of the guest", NULL, 0, 0},
		{'e', "env", OPT_STRV, &o.env, "K=V", "set a variable; K alone takes ours", NULL, 0,
		 0},
		{'w', "workdir", OPT_STR, &o.workdir, "DIR", "directory to run in", NULL, 0, 0},
		{'u', "user", OPT_STR, &o.user, "USER", "user to run as", NULL, 0, 0},
		{'c', "container", OPT_STR, &o.container, "NAME", "container to run in", NULL, 0,
		 0},
		{0, "vm", OPT_FLAG, &o.vm, NULL, "in the guest OS, not in a container", NULL, 0, 0},
		{0, "timeout", OPT_DURATION, &o.timeout_ms, "D", "end it after D, with 124", NULL,
		 0, 0},
	};
	const struct command_args how = {
		.opts = opts, .n = ARRAY_SIZE(opts), .max_args = SIZE_MAX, .later = "all|fleet"};
	auto_strv struct strv args = {0};
	struct exec_result result = {0};
	bool help = false;
	int before = -1;
	int r = command_parse(ctx, &how, argc, argv, &args, &before, &help, err);

	if (r >= 0 && !help)
		r = check_usage(&o, &args, before, err);
	if (r >= 0 && !help) {
		r = run(ctx, &o, &args, &result, err);
		*ret_exit = r < 0 ? EXIT_OURS : result.code;
	}
	if (result.text[0])
		log_msg(LOG_ERROR, "%s", result.text);
	strv_free(&o.env);
	return r;
}
