#include "commands.h"

#include "cleanup.h"
#include "schema.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static bool comes_later(const char *name)
{
	return !strcmp(name, "state") || !strcmp(name, "event") || !strcmp(name, "plan");
}

int cmd_schema(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	const struct command_args how = {.max_args = 1};
	auto_buf struct buf out = BUF_INIT(SIZE_MAX);
	auto_strv struct strv args = {0};
	bool help = false;
	int r = command_parse(ctx, &how, argc, argv, &args, NULL, &help, err);

	(void)ret_exit;
	if (r < 0 || help)
		return r;
	if (args.n && strcmp(args.v[0], "fleet") != 0)
		return err_set(err, ERR_SPEC, -EINVAL, "expected fleet, got '%s'%s", args.v[0],
			       comes_later(args.v[0]) ? ", not available in this version" : "");
	auto_free char *text = schema_fleet();
	buf_add_str(&out, text);
	return command_print(&out, err);
}
