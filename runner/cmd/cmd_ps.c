#include "commands.h"

#include "cleanup.h"
#include "inventory.h"
#include "ps_view.h"
#include "rows.h"

#include <stdint.h>

#define KINDS (INVENTORY_VMS | 1u << RESOURCE_MEMSERVER)

static int show(const struct command_ctx *ctx, const struct strv *sets, const char *format,
		bool all, struct err *err)
{
	auto_inventory struct inventory inv = {0};
	auto_json struct json_object *rows = json_object_new_array();
	auto_buf struct buf out = BUF_INIT(PS_TEXT_MAX);
	int r = inventory_load(ctx->host, sets, KINDS, &inv, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < inv.n; i++)
		if (all || ps_is_shown(&inv.v[i]))
			json_object_array_add(rows, ps_view(ctx->host, &inv.v[i]));
	if (!rows_print(rows, format, &out))
		ps_table(rows, ctx->host->unix_ms(), &out);
	return command_print(&out, err);
}

int cmd_ps(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	auto_strv struct strv args = {0};
	const char *format = "table";
	bool all = false, json = false, help = false;
	const struct opt opts[] = {
		{'a', "all", OPT_FLAG, &all, NULL, "also baselines that live on in their snapshot",
		 NULL, 0, 0},
		{0, "format", OPT_CHOICE, &format, "FORMAT", "table, json or jsonl",
		 "table|json|jsonl", 0, 0},
		{0, "json", OPT_FLAG, &json, NULL, "the same as --format json", NULL, 0, 0},
	};
	const struct command_args how = {opts, ARRAY_SIZE(opts), .max_args = SIZE_MAX};
	int r = command_parse(ctx, &how, argc, argv, &args, NULL, &help, err);

	(void)ret_exit;
	if (r < 0 || help)
		return r;
	return show(ctx, &args, json ? "json" : format, all, err);
}
