#include "commands.h"

#include "cleanup.h"
#include "inventory.h"
#include "loop_options.h"
#include "ps_view.h"

#include <errno.h>
#include <string.h>

struct apply_flags {
	struct strv sets;
	const char *engine, *format, *events;
	uint64_t timeout_ms, parallelism;
	bool json, keep_going, fail_fast, no_wait, no_wait_lock, take_over;
};

/* What there is now, after it was made. */
static int closing_table(const struct command_ctx *ctx, const char *set, struct err *err)
{
	auto_inventory struct inventory inv = {0};
	auto_json struct json_object *rows = json_object_new_array();
	auto_buf struct buf out = BUF_INIT(PS_TEXT_MAX);
	auto_strv struct strv sets = {0};
	int r;

	strv_add(&sets, set);
	r = inventory_load(ctx->host, &sets, INVENTORY_VMS | 1u << RESOURCE_MEMSERVER, &inv, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < inv.n; i++)
		if (ps_is_shown(&inv.v[i]))
			json_object_array_add(rows, ps_view(ctx->host, &inv.v[i]));
	buf_add_char(&out, '\n');
	ps_table(rows, ctx->host->unix_ms(), &out);
	return command_print(&out, err);
}

static int run(struct command_ctx *ctx, const struct apply_flags *f, const char *path,
	       struct err *err)
{
	auto_fleet struct fleet *fleet = NULL;
	struct reconcile_options options;
	bool changes = false;
	int r = load_fleet(path, &f->sets, &fleet, err);

	if (r < 0)
		return r;
	loop_options_init(ctx, &options);
	options.engine = f->engine;
	options.timeout_ms = f->timeout_ms;
	options.parallelism = (uint32_t)f->parallelism;
	options.fail_fast = f->fail_fast;
	options.no_wait = f->no_wait;
	options.no_wait_lock = f->no_wait_lock;
	options.take_over = f->take_over;
	options.events_path = f->events;
	options.json = f->json || (f->format && strcmp(f->format, "json") == 0);
	options.spec_label = path ? path : "fleet.yaml";
	r = loop_refused(fleet, reconcile_apply(ctx->host, fleet, &options, &changes, err));
	if (r < 0 || !changes || options.json)
		return r;
	return closing_table(ctx, fleet->name, err);
}

int cmd_apply(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	struct apply_flags f = {0};
	auto_strv struct strv args = {0};
	const struct opt opts[] = {
		{0, "set", OPT_STRV, &f.sets, "PATH=VALUE",
		 "change a field of the spec, e.g. fleets.web.count=5; repeatable", NULL, 0, 0},
		{0, "engine", OPT_CHOICE, &f.engine, "ENGINE", "auto, qemu or firecracker",
		 "auto|qemu|firecracker", 0, 0},
		{0, "timeout", OPT_DURATION, &f.timeout_ms, "DURATION",
		 "give up after this long (exit 124)", NULL, 0, 0},
		{0, "parallelism", OPT_U64, &f.parallelism, "N",
		 "at most N steps at once, on top of policy.parallelism", NULL, 1, 1024},
		{0, "keep-going", OPT_FLAG, &f.keep_going, NULL,
		 "after a failure go on with what does not depend on it (default)", NULL, 0, 0},
		{0, "fail-fast", OPT_FLAG, &f.fail_fast, NULL, "after a failure start nothing new",
		 NULL, 0, 0},
		{0, "no-wait", OPT_FLAG, &f.no_wait, NULL,
		 "started is enough: do not wait for health", NULL, 0, 0},
		{0, "no-wait-lock", OPT_FLAG, &f.no_wait_lock, NULL,
		 "exit 7 when another fcvm holds the set", NULL, 0, 0},
		{0, "take-over", OPT_FLAG, &f.take_over, NULL,
		 "take a set that belongs to another spec", NULL, 0, 0},
		{0, "events", OPT_STR, &f.events, "FILE",
		 "write events to FILE, one JSON object a line", NULL, 0, 0},
		{0, "format", OPT_CHOICE, &f.format, "FORMAT", "text, or json: events on stdout",
		 "text|json", 0, 0},
		{0, "json", OPT_FLAG, &f.json, NULL, "the same as --format json", NULL, 0, 0},
	};
	const struct command_args how = {opts, ARRAY_SIZE(opts), .max_args = 1,
					 .later = "f|profile|target|replace|slice|watch|locked|"
						  "allow-replace|keep-running|drift-only|"
						  "why-slow|rebalance|rerun-hooks"};
	bool help = false;
	int r = command_parse(ctx, &how, argc, argv, &args, NULL, &help, err);

	(void)ret_exit;
	if (r >= 0 && !help && f.keep_going && f.fail_fast)
		r = err_set(err, ERR_SPEC, -EINVAL,
			    "--keep-going and --fail-fast exclude each other");
	else if (r >= 0 && !help)
		r = run(ctx, &f, args.n ? args.v[0] : NULL, err);
	strv_free(&f.sets);
	return r;
}
