#include "commands.h"

#include "cleanup.h"
#include "loop_options.h"
#include "plan_print.h"

#include <string.h>

#define EXIT_CHANGES 2

struct plan_flags {
	struct strv sets;
	const char *engine, *format;
	bool json, detailed, destroy, all;
};

static int run(struct command_ctx *ctx, const struct plan_flags *f, const char *path, int *ret_exit,
	       struct err *err)
{
	auto_buf struct buf out = BUF_INIT(PLAN_TEXT_MAX);
	auto_fleet struct fleet *fleet = NULL;
	struct reconcile_options options;
	bool changes = false;
	int r = load_fleet(path, &f->sets, &fleet, err);

	if (r < 0)
		return r;
	loop_options_init(ctx, &options);
	options.engine = f->engine;
	options.json = f->json || (f->format && strcmp(f->format, "json") == 0);
	options.spec_label = path ? path : "fleet.yaml";
	r = reconcile_plan(ctx->host, fleet, &options, f->destroy, f->all, &out, &changes, err);
	/* A plan that is refused has been made, and is shown. */
	if (out.len) {
		int printed = command_print(&out, r < 0 ? NULL : err);

		r = r < 0 ? r : printed;
	}
	(void)loop_refused(fleet, r);
	if (r >= 0 && changes && f->detailed)
		*ret_exit = EXIT_CHANGES;
	return r;
}

int cmd_plan(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	struct plan_flags f = {0};
	auto_strv struct strv args = {0};
	const struct opt opts[] = {
		{0, "set", OPT_STRV, &f.sets, "PATH=VALUE",
		 "change a field of the spec, e.g. fleets.web.count=5; repeatable", NULL, 0, 0},
		{0, "engine", OPT_CHOICE, &f.engine, "ENGINE", "auto, qemu or firecracker",
		 "auto|qemu|firecracker", 0, 0},
		{0, "format", OPT_CHOICE, &f.format, "FORMAT", "text or json", "text|json", 0, 0},
		{0, "json", OPT_FLAG, &f.json, NULL, "the same as --format json", NULL, 0, 0},
		{0, "detailed-exitcode", OPT_FLAG, &f.detailed, NULL,
		 "exit 2 when there are changes", NULL, 0, 0},
		{0, "destroy", OPT_FLAG, &f.destroy, NULL, "show what destroy would do", NULL, 0,
		 0},
		{0, "all", OPT_FLAG, &f.all, NULL, "json: also what does not change", NULL, 0, 0},
	};
	const struct command_args how = {opts, ARRAY_SIZE(opts), .max_args = 1,
					 .later = "f|profile|out|target|replace|locked|"
						  "allow-replace|keep-running|drift-only"};
	bool help = false;
	int r = command_parse(ctx, &how, argc, argv, &args, NULL, &help, err);

	if (r >= 0 && !help)
		r = run(ctx, &f, args.n ? args.v[0] : NULL, ret_exit, err);
	strv_free(&f.sets);
	return r;
}
