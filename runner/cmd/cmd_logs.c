#include "commands.h"

#include "cleanup.h"
#include "client.h"
#include "io.h"
#include "log_tail.h"
#include "vm_find.h"

#include <poll.h>
#include <unistd.h>

static bool has_ended(const struct host *host, const char *dir)
{
	auto_json struct json_object *status = NULL;

	return supervisor_peek(dir, host->boot_id, &status, NULL) < 0 ||
	       json_opt_str(status, "ended", NULL);
}

/* Ended first, then the last pump: what it wrote with its last breath is printed. */
static int follow(const struct host *host, const char *dir, struct log_tail *tail, struct err *err)
{
	for (;;) {
		bool ended = has_ended(host, dir);
		int r = log_tail_pump(tail, STDOUT_FILENO, STDERR_FILENO, err);

		if (r < 0 || ended)
			return r;
		(void)io_wait(log_tail_fd(tail), POLLIN, 0);
	}
}

int cmd_logs(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	auto_strv struct strv args = {0};
	auto_log_tail struct log_tail *tail = NULL;
	auto_free char *dir = NULL;
	bool goes_on = false, help = false;
	const struct opt opts[] = {
		{'f', "follow", OPT_FLAG, &goes_on, NULL, "go on until the VM ends", NULL, 0, 0},
	};
	const struct command_args how = {opts, ARRAY_SIZE(opts), .min_args = 1, .max_args = 1,
					 .later = "since|fleet"};
	int r = command_parse(ctx, &how, argc, argv, &args, NULL, &help, err);

	(void)ret_exit;
	if (r < 0 || help)
		return r;
	if ((r = vm_find(ctx->host, args.v[0], false, &dir, err)) < 0 ||
	    (r = log_tail_open(dir, NULL, true, &tail, err)) < 0)
		return r;
	if (goes_on)
		return follow(ctx->host, dir, tail, err);
	return log_tail_pump(tail, STDOUT_FILENO, STDERR_FILENO, err);
}
