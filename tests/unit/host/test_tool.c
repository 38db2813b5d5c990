#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "proc.h"
#include "run.h"
#include "strv.h"
#include "user.h"

#define TIMEOUT_MS 20000

static struct tool_spec script(const char *const argv[])
{
	return (struct tool_spec){.argv = argv,
				  .in = -1,
				  .out = -1,
				  .deadline_ms = deadline_in(TIMEOUT_MS),
				  .no_namespace = geteuid() != 0};
}

Test(tool, stdout_is_captured_and_success_is_zero)
{
	const char *const argv[] = {"sh", "-c", "echo one; echo noise >&2; echo two", NULL};
	auto_buf struct buf out = BUF_INIT(100);
	struct tool_spec spec = script(argv);
	struct err err;

	spec.stdout_to = &out;
	cr_expect_eq(tool_run(&spec, &err), 0, "%s", err.msg);
	cr_expect_str_eq(buf_str(&out), "one\ntwo\n");
}

Test(tool, failure_carries_the_last_lines_of_stderr)
{
	static const struct {
		const char *script, *message;
	} cases[] = {
		{"exit 3", "'sh' failed with status 3"},
		{"echo a >&2; echo >&2; printf b >&2; exit 1", "'sh' failed with status 1: a; b"},
		{"for i in 1 2 3 4 5 6 7 8; do echo $i >&2; done; exit 1",
		 "'sh' failed with status 1: 3; 4; 5; 6; 7; 8"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *const argv[] = {"sh", "-c", cases[i].script, NULL};
		struct tool_spec spec = script(argv);
		struct err err;

		cr_expect_eq(tool_run(&spec, &err), -EIO);
		cr_expect_str_eq(err.msg, cases[i].message);
	}
}

Test(tool, a_tool_that_is_not_installed_is_a_host_error)
{
	const char *const argv[] = {"no-such-tool", NULL};
	struct tool_spec spec = script(argv);
	struct err err;

	cr_expect_eq(tool_run(&spec, &err), -ENOENT);
	cr_expect_str_eq(err.msg, "'no-such-tool' is not installed");
	cr_expect_eq(err.class, ERR_HOST);
}

static void collect(void *data, const char *text)
{
	strv_add(data, text);
}

Test(tool, stderr_lines_are_progress_as_they_come)
{
	const char *const argv[] = {"sh", "-c", "printf 'a\\rb\\n\\nc' >&2", NULL};
	auto_strv struct strv lines = {0};
	struct tool_spec spec = script(argv);
	struct err err;

	spec.line = collect;
	spec.data = &lines;
	cr_expect_eq(tool_run(&spec, &err), 0);
	cr_assert_eq(lines.n, 3);
	cr_expect_str_eq(lines.v[0], "a");
	cr_expect_str_eq(lines.v[1], "b");
	cr_expect_str_eq(lines.v[2], "c");
}

Test(tool, endless_output_is_bounded)
{
	const char *const argv[] = {
		"sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x | tee /dev/stderr", NULL};
	auto_buf struct buf out = BUF_INIT(1000);
	struct tool_spec spec = script(argv);
	struct err err;

	spec.stdout_to = &out;
	cr_expect_eq(tool_run(&spec, &err), 0);
	cr_expect_eq(out.len, 1000);
	cr_expect(out.overflow);
}

Test(tool, the_deadline_kills_it)
{
	const char *const argv[] = {"sleep", "1000", NULL};
	struct tool_spec spec = script(argv);
	struct err err;

	spec.deadline_ms = deadline_in(50);
	cr_expect_eq(tool_run(&spec, &err), -ETIMEDOUT);
	cr_expect_str_eq(err.msg, "'sleep' did not end in time");
}

Test(tool, the_deadline_kills_it_also_while_it_never_stops_talking, .timeout = 60)
{
	const char *const argv[] = {"sh", "-c", "yes & yes & yes & yes", NULL};
	auto_buf struct buf out = BUF_INIT(100);
	struct tool_spec spec = script(argv);
	struct err err;

	spec.stdout_to = &out;
	spec.deadline_ms = deadline_in(50);
	cr_expect_eq(tool_run(&spec, &err), -ETIMEDOUT);
	cr_expect_str_eq(err.msg, "'sh' did not end in time");
}

static void need_root(void)
{
	if (geteuid() != 0)
		cr_skip_test("namespaces for tools need root");
}

/* A lock that a process holds is free exactly when that process is dead. */
static bool lock_is_free(const char *path)
{
	auto_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
}

Test(tool, a_daemon_it_leaves_behind_dies_with_it)
{
	auto_tmpdir char *tmp = tmpdir_new("tool");
	auto_free char *lock = path_join(tmp, "lock");
	const char *const argv[] = {
		"sh", "-c", "setsid flock $0 sleep 1000 & while flock -n $0 true; do :; done", lock,
		NULL};
	struct tool_spec spec = script(argv);
	struct err err;

	need_root();
	cr_assert_eq(tool_run(&spec, &err), 0, "%s", err.msg);
	cr_expect(lock_is_free(lock), "the daemon still holds its lock");
}

Test(tool, its_mounts_are_its_own)
{
	auto_tmpdir char *tmp = tmpdir_new("tool");
	const char *const argv[] = {"sh", "-c", "mount -t tmpfs x $0 && touch $0/inside", tmp,
				    NULL};
	auto_free char *inside = path_join(tmp, "inside");
	struct tool_spec spec = script(argv);
	struct err err;

	need_root();
	cr_assert_eq(tool_run(&spec, &err), 0, "%s", err.msg);
	cr_expect_not(file_exists(inside));
}

Test(tool, it_sees_a_proc_of_its_own_namespace)
{
	const char *const argv[] = {"sh", "-c", "echo $$; readlink /proc/self/exe >/dev/null",
				    NULL};
	auto_buf struct buf out = BUF_INIT(100);
	struct tool_spec spec = script(argv);
	struct err err;

	need_root();
	spec.stdout_to = &out;
	cr_assert_eq(tool_run(&spec, &err), 0, "%s", err.msg);
	cr_expect_str_eq(buf_str(&out), "2\n");
}

Test(tool, killing_us_kills_it_and_its_children)
{
	auto_tmpdir char *tmp = tmpdir_new("tool");
	auto_free char *lock = path_join(tmp, "lock");
	auto_free char *ready = path_join(tmp, "ready");
	uint64_t deadline = deadline_in(TIMEOUT_MS);

	need_root();
	cr_assert_eq(mkfifo(ready, 0600), 0);
	pid_t middle = fork();
	if (middle == 0) {
		const char *const argv[] = {
			"sh", "-c",  "setsid flock $0 sh -c 'echo >$0; sleep 1000' $1 & wait",
			lock, ready, NULL};
		struct tool_spec spec = script(argv);

		spec.deadline_ms = 0;
		(void)tool_run(&spec, NULL);
		_exit(0);
	}
	auto_close int fd = open(ready, O_RDONLY | O_CLOEXEC); /* returns when the daemon runs */
	cr_assert_geq(fd, 0);
	cr_expect_not(lock_is_free(lock));
	cr_assert_eq(kill(middle, SIGKILL), 0);
	cr_assert_eq(waitpid(middle, NULL, 0), middle);
	/* The namespace is torn down by the kernel in its own time. */
	while (!lock_is_free(lock) && now_ms() < deadline)
		continue;
	cr_expect(lock_is_free(lock));
}

Test(tool, a_users_tool_may_be_root_where_nobody_else_exists)
{
	const char *const argv[] = {"sh", "-c",
				    "id -u; id -g; mount -t tmpfs none /mnt && echo mounted; "
				    "touch f && chown 0:0 f && echo mine; "
				    "chown 5:5 f 2>/dev/null || echo not others",
				    NULL};
	auto_buf struct buf out = BUF_INIT(200);
	auto_user struct user u = {0};
	struct tool_spec spec = script(argv);
	struct err err = {0};

	user_make(&u, "tool");
	user_become(&u);
	spec.cwd = u.home;
	spec.stdout_to = &out;
	spec.user_namespace = true;
	cr_assert_eq(tool_run(&spec, &err), 0, "%s", err.msg);
	cr_expect_str_eq(buf_str(&out), "0\n0\nmounted\nmine\nnot others\n");
}
