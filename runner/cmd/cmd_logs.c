#include "commands.h"

#include "cleanup.h"
#include "log_tail.h"
#include "vm_end.h"
#include "vm_find.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* Ended first, then the last pump: what it wrote with its last breath is printed. However it ended:
 * the log is all that was asked for. */
static int follow(const struct vm_end *end, struct log_tail *tail, struct err *err)
{
	struct pollfd fds[] = {
		{.fd = log_tail_fd(tail), .events = POLLIN},
		{.fd = end->supervisor, .events = POLLIN}, /* a killed one writes nothing */
	};

	for (;;) {
		auto_json struct json_object *status = NULL;
		bool ended = vm_end_look(end, &status, NULL) != 0;
		int r = log_tail_pump(tail, STDOUT_FILENO, STDERR_FILENO, err);

		if (r < 0 || ended)
			return r;
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return err_sys(err, "cannot wait for the VM");
	}
}

int cmd_logs(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	auto_strv struct strv args = {0};
	auto_log_tail struct log_tail *tail = NULL;
	auto_vm_end struct vm_end end = {.supervisor = -1};
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
	if (!goes_on)
		return log_tail_pump(tail, STDOUT_FILENO, STDERR_FILENO, err);
	vm_end_open(ctx->host, dir, &end);
	return follow(&end, tail, err);
}
