#include "commands.h"

#include "cleanup.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A table of the test's own: the real one is linked into fcvm alone. */
static int ran_argc;
static char ran_word[32];
static bool ran_flag;

static int run_echo(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	const struct opt opts[] = {
		{'f', "flag", OPT_FLAG, &ran_flag, NULL, "a flag", NULL, 0, 0},
	};
	const struct command_args how = {opts, 1, .min_args = 1, .max_args = 2};
	auto_strv struct strv args = {0};
	bool help = false;
	int r = command_parse(ctx, &how, argc, argv, &args, NULL, &help, err);

	if (r < 0 || help)
		return r;
	ran_argc = argc;
	(void)snprintf(ran_word, sizeof(ran_word), "%s", argv[0]);
	*ret_exit = 9;
	return 0;
}

const struct command commands[] = {
	{"echo", "say", "say things", "WORD [WORD]", "echo hello", run_echo, 0},
	{"snap create", NULL, "make one", "VM", "snap create vm", run_echo, 0},
	{"snap ls", NULL, "list them", "VM", "snap ls vm", run_echo, 0},
	{"secret", NULL, "internal", "WORD", "secret x", run_echo, COMMAND_INTERNAL},
};
const size_t commands_n = ARRAY_SIZE(commands);
const char *const commands_later[] = {"dance", NULL};

struct ran {
	struct buf out;
	struct err err;
	int r, exit;
};

static void ran_free(struct ran *r)
{
	buf_free(&r->out);
}
#define auto_ran __attribute__((cleanup(ran_free)))

/* words split at blanks; stdout is caught. */
static void run_words(struct ran *ran, const char *words)
{
	struct host host = {0};
	struct command_ctx ctx = {.host = &host};
	auto_free char *copy = strdup(words);
	char *argv[16] = {0}, *save = NULL, piece[4096];
	int argc = 0;
	auto_close int catcher = memfd_create("stdout", MFD_CLOEXEC);
	auto_close int saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	ssize_t n;

	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	ran->out = (struct buf)BUF_INIT(1u << 20);
	cr_assert_geq(dup2(catcher, STDOUT_FILENO), 0);
	ran->r = command_run(&ctx, argc, argv, &ran->exit, &ran->err);
	cr_assert_geq(dup2(saved, STDOUT_FILENO), 0);
	cr_assert_eq(lseek(catcher, 0, SEEK_SET), 0);
	while ((n = read(catcher, piece, sizeof(piece))) > 0)
		buf_add(&ran->out, piece, (size_t)n);
}

Test(command, runs_by_name_or_alias_and_keeps_its_exit_status)
{
	static const char *const lines[] = {"echo a", "say a --flag", "echo -f a b"};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		auto_ran struct ran ran = {0};
		run_words(&ran, lines[i]);
		cr_expect_eq(ran.r, 0, "%s", ran.err.msg);
		cr_expect_eq(ran.exit, 9);
	}
}

Test(command, of_two_words_gets_the_second_as_its_name)
{
	auto_ran struct ran ran = {0};

	run_words(&ran, "snap create vm");
	cr_expect_eq(ran.r, 0, "%s", ran.err.msg);
	cr_expect_eq(ran_argc, 2);
	cr_expect_str_eq(ran_word, "create");
}

Test(command, mistakes_are_named_with_a_way_out)
{
	static const struct {
		const char *line, *msg, *hint;
	} cases[] = {
		{"", "no command given", "'fcvm help' lists the commands"},
		{"ehco a", "unknown command 'ehco'", "did you mean 'echo'?"},
		{"sya a", "unknown command 'sya'", "did you mean 'say'?"},
		{"frobnicate", "unknown command 'frobnicate'", "'fcvm help' lists the commands"},
		{"secre", "unknown command 'secre'", "'fcvm help' lists the commands"},
		{"dance now", "'dance' is not available in this version",
		 "'fcvm help' lists the commands"},
		{"snap", "'snap' needs a command: create or ls", "'fcvm help' lists the commands"},
		{"snap craete", "unknown command 'snap craete'", "did you mean 'snap create'?"},
		{"echo", "'echo' needs WORD [WORD]", "'fcvm echo --help' shows an example"},
		{"echo a b c", "'echo' takes WORD [WORD], got 'c' too",
		 "'fcvm echo --help' shows an example"},
		{"echo --flga a", "unknown option '--flga'", "did you mean '--flag'?"},
		{"echo --xyzzy a", "unknown option '--xyzzy'",
		 "'fcvm echo --help' shows an example"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_ran struct ran ran = {0};

		run_words(&ran, cases[i].line);
		cr_expect_lt(ran.r, 0, "<%s>", cases[i].line);
		cr_expect_eq(err_exit_status(&ran.err), 3);
		cr_expect_str_eq(ran.err.msg, cases[i].msg);
		cr_expect_str_eq(ran.err.hint, cases[i].hint);
		cr_expect_str_eq(buf_str(&ran.out), "", "stdout takes answers only");
	}
}

Test(command, the_first_word_of_two_lists_the_second)
{
	static const char *const lines[] = {"snap --help", "snap -h"};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		auto_ran struct ran ran = {0};
		run_words(&ran, lines[i]);
		cr_expect_eq(ran.r, 0, "%s", ran.err.msg);
		cr_expect_eq(ran.exit, 0);
		cr_expect_str_eq(buf_str(&ran.out), "usage: fcvm snap COMMAND ...\n\n"
						    "  snap create      make one\n"
						    "  snap ls          list them\n");
	}
}

static const char echo_help[] = "usage: fcvm echo [OPTION...] WORD [WORD]\n"
				"\n"
				"say things\n"
				"\n"
				"  -f, --flag  a flag\n"
				"  -h, --help  this text\n"
				"\n"
				"example: fcvm echo hello\n";

Test(command, help_shows_usage_options_and_one_example_and_exits_0)
{
	static const char *const lines[] = {"echo --help", "echo -h", "say --help",
					    "echo a b c --help", "echo --help --bogus"};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		auto_ran struct ran ran = {0};

		run_words(&ran, lines[i]);
		cr_expect_eq(ran.r, 0, "<%s>: %s", lines[i], ran.err.msg);
		cr_expect_eq(ran.exit, 0);
		cr_expect_str_eq(buf_str(&ran.out), echo_help);
	}
}

Test(command, help_command_lists_all_but_the_internal_ones)
{
	struct host host = {0};
	struct command_ctx ctx = {.host = &host};
	auto_close int catcher = memfd_create("stdout", MFD_CLOEXEC);
	auto_close int saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	char text[4096] = "";
	int status = 0;

	cr_assert_geq(dup2(catcher, STDOUT_FILENO), 0);
	int r = cmd_help(&ctx, 0, NULL, &status, NULL);
	cr_assert_geq(dup2(saved, STDOUT_FILENO), 0);
	cr_expect_eq(r, 0);
	cr_assert_gt(pread(catcher, text, sizeof(text) - 1, 0), 0);
	cr_expect_not_null(strstr(text, "\n  echo             say things\n"));
	cr_expect_not_null(strstr(text, "\n  snap create      make one\n"));
	cr_expect_null(strstr(text, "secret"));
	cr_expect_not_null(strstr(text, "--data-dir DIR"));
}

Test(command, help_of_a_command_is_its_own_help)
{
	static char help[] = "help", echo[] = "echo";
	char *argv[] = {help, echo, NULL};
	struct host host = {0};
	struct command_ctx ctx = {.host = &host};
	auto_close int catcher = memfd_create("stdout", MFD_CLOEXEC);
	auto_close int saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	char text[4096] = "";
	int status = 0;

	cr_assert_geq(dup2(catcher, STDOUT_FILENO), 0);
	int r = cmd_help(&ctx, 2, argv, &status, NULL);
	cr_assert_geq(dup2(saved, STDOUT_FILENO), 0);
	cr_expect_eq(r, 0);
	cr_assert_gt(pread(catcher, text, sizeof(text) - 1, 0), 0);
	cr_expect_str_eq(text, echo_help);
}

Test(command, a_full_disk_behind_stdout_is_a_failure)
{
	auto_buf struct buf out = BUF_INIT(100);
	auto_close int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	auto_close int saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	struct err err = {0};

	buf_add_str(&out, "text");
	cr_assert_geq(dup2(full, STDOUT_FILENO), 0);
	int r = command_print(&out, &err);
	cr_assert_geq(dup2(saved, STDOUT_FILENO), 0);
	cr_expect_eq(r, -ENOSPC);
	cr_expect_str_eq(err.msg, "stdout: cannot write: No space left on device");
}
