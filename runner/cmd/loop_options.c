#include "loop_options.h"

#include "cleanup.h"
#include "io.h"
#include "log.h"
#include "set.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

int load_fleet(const char *path, const struct strv *sets, struct fleet **ret, struct err *err)
{
	const struct fleet_options options = {.sets = sets};
	auto_buf struct buf problems = BUF_INIT(SIZE_MAX);
	auto_fleet struct fleet *fleet = NULL;
	int r;

	path = path ? path : "fleet.yaml";
	r = fleet_load(path, &options, &fleet, &problems, err);
	if (r >= 0)
		r = fleet_refuse_unavailable(fleet, &problems, err);
	if (problems.len)
		(void)io_write_full(STDERR_FILENO, problems.data, problems.len, 0, NULL);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(fleet);
	return 0;
}

int loop_refused(const struct fleet *fleet, int r)
{
	auto_buf struct buf problems = BUF_INIT(SIZE_MAX);

	fleet_print_problems(fleet, &problems);
	if (problems.len)
		(void)io_write_full(STDERR_FILENO, problems.data, problems.len, 0, NULL);
	return r;
}

static int print(void *data, const char *text, struct err *err)
{
	(void)data;
	return io_write_full(STDOUT_FILENO, text, strlen(text), 0, err);
}

static void warn(void *data, const char *text)
{
	(void)data;
	log_warn("%s", text);
}

void loop_options_init(const struct command_ctx *ctx, struct reconcile_options *o)
{
	const char *term = ctx->host->getenv("TERM");

	*o = (struct reconcile_options){
		.color = ctx->color,
		.terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0,
		.print = print,
		.warn = warn,
	};
}
