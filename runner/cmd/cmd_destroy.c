#include "commands.h"

#include "cleanup.h"
#include "file.h"
#include "loop_options.h"
#include "parse.h"

#include <string.h>

/* A path when it looks like one or is one; else the name of a set. */
static bool is_spec(const char *word)
{
	return !parse_is_name(word) || file_exists(word);
}

int cmd_destroy(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	auto_strv struct strv args = {0}, sets = {0};
	auto_fleet struct fleet *fleet = NULL;
	struct reconcile_options options;
	bool no_wait_lock = false, take_over = false, keep_cache = false, help = false;
	uint64_t timeout_ms = 0;
	const struct opt opts[] = {
		{0, "set", OPT_STRV, &sets, "PATH=VALUE",
		 "change a field of the spec, as for apply; repeatable", NULL, 0, 0},
		{0, "timeout", OPT_DURATION, &timeout_ms, "DURATION",
		 "give up after this long (exit 124)", NULL, 0, 0},
		{0, "no-wait-lock", OPT_FLAG, &no_wait_lock, NULL,
		 "exit 7 when another fcvm holds the set", NULL, 0, 0},
		{0, "take-over", OPT_FLAG, &take_over, NULL,
		 "also when the set belongs to another spec", NULL, 0, 0},
		{0, "keep-cache", OPT_FLAG, &keep_cache, NULL,
		 "leave kernels, root file systems and images in the cache (default)", NULL, 0, 0},
	};
	const struct command_args how = {opts, ARRAY_SIZE(opts), .min_args = 1, .max_args = 1,
					 .later = "f|profile"};
	int r = command_parse(ctx, &how, argc, argv, &args, NULL, &help, err);

	(void)ret_exit;
	if (r < 0 || help)
		return r;
	if (is_spec(args.v[0]))
		r = load_fleet(args.v[0], &sets, &fleet, err);
	if (r < 0)
		return r;
	loop_options_init(ctx, &options);
	options.timeout_ms = timeout_ms;
	options.no_wait_lock = no_wait_lock;
	options.take_over = take_over;
	options.spec_label = fleet ? args.v[0] : NULL;
	return reconcile_destroy(ctx->host, fleet, fleet ? fleet->name : args.v[0], &options, err);
}
