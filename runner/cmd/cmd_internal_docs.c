/* `fcvm internal docs spec|commands`: the generated pages of docs/, for `make docs`. */
#include "commands.h"

#include "cleanup.h"
#include "explain.h"
#include "xalloc.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

/* One table for all commands; the statuses of failures are err_exit_status()'s. */
static const struct {
	const char *status, *meaning;
} exits[] = {
	{"0", "done"},
	{"1", "unexpected failure"},
	{"2", "`plan --detailed-exitcode`: changes are pending"},
	{"3", "the spec or the command line is invalid"},
	{"4", "this host cannot do it, or refuses to"},
	{"5", "`apply` is incomplete: something failed, or was not tried"},
	{"6", "not ready in time"},
	{"7", "the set is locked by another command, which is named"},
	{"10", "cleanup left something, which is listed"},
	{"124", "overall timeout"},
	{"125",
	 "`exec`, `podman run`: the failure is fcvm's or the guest agent's, not the command's"},
	{"126", "`exec`, `podman run`: the command cannot be executed"},
	{"127", "`exec`, `podman run`: the command was not found"},
	{"130", "interrupted"},
};

/* What c answers to --help, below a heading. */
static int add_help(struct command_ctx *ctx, const struct command *c, const char *heading,
		    struct buf *out, struct err *err)
{
	char ask[] = "--help";
	auto_free char *name = xstrdup(c->name);
	char *argv[] = {name, ask, NULL};
	auto_buf struct buf text = BUF_INIT(SIZE_MAX);
	struct command_ctx inner = {.host = ctx->host, .command = c, .help = &text};
	int status = 0;
	int r = c->run(&inner, 2, argv, &status, err);

	if (r < 0)
		return err_wrap(err, "%s", c->name);
	buf_addf(out, "\n## %s\n\n```text\n%s```\n", heading, buf_str(&text));
	return 0;
}

static int add_command(struct command_ctx *ctx, const struct command *c, struct buf *out,
		       struct err *err)
{
	auto_free char *heading = xasprintf("fcvm %s%s%s", c->name, c->alias ? ", fcvm " : "",
					    c->alias ? c->alias : "");

	/* `help` answers with the overview, which stands first. */
	if ((c->flags & COMMAND_INTERNAL) || c->run == cmd_help)
		return 0;
	return add_help(ctx, c, heading, out, err);
}

static int commands_markdown(struct command_ctx *ctx, struct buf *out, struct err *err)
{
	const struct command overview = {.name = "help", .run = cmd_help};
	int r;

	buf_add_str(out,
		    "# Commands\n\n"
		    "Generated from `runner/commands.c` and the options of each command by\n"
		    "`make docs`; do not edit. `fcvm help COMMAND` prints the same.\n\n"
		    "The answer goes to stdout, everything else to stderr.\n\n"
		    "## Exit status\n\n"
		    "`exec`, `podman run` and `snapshot run --exec` otherwise end with the guest\n"
		    "command's status.\n\n"
		    "| status | meaning |\n|---|---|\n");
	for (size_t i = 0; i < ARRAY_SIZE(exits); i++)
		buf_addf(out, "| %s | %s |\n", exits[i].status, exits[i].meaning);
	r = add_help(ctx, &overview, "fcvm", out, err);
	for (size_t i = 0; i < commands_n && r >= 0; i++)
		r = add_command(ctx, &commands[i], out, err);
	return r;
}

static int spec_markdown(struct command_ctx *ctx, struct buf *out, struct err *err)
{
	(void)ctx;
	(void)err;
	explain_spec_markdown(out);
	return 0;
}

int cmd_internal_docs(struct command_ctx *ctx, int argc, char **argv, int *ret_exit,
		      struct err *err)
{
	static const struct {
		const char *name;
		int (*write)(struct command_ctx *ctx, struct buf *out, struct err *err);
	} pages[] = {{"spec", spec_markdown}, {"commands", commands_markdown}};
	auto_buf struct buf out = BUF_INIT(SIZE_MAX);

	(void)ret_exit;
	for (size_t i = 0; argc == 2 && i < ARRAY_SIZE(pages); i++) {
		if (strcmp(pages[i].name, argv[1]) != 0)
			continue;
		int r = pages[i].write(ctx, &out, err);
		return r < 0 ? r : command_help(ctx, &out, err);
	}
	return err_set(err, ERR_SPEC, -EINVAL, "'internal docs' needs one of spec, commands");
}
