/* What commands.h promises about any command; the table itself is in runner/commands.c. */
#include "commands.h"

#include "cleanup.h"
#include "io.h"
#include "xalloc.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

static bool is_name(const struct command *c, const char *name)
{
	return !strcmp(c->name, name) || (c->alias && !strcmp(c->alias, name));
}

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < commands_n; i++)
		if (is_name(&commands[i], name))
			return &commands[i];
	return NULL;
}

/* "create, serve or run" when word is the first of two, "" when it is not. */
static void list_second_words(const char *word, struct buf *out)
{
	size_t len = strlen(word);
	const char *last = NULL;

	for (size_t i = 0; i < commands_n; i++) {
		const char *name = commands[i].name;
		if (strncmp(name, word, len) != 0 || name[len] != ' ')
			continue;
		if (last)
			buf_addf(out, "%s%s", out->len ? ", " : "", last);
		last = name + len + 1;
	}
	if (last)
		buf_addf(out, "%s%s", out->len ? " or " : "", last);
}

bool command_group_usage(const char *word, struct buf *out)
{
	size_t len = strlen(word), before = out->len;

	for (size_t i = 0; i < commands_n; i++) {
		const struct command *c = &commands[i];

		if ((c->flags & COMMAND_INTERNAL) || strncmp(c->name, word, len) != 0 ||
		    c->name[len] != ' ')
			continue;
		if (out->len == before)
			buf_addf(out, "usage: fcvm %s COMMAND ...\n\n", word);
		buf_addf(out, "  %-16s %s\n", c->name, c->summary);
	}
	return out->len > before;
}

static bool asks_for_help(const char *word)
{
	return !strcmp(word, "--help") || !strcmp(word, "-h");
}

static bool comes_later(const char *name)
{
	for (size_t i = 0; commands_later[i]; i++)
		if (!strcmp(commands_later[i], name))
			return true;
	return false;
}

static int unknown(const char *shown, struct err *err)
{
	auto_free const char **names = xcalloc(2 * commands_n, sizeof(*names));
	size_t n = 0;

	for (size_t i = 0; i < commands_n; i++) {
		if (commands[i].flags & COMMAND_INTERNAL)
			continue;
		names[n++] = commands[i].name;
		if (commands[i].alias)
			names[n++] = commands[i].alias;
	}
	const char *nearest = strv_nearest(shown, names, n);
	(void)err_set(err, ERR_SPEC, -EINVAL, "unknown command '%s'", shown);
	if (nearest)
		(void)err_hint(err, "did you mean '%s'?", nearest);
	else
		(void)err_hint(err, "'fcvm help' lists the commands");
	return -EINVAL;
}

static int bad_command(const char *msg, const char *detail, struct err *err)
{
	(void)err_set(err, ERR_SPEC, -EINVAL, "%s%s", msg, detail);
	return err_hint(err, "'fcvm help' lists the commands");
}

int command_find(int argc, char *const *argv, const struct command **ret, int *ret_used,
		 struct err *err)
{
	auto_buf struct buf words = BUF_INIT(256);

	if (argc < 1)
		return bad_command("no command given", "", err);
	auto_free char *two = argc > 1 ? xasprintf("%s %s", argv[0], argv[1]) : NULL;
	const struct command *pair = two ? find(two) : NULL;
	const struct command *c = pair ? pair : find(argv[0]);
	if (c) {
		*ret = c;
		*ret_used = pair ? 2 : 1;
		return 0;
	}
	if (comes_later(argv[0])) {
		auto_free char *what = xasprintf("'%s' is not available in this version", argv[0]);
		return bad_command(what, "", err);
	}
	list_second_words(argv[0], &words);
	if (!words.len || (two && argv[1][0] != '-'))
		return unknown(words.len ? two : argv[0], err);
	auto_free char *missing = xasprintf("'%s' needs a command: ", argv[0]);
	return bad_command(missing, buf_str(&words), err);
}

static struct opt help_opt(bool *value)
{
	return (struct opt){.short_name = 'h',
			    .name = "help",
			    .kind = OPT_FLAG,
			    .value = value,
			    .doc = "this text"};
}

static void add_usage(const struct command *c, const struct opt_parse *how, struct buf *out)
{
	buf_addf(out, "usage: fcvm %s%s%s%s\n\n%s\n\n", c->name, how->n > 1 ? " [OPTION...]" : "",
		 *c->args ? " " : "", c->args, c->summary);
	opt_usage(how->opts, how->n, out);
	buf_addf(out, "\nexample: fcvm %s\n", c->example);
}

static int check_count(const struct command_ctx *ctx, const struct command_args *how,
		       const struct strv *args, struct err *err)
{
	const struct command *c = ctx->command;

	if (args->n < how->min_args)
		return err_set(err, ERR_SPEC, -EINVAL, "'%s' needs %s", c->name, c->args);
	if (args->n > how->max_args)
		return err_set(err, ERR_SPEC, -EINVAL, "'%s' takes %s, got '%s' too", c->name,
			       *c->args ? c->args : "options only", args->v[how->max_args]);
	return 0;
}

int command_parse(const struct command_ctx *ctx, const struct command_args *how, int argc,
		  char **argv, struct strv *ret_args, int *ret_dashdash, bool *ret_help,
		  struct err *err)
{
	auto_free struct opt *opts = xcalloc(how->n + 1, sizeof(*opts));
	auto_strv struct strv args = {0};
	auto_buf struct buf usage = BUF_INIT(SIZE_MAX);
	bool help = false;

	if (how->n)
		memcpy(opts, how->opts, how->n * sizeof(*opts));
	opts[how->n] = help_opt(&help);
	struct opt_parse parse = {opts, how->n + 1, how->stop_at_positional, how->later};
	int r = opt_parse(&parse, argc, argv, &args, ret_dashdash, err);
	if (help) {
		add_usage(ctx->command, &parse, &usage);
		*ret_help = true;
		return command_help(ctx, &usage, err);
	}
	if (r >= 0)
		r = check_count(ctx, how, &args, err);
	if (r < 0) {
		if (err && !err->hint[0])
			(void)err_hint(err, "'fcvm %s --help' shows an example",
				       ctx->command->name);
		return r;
	}
	strv_free(ret_args);
	*ret_args = args;
	args = (struct strv){0};
	return 0;
}

int command_help(const struct command_ctx *ctx, const struct buf *text, struct err *err)
{
	if (!ctx->help)
		return command_print(text, err);
	buf_add(ctx->help, buf_str(text), text->len);
	return 0;
}

int command_print(const struct buf *out, struct err *err)
{
	int r = io_write_full(STDOUT_FILENO, buf_str(out), out->len, 0, err);

	return r < 0 ? err_wrap(err, "stdout") : 0;
}

int command_run(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	auto_buf struct buf usage = BUF_INIT(SIZE_MAX);
	int used = 0;

	if (argc == 2 && asks_for_help(argv[1]) && command_group_usage(argv[0], &usage))
		return command_help(ctx, &usage, err);
	int r = command_find(argc, argv, &ctx->command, &used, err);
	if (r < 0)
		return r;
	return ctx->command->run(ctx, argc - used + 1, argv + used - 1, ret_exit, err);
}
