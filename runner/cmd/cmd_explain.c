#include "commands.h"

#include "cleanup.h"
#include "explain.h"

#include <stdint.h>

int cmd_explain(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	const struct command_args how = {.max_args = 1};
	auto_buf struct buf out = BUF_INIT(SIZE_MAX);
	auto_strv struct strv args = {0};
	bool help = false;
	int r = command_parse(ctx, &how, argc, argv, &args, NULL, &help, err);

	(void)ret_exit;
	if (r < 0 || help)
		return r;
	r = explain_field(args.n ? args.v[0] : "", &out, err);
	return r < 0 ? r : command_print(&out, err);
}
