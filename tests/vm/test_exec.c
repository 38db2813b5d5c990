/* test_exec.c - commands in real guests: codes, streams, terminals, signals, time. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "digest.h"
#include "vm_env.h"
#include "xalloc.h"

TestSuite(exec, .fini = vm_env_cleanup);

static void exec_in(struct vm_env *env, struct run_result *r, const char *input,
		    const char *const *words)
{
	const char *argv[32] = {run_fcvm_path(), "--data-dir", env->dir, "exec"};
	size_t n = 4;

	for (; *words; words++)
		argv[n++] = *words;
	run_argv(r, argv, NULL, input, VM_TIMEOUT_MS);
	cr_assert(!r->timed_out);
}
#define EXEC(env, r, input, ...) \
	exec_in((env), (r), (input), (const char *const[]){__VA_ARGS__, NULL})

static void check_codes(struct vm_env *env, const char *vm)
{
	static const struct {
		const char *script;
		int status;
	} cases[] = {{"exit 0", 0}, {"exit 42", 42}, {"kill -9 $$", 137}, {"kill -15 $$", 143}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_run struct run_result r = RUN_INIT;

		EXEC(env, &r, NULL, "--vm", vm, "--", "sh", "-c", cases[i].script);
		cr_assert_eq(r.status, cases[i].status, "'%s': %d\n%s", cases[i].script, r.status,
			     buf_str(&r.err));
	}
	auto_run struct run_result missing = RUN_INIT;
	EXEC(env, &missing, NULL, "--vm", vm, "--", "/no/such/program");
	cr_assert_eq(missing.status, 127);
	auto_run struct run_result directory = RUN_INIT;
	EXEC(env, &directory, NULL, "--vm", vm, "--", "/etc");
	cr_assert_eq(directory.status, 126);
	auto_run struct run_result late = RUN_INIT;
	EXEC(env, &late, NULL, "--timeout", "500ms", "--vm", vm, "--", "sleep", "600");
	cr_assert_eq(late.status, 124);
}

static void check_streams(struct vm_env *env, const char *vm)
{
	size_t size = 4u << 20;
	auto_free char *input = xmalloc(size + 1);
	char want[DIGEST_HEX_SIZE], have[DIGEST_HEX_SIZE];
	unsigned int seed = 7;

	for (size_t i = 0; i < size; i++)
		input[i] = (char)('!' + rand_r(&seed) % 90);
	input[size] = '\0';
	auto_run struct run_result cat = RUN_INIT;
	EXEC(env, &cat, input, "-i", "--vm", vm, "--", "cat");
	cr_assert_eq(cat.status, 0, "%s", buf_str(&cat.err));
	digest_of(input, size, want);
	digest_of(buf_str(&cat.out), cat.out.len, have);
	cr_assert_str_eq(want, have, "%zu bytes came back of %zu", cat.out.len, size);
	auto_run struct run_result both = RUN_INIT;
	EXEC(env, &both, NULL, "--vm", "-e", "WORD=x y", "-w", "/tmp", vm, "--", "sh", "-c",
	     "echo out; echo err >&2; pwd; echo \"$WORD\"");
	cr_assert_str_eq(buf_str(&both.out), "out\n/tmp\nx y\n");
	cr_assert_str_eq(buf_str(&both.err), "err\n");
}

Test(exec, behaves_like_a_local_command_in_guest_and_container)
{
	struct vm_env env;

	vm_env_init(&env, "exec", NULL);
	vm_apply(&env, "fleets.web.count=1", NULL);
	const char *vm = vm_name(&env, "web-0");
	check_codes(&env, vm);
	check_streams(&env, vm);
	auto_run struct run_result in = RUN_INIT;
	EXEC(&env, &in, NULL, vm, "--", "/hello", "get", "/healthz");
	cr_assert_eq(in.status, 0, "%s", buf_str(&in.err));
	auto_run struct run_result gone = RUN_INIT;
	EXEC(&env, &gone, NULL, vm, "--", "/no/such/program");
	cr_assert_eq(gone.status, 127);
	auto_run struct run_result tty = RUN_INIT;
	EXEC(&env, &tty, NULL, "-t", "--vm", vm, "--", "tty");
	cr_assert_eq(tty.status, 0, "%s%s", buf_str(&tty.out), buf_str(&tty.err));
	cr_assert_eq(strncmp(buf_str(&tty.out), "/dev/pts/", 9), 0, "%s", buf_str(&tty.out));
	vm_env_finish(&env);
}
