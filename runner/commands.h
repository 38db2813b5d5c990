/* commands.h - THE table of commands: help, dispatch and "did you mean" are read from it.
 *
 * A command is one row in commands.c and one file runner/cmd/cmd_NAME.c. It parses its own options
 * with command_parse(), which also answers --help from the row and the option table. */
#ifndef FCVM_COMMANDS_H
#define FCVM_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"
#include "host.h"
#include "opt.h"
#include "strv.h"

enum command_flags {
	COMMAND_INTERNAL = 1, /* not in help */
};

struct command_ctx {
	struct host *host;
	bool color;                    /* stdout is a terminal and nobody objected */
	const struct command *command; /* the row that runs; set by command_run() */
	struct buf *help;              /* where --help goes; NULL: stdout */
};

/* argv[0] is the command's (last) word. A failure returns a negative errno with err set: main
 * prints it and takes the exit status from its class, unless *ret_exit was set to non-zero. On
 * success the exit status is *ret_exit (0 when untouched). stdout takes the answer only. */
typedef int (*command_fn)(struct command_ctx *ctx, int argc, char **argv, int *ret_exit,
			  struct err *err);

struct command {
	const char *name;    /* "apply", or two words: "snapshot create" */
	const char *alias;   /* or NULL */
	const char *summary; /* lower case, no full stop */
	const char *args;    /* "FILE", "[SET...]", "VM -- CMD...", "" */
	const char *example; /* one real command line, without "fcvm" */
	command_fn run;
	unsigned flags; /* enum command_flags */
};

extern const struct command commands[];
extern const size_t commands_n;
/* Words that are commands in other versions, ended by NULL: refused as such. */
extern const char *const commands_later[];

/* "snapshot": what comes below it; false, and nothing is added, when nothing does. */
bool command_group_usage(const char *word, struct buf *out);
/* The row for argv (one or two words), *ret_used words taken; ERR_SPEC with the nearest name. */
int command_find(int argc, char *const *argv, const struct command **ret, int *ret_used,
		 struct err *err);

/* Finds and runs it. */
int command_run(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err);

struct command_args {
	const struct opt *opts; /* without --help: command_parse adds it */
	size_t n;
	bool stop_at_positional;   /* as opt.h */
	size_t min_args, max_args; /* positionals; max 0 = none at all, SIZE_MAX = no limit */
	const char *later;         /* as opt.h */
};
/* Parses argv[1..]. With --help it prints the usage (command_help) and sets *ret_help: the command
 * then returns 0 at once. ret_dashdash as opt_parse (may be NULL). */
int command_parse(const struct command_ctx *ctx, const struct command_args *how, int argc,
		  char **argv, struct strv *ret_args, int *ret_dashdash, bool *ret_help,
		  struct err *err);
/* Help goes to ctx->help, or as command_print. */
int command_help(const struct command_ctx *ctx, const struct buf *text, struct err *err);
/* Writes the whole text to stdout: -EPIPE and full disks are failures too. */
int command_print(const struct buf *out, struct err *err);

#define COMMAND_DECLARE(name)                                                         \
	int cmd_##name(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, \
		       struct err *err)

COMMAND_DECLARE(apply);
COMMAND_DECLARE(destroy);
COMMAND_DECLARE(doctor);
COMMAND_DECLARE(events);
COMMAND_DECLARE(exec);
COMMAND_DECLARE(explain);
COMMAND_DECLARE(help);
COMMAND_DECLARE(internal);
COMMAND_DECLARE(logs);
COMMAND_DECLARE(plan);
COMMAND_DECLARE(podman_run);
COMMAND_DECLARE(ps);
COMMAND_DECLARE(rm);
COMMAND_DECLARE(schema);
COMMAND_DECLARE(setup);
COMMAND_DECLARE(snapshot_create);
COMMAND_DECLARE(snapshot_ls);
COMMAND_DECLARE(snapshot_rm);
COMMAND_DECLARE(snapshot_run);
COMMAND_DECLARE(snapshot_serve);
COMMAND_DECLARE(stop);
COMMAND_DECLARE(validate);

/* Reached through `fcvm internal NAME`, a small table in cmd_internal.c. */
COMMAND_DECLARE(internal_docs);
COMMAND_DECLARE(internal_supervise);
COMMAND_DECLARE(internal_memserver);
COMMAND_DECLARE(internal_volumes);

#endif
