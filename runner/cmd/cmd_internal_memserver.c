/* `fcvm internal memserver`: the page server of one snapshot. Started by memserver_spawn() only. */
#include "commands.h"

#include "memserver.h"

int cmd_internal_memserver(struct command_ctx *ctx, int argc, char **argv, int *ret_exit,
			   struct err *err)
{
	(void)ctx;
	return memserver_internal(argc, argv, ret_exit, err);
}
