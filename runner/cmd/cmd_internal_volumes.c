/* `fcvm internal volumes`: the server of one host directory of a VM. Started by its supervisor
 * only.
 */
#include "commands.h"

#include "fp_process.h"
#include "log.h"

int cmd_internal_volumes(struct command_ctx *ctx, int argc, char **argv, int *ret_exit,
			 struct err *err)
{
	(void)ctx;
	(void)ret_exit;
	/* stderr is supervisor.log, where the talk belongs. */
	log_setup(LOG_WARN, false);
	return fp_process_internal(argc, argv, err);
}
