#include "commands.h"

#include "cleanup.h"
#include "opt.h"

#include <stdint.h>

/* Their values live in main: here only the text counts. */
static const struct opt global_opts[] = {
	{0, "data-dir", OPT_STR, NULL, "DIR", "where everything is kept (FCVM_DATA_DIR)", NULL, 0,
	 0},
	{0, "log-level", OPT_STR, NULL, "LEVEL", "error, warn, info or debug", NULL, 0, 0},
	{0, "log-format", OPT_STR, NULL, "FORMAT", "text or json", NULL, 0, 0},
	{0, "no-color", OPT_FLAG, NULL, NULL, "plain text (NO_COLOR)", NULL, 0, 0},
	{0, "version", OPT_FLAG, NULL, NULL, "print the version", NULL, 0, 0},
	{'h', "help", OPT_FLAG, NULL, NULL, "this text, or a command's options", NULL, 0, 0},
};

static void add_overview(struct buf *out)
{
	buf_add_str(out, "usage: fcvm [OPTION...] COMMAND ...\n\n"
			 "declarative fleets of microVMs: boot once, snapshot, clone\n\n");
	for (size_t i = 0; i < commands_n; i++)
		if (!(commands[i].flags & COMMAND_INTERNAL))
			buf_addf(out, "  %-16s %s\n", commands[i].name, commands[i].summary);
	buf_add_char(out, '\n');
	opt_usage(global_opts, ARRAY_SIZE(global_opts), out);
	buf_add_str(out, "\nexample: fcvm apply fleet.yaml\n");
}

int cmd_help(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	char word[] = "help", ask[] = "--help", *again[] = {word, ask, NULL};
	auto_buf struct buf out = BUF_INIT(SIZE_MAX);
	int used = 0;

	if (argc < 2 || argv[1][0] == '-') {
		add_overview(&out);
		return command_help(ctx, &out, err);
	}
	if (argc == 2 && command_group_usage(argv[1], &out))
		return command_help(ctx, &out, err);
	int r = command_find(argc - 1, argv + 1, &ctx->command, &used, err);
	if (r < 0)
		return r;
	return ctx->command->run(ctx, 2, again, ret_exit, err);
}
