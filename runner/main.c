/* main.c - global options, one command, one error, one exit status (docs/commands.md). */
#include "commands.h"

#include "cleanup.h"
#include "log.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

struct globals {
	const char *data_dir, *log_level, *log_format;
	bool no_color, version, help;
};

static int parse_globals(struct globals *g, int argc, char **argv, struct strv *rest,
			 struct err *err)
{
	const struct opt opts[] = {
		{0, "data-dir", OPT_STR, &g->data_dir, NULL, NULL, NULL, 0, 0},
		{0, "log-level", OPT_CHOICE, &g->log_level, NULL, NULL, "error|warn|info|debug", 0,
		 0},
		{0, "log-format", OPT_CHOICE, &g->log_format, NULL, NULL, "text|json", 0, 0},
		{0, "no-color", OPT_FLAG, &g->no_color, NULL, NULL, NULL, 0, 0},
		{0, "version", OPT_FLAG, &g->version, NULL, NULL, NULL, 0, 0},
		{'h', "help", OPT_FLAG, &g->help, NULL, NULL, NULL, 0, 0},
	};
	const struct opt_parse how = {opts, ARRAY_SIZE(opts), .stop_at_positional = true};
	enum log_level level = LOG_INFO;
	int r = opt_parse(&how, argc, argv, rest, NULL, err);

	if (r >= 0 && g->log_level)
		r = log_parse_level(g->log_level, &level, err);
	if (r >= 0)
		log_setup(level, g->log_format && g->log_format[0] == 'j');
	return r;
}

static bool want_color(const struct globals *g)
{
	const char *no_color = getenv("NO_COLOR");

	return !g->no_color && !(no_color && *no_color) && isatty(STDOUT_FILENO);
}

static int run(int argc, char **argv, int *ret_exit, struct err *err)
{
	__attribute__((cleanup(host_free))) struct host host = {0};
	auto_buf struct buf version = BUF_INIT(64);
	auto_strv struct strv rest = {0};
	struct globals g = {0};
	int r = parse_globals(&g, argc, argv, &rest, err);

	if (r < 0)
		return r;
	buf_add_str(&version, "fcvm " FCVM_VERSION "\n");
	if (g.version)
		return command_print(&version, err);
	r = host_init(&host, g.data_dir, err);
	if (r < 0)
		return r;
	struct command_ctx ctx = {.host = &host, .color = want_color(&g)};
	return g.help ? cmd_help(&ctx, 0, NULL, ret_exit, err)
		      : command_run(&ctx, (int)rest.n, rest.v, ret_exit, err);
}

int main(int argc, char **argv)
{
	struct err err = {0};
	int status = 0;

	(void)signal(SIGPIPE, SIG_IGN);
	int r = run(argc, argv, &status, &err);
	if (r < 0) {
		log_err(&err);
		status = status ? status : err_exit_status(&err);
	}
	return status;
}
