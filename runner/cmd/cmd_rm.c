#include "commands.h"

#include "cleanup.h"
#include "vm_find.h"
#include "vm_verbs.h"

#include <stdint.h>

int cmd_rm(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	auto_strv struct strv args = {0};
	auto_inventory struct inventory all = {0};
	const struct command_args how = {.min_args = 1, .max_args = SIZE_MAX};
	bool help = false;
	int r = command_parse(ctx, &how, argc, argv, &args, NULL, &help, err);

	(void)ret_exit;
	if (r < 0 || help)
		return r;
	r = inventory_load(ctx->host, NULL, INVENTORY_VMS, &all, err);
	for (size_t i = 0; r >= 0 && i < args.n; i++) {
		const struct inventory_item *it = NULL;

		r = vm_find_item(&all, args.v[i], true, &it, err);
		if (r >= 0)
			r = vm_remove(ctx->host, it, NULL, err);
	}
	return r;
}
