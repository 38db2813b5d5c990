#include "commands.h"

#include "cleanup.h"
#include "fleet.h"
#include "io.h"

#include <stdint.h>
#include <unistd.h>

int cmd_validate(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	auto_strv struct strv sets = {0}, args = {0};
	const struct opt opts[] = {
		{.name = "set",
		 .kind = OPT_STRV,
		 .value = &sets,
		 .arg = "PATH=VALUE",
		 .doc = "change a field of the spec, e.g. fleets.web.count=5; repeatable"},
	};
	const struct command_args how = {opts, ARRAY_SIZE(opts), .min_args = 0, .max_args = 1,
					 .later = "f|profile"};
	const struct fleet_options options = {.sets = &sets};
	auto_buf struct buf problems = BUF_INIT(SIZE_MAX);
	auto_fleet struct fleet *fleet = NULL;
	bool help = false;
	int r = command_parse(ctx, &how, argc, argv, &args, NULL, &help, err);

	(void)ret_exit;
	if (r < 0 || help)
		return r;
	r = fleet_load(args.n ? args.v[0] : "fleet.yaml", &options, &fleet, &problems, err);
	if (problems.len)
		(void)io_write_full(STDERR_FILENO, problems.data, problems.len, 0, NULL);
	return r;
}
