#include "commands.h"

#include "cleanup.h"

#include <errno.h>
#include <string.h>

static const struct {
	const char *name;
	command_fn run;
} internals[] = {
	{"docs", cmd_internal_docs},
	{"supervise", cmd_internal_supervise},
	{"memserver", cmd_internal_memserver},
	{"volumes", cmd_internal_volumes},
};

int cmd_internal(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(internals); i++)
		if (!strcmp(internals[i].name, argv[1]))
			return internals[i].run(ctx, argc - 1, argv + 1, ret_exit, err);
	return err_set(err, ERR_SPEC, -EINVAL, "unknown internal command '%s'",
		       argc > 1 ? argv[1] : "");
}
