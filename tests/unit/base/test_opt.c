#include "opt.h"

#include "cleanup.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

struct values {
	bool all, tty;
	const char *name, *format;
	struct strv env;
	uint64_t count, memory, timeout_ms;
};

struct run {
	struct values v;
	struct strv args;
	int dashdash;
	int r;
	struct err err;
};

static void run_free_all(struct run *r)
{
	strv_free(&r->v.env);
	strv_free(&r->args);
}
#define auto_opts __attribute__((cleanup(run_free_all)))

#define N_OPTS 8
static void fill(struct opt opts[N_OPTS], struct values *v)
{
	const struct opt all[N_OPTS] = {
		{'a', "all", OPT_FLAG, &v->all, NULL, "everything", NULL, 0, 0},
		{'t', "tty", OPT_FLAG, &v->tty, NULL, "a terminal", NULL, 0, 0},
		{'n', "name", OPT_STR, &v->name, "NAME", "its name", NULL, 0, 0},
		{'e', "env", OPT_STRV, &v->env, "K=V", "environment; repeatable", NULL, 0, 0},
		{0, "count", OPT_U64, &v->count, "N", "how many", NULL, 1, 100},
		{'m', "memory", OPT_SIZE, &v->memory, "SIZE", "guest memory", NULL, 0, 0},
		{0, "timeout", OPT_DURATION, &v->timeout_ms, "D", "at most so long", NULL, 0, 0},
		{0, "format", OPT_CHOICE, &v->format, NULL, "how to print", "table|json|jsonl", 0,
		 0},
	};

	memcpy(opts, all, sizeof(all));
}

/* words: one line, split at blanks; "cmd" is put before. */
static void parse(struct run *run, const char *words, bool stop)
{
	struct opt opts[N_OPTS];
	const struct opt_parse how = {opts, N_OPTS, stop, "target|replace|q"};
	static char copy[512];
	char *argv[32] = {copy}, *save = NULL;
	int argc = 1;

	cr_assert_lt(strlen(words) + 5, sizeof(copy));
	memcpy(copy, "cmd", 4);
	memcpy(copy + 4, words, strlen(words) + 1);
	for (char *w = strtok_r(copy + 4, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	fill(opts, &run->v);
	run->dashdash = -99;
	run->r = opt_parse(&how, argc, argv, &run->args, &run->dashdash, &run->err);
}

Test(opt, every_kind_and_every_way_of_writing_it)
{
	auto_opts struct run run = {0};

	parse(&run,
	      "-at one --name=web -e A=1 --env B=2 -eC=3 --count 5 -m512MiB --timeout=2s "
	      "--format json two",
	      false);
	cr_assert_eq(run.r, 0, "%s", run.err.msg);
	cr_expect(run.v.all && run.v.tty);
	cr_expect_str_eq(run.v.name, "web");
	cr_expect_str_eq(run.v.format, "json");
	cr_assert_eq(run.v.env.n, 3);
	cr_expect_str_eq(run.v.env.v[2], "C=3");
	cr_expect_eq(run.v.count, 5);
	cr_expect_eq(run.v.memory, 512u << 20);
	cr_expect_eq(run.v.timeout_ms, 2000);
	cr_assert_eq(run.args.n, 2);
	cr_expect_str_eq(run.args.v[0], "one");
	cr_expect_str_eq(run.args.v[1], "two");
	cr_expect_eq(run.dashdash, -1);
}

Test(opt, a_value_may_be_empty_start_with_a_dash_or_hold_an_equals_sign)
{
	auto_opts struct run run = {0};

	parse(&run, "--name= -e -x --env=A=B=C", false);
	cr_assert_eq(run.r, 0, "%s", run.err.msg);
	cr_expect_str_eq(run.v.name, "");
	cr_expect_str_eq(run.v.env.v[0], "-x");
	cr_expect_str_eq(run.v.env.v[1], "A=B=C");
}

Test(opt, flags_and_a_value_share_one_dash)
{
	auto_opts struct run run = {0};

	parse(&run, "-atnweb -an db", false);
	cr_assert_eq(run.r, 0);
	cr_expect(run.v.all && run.v.tty);
	cr_expect_str_eq(run.v.name, "db");
}

Test(opt, after_two_dashes_everything_is_positional)
{
	auto_opts struct run run = {0};

	parse(&run, "vm -a -- ls -l -- x", false);
	cr_assert_eq(run.r, 0);
	cr_expect_eq(run.dashdash, 1);
	cr_assert_eq(run.args.n, 5);
	cr_expect_str_eq(run.args.v[1], "ls");
	cr_expect_str_eq(run.args.v[3], "--");
}

Test(opt, a_single_dash_is_positional)
{
	auto_opts struct run run = {0};

	parse(&run, "- -a", false);
	cr_assert_eq(run.r, 0);
	cr_assert_eq(run.args.n, 1);
	cr_expect_str_eq(run.args.v[0], "-");
	cr_expect(run.v.all);
}

Test(opt, parsing_may_stop_at_the_first_positional)
{
	auto_opts struct run run = {0};

	parse(&run, "-a image -t --unknown -- x", true);
	cr_assert_eq(run.r, 0);
	cr_expect(run.v.all && !run.v.tty);
	cr_expect_eq(run.dashdash, -1);
	cr_assert_eq(run.args.n, 5);
	cr_expect_str_eq(run.args.v[2], "--unknown");
}

Test(opt, mistakes_are_named_exactly)
{
	static const struct {
		const char *words, *msg, *hint;
	} cases[] = {
		{"--nmae x", "unknown option '--nmae'", "did you mean '--name'?"},
		{"--xyzzy", "unknown option '--xyzzy'", ""},
		{"--nam=x", "unknown option '--nam'", "did you mean '--name'?"},
		{"-z", "unknown option '-z'", ""},
		{"-az", "unknown option '-z' in '-az'", ""},
		{"--replace=x", "option '--replace' is not available in this version", ""},
		{"-aq", "option '-q' is not available in this version", ""},
		{"--name", "option '--name' needs a value (NAME)", ""},
		{"-n", "option '-n' needs a value (NAME)", ""},
		{"--format", "option '--format' needs a value (VALUE)", ""},
		{"--all=yes", "option '--all' takes no value, got 'yes'", ""},
		{"--all=", "option '--all' takes no value, got ''", ""},
		{"--count many", "option '--count': expected 1 to 100, got 'many'", ""},
		{"--count 101", "option '--count': expected 1 to 100, got '101'", ""},
		{"-m 5X", "option '-m': expected a size such as 512MiB or 4GiB, got '5X'", ""},
		{"--timeout 5",
		 "option '--timeout': expected a duration with a unit (ms, s, m, h), got '5'", ""},
		{"--format xml", "option '--format': expected table, json or jsonl, got 'xml'", ""},
		{"--format table|json",
		 "option '--format': expected table, json or jsonl, got 'table|json'", ""},
		{"--format=", "option '--format': expected table, json or jsonl, got ''", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_opts struct run run = {0};

		parse(&run, cases[i].words, false);
		cr_expect_lt(run.r, 0, "<%s>", cases[i].words);
		cr_expect_eq(run.err.class, ERR_SPEC);
		cr_expect_str_eq(run.err.msg, cases[i].msg);
		cr_expect_str_eq(run.err.hint, cases[i].hint);
		cr_expect(run.args.n == 0 && run.dashdash == -99, "outputs are untouched");
	}
}

Test(opt, usage_is_aligned)
{
	auto_buf struct buf out = BUF_INIT(4096);
	struct opt opts[N_OPTS];
	struct values v = {0};

	fill(opts, &v);
	opt_usage(opts, N_OPTS, &out);
	cr_expect_str_eq(buf_str(&out), "  -a, --all                      everything\n"
					"  -t, --tty                      a terminal\n"
					"  -n, --name NAME                its name\n"
					"  -e, --env K=V                  environment; repeatable\n"
					"      --count N                  how many\n"
					"  -m, --memory SIZE              guest memory\n"
					"      --timeout D                at most so long\n"
					"      --format table|json|jsonl  how to print\n");
}
