/* `fcvm internal supervise`: the process behind one VM. Started by supervisor_spawn() only. */
#include "commands.h"

#include "assets.h"
#include "cleanup.h"
#include "supervise.h"

#include <errno.h>

int cmd_internal_supervise(struct command_ctx *ctx, int argc, char **argv, int *ret_exit,
			   struct err *err)
{
	struct supervise_options options = {.ready_fd = -1};
	uint64_t ready_fd = 0;
	const struct opt opts[] = {
		{.name = "dir", .kind = OPT_STR, .value = &options.spec.dir, .arg = "DIR"},
		{.name = "tag", .kind = OPT_STR, .value = &options.spec.tag, .arg = "TAG"},
		{.name = "engine", .kind = OPT_STR, .value = &options.spec.engine, .arg = "E"},
		{.name = "events", .kind = OPT_STR, .value = &options.spec.events, .arg = "FILE"},
		{.name = "vm-id", .kind = OPT_STR, .value = &options.spec.vm_id, .arg = "UUID"},
		{.name = "ready-fd", .kind = OPT_U64, .value = &ready_fd, .arg = "N"},
		{.name = "foreground", .kind = OPT_FLAG, .value = &options.spec.foreground},
	};
	const struct command_args how = {.opts = opts, .n = ARRAY_SIZE(opts)};
	auto_strv struct strv args = {0};
	auto_free char *shim = NULL;
	bool help = false;
	int r = command_parse(ctx, &how, argc, argv, &args, NULL, &help, err);

	(void)ret_exit;
	if (r < 0 || help)
		return r;
	if (!options.spec.dir || !options.spec.tag || !options.spec.engine || !options.spec.vm_id)
		return err_set(err, ERR_SPEC, -EINVAL,
			       "internal supervise needs --dir, --tag, --engine and --vm-id");
	if (ready_fd)
		options.ready_fd = (int)ready_fd;
	r = embedded_shim(ctx->host, &shim, err);
	if (r < 0)
		return r;
	options.shim = shim;
	return supervise_main(ctx->host, &options, err);
}
