#include "proc.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"

#define TIMEOUT_MS 20000

/* Spawns argv with stdout in a pipe and returns what it wrote; *ret_status its end. */
static char *output_of(struct proc_spec *spec, int *ret_status)
{
	auto_buf struct buf out = BUF_INIT(1 << 20);
	auto_close int pidfd = -1;
	struct err err;
	char chunk[4096];
	ssize_t n;
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	spec->out = fds[1];
	cr_assert_eq(proc_spawn(spec, &pidfd, NULL, &err), 0, "%s", err.msg);
	(void)close(fds[1]);
	while ((n = read(fds[0], chunk, sizeof(chunk))) > 0)
		buf_add(&out, chunk, (size_t)n);
	(void)close(fds[0]);
	cr_assert_eq(proc_wait(pidfd, deadline_in(TIMEOUT_MS), ret_status, &err), 0, "%s", err.msg);
	return buf_detach(&out);
}

Test(proc, exit_codes_and_signals_become_one_status)
{
	static const struct {
		const char *script;
		int status;
	} cases[] = {{"exit 0", 0}, {"exit 7", 7}, {"kill -TERM $$", 128 + SIGTERM}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *const argv[] = {"sh", "-c", cases[i].script, NULL};
		struct proc_spec spec = {.argv = argv, .in = -1, .err = -1};
		int status = -1;
		auto_free char *out = output_of(&spec, &status);

		cr_expect_eq(status, cases[i].status, "%s", cases[i].script);
		cr_expect_str_eq(out, "");
	}
}

Test(proc, a_program_that_is_not_there_is_a_sentence)
{
	const char *const argv[] = {"no-such-program", NULL};
	const char *const argv2[] = {"/no/such/program", NULL};
	struct proc_spec spec = {.argv = argv, .in = -1, .out = -1, .err = -1};
	struct err err;
	int pidfd = -7;

	cr_expect_eq(proc_spawn(&spec, &pidfd, NULL, &err), -ENOENT);
	cr_expect_str_eq(err.msg, "'no-such-program' is not installed");
	cr_expect_eq(err.class, ERR_HOST);
	spec.argv = argv2;
	cr_expect_eq(proc_spawn(&spec, &pidfd, NULL, &err), -ENOENT);
	cr_expect_str_eq(err.msg, "cannot run '/no/such/program': No such file or directory");
	cr_expect_eq(pidfd, -7);
}

Test(proc, a_working_directory_that_is_not_there_is_a_sentence)
{
	const char *const argv[] = {"true", NULL};
	struct proc_spec spec = {.argv = argv, .cwd = "/no/dir", .in = -1, .out = -1, .err = -1};
	struct err err;
	int pidfd = -1;

	cr_expect_eq(proc_spawn(&spec, &pidfd, NULL, &err), -ENOENT);
	cr_expect_str_eq(err.msg, "cannot enter the working directory of 'true': No such file or "
				  "directory");
}

Test(proc, the_environment_is_the_given_one_or_a_fixed_minimum)
{
	const char *const argv[] = {"env", NULL};
	const char *const env[] = {"PATH=/usr/bin:/bin", "A=1", NULL};
	struct proc_spec spec = {.argv = argv, .in = -1, .err = -1};
	int status = -1;

	setenv("SECRET", "x", 1);
	auto_free char *minimal = output_of(&spec, &status);
	cr_expect_str_eq(minimal,
			 "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
			 "HOME=/\nLANG=C.UTF-8\n");
	spec.env = env;
	auto_free char *given = output_of(&spec, &status);
	cr_expect_str_eq(given, "PATH=/usr/bin:/bin\nA=1\n");
}

Test(proc, only_listed_descriptors_arrive_even_when_numbers_cross)
{
	int a[2], b[2];
	int status = -1;
	char to_a[16], to_b[16];

	cr_assert_eq(pipe2(a, O_CLOEXEC), 0);
	cr_assert_eq(pipe2(b, O_CLOEXEC), 0);
	cr_assert_eq(write(a[1], "A\n", 2), 2);
	cr_assert_eq(write(b[1], "B\n", 2), 2);
	(void)close(a[1]);
	(void)close(b[1]);
	cr_assert_geq(dup(0), 0); /* inheritable by mistake */
	/* Each source sits on the other's target. */
	const struct proc_fd fds[] = {{a[0], b[0]}, {b[0], a[0]}};
	(void)snprintf(to_a, sizeof(to_a), "%d", b[0]);
	(void)snprintf(to_b, sizeof(to_b), "%d", a[0]);
	const char *const argv[] = {
		"sh", "-c", "cat /proc/self/fd/$0 /proc/self/fd/$1; ls /proc/self/fd | wc -l",
		to_a, to_b, NULL};
	struct proc_spec spec = {.argv = argv, .in = -1, .err = -1, .fds = fds, .n_fds = 2};
	auto_free char *out = output_of(&spec, &status);
	/* 0 1 2, the two, and the directory ls reads. */
	cr_expect_str_eq(out, "A\nB\n6\n");
}

Test(proc, blocked_and_ignored_signals_are_not_inherited)
{
	const char *const argv[] = {"grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status", NULL};
	struct proc_spec spec = {.argv = argv, .in = -1, .err = -1};
	sigset_t all;
	int status = -1;

	sigfillset(&all);
	cr_assert_eq(sigprocmask(SIG_SETMASK, &all, NULL), 0);
	cr_assert_neq(signal(SIGPIPE, SIG_IGN), SIG_ERR);
	auto_free char *out = output_of(&spec, &status);
	cr_expect_str_eq(out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

static int fail_prepare(void *data)
{
	(void)data;
	return -EXDEV;
}

Test(proc, a_failing_prepare_is_reported_and_nothing_runs)
{
	const char *const argv[] = {"true", NULL};
	struct proc_spec spec = {
		.argv = argv, .in = -1, .out = -1, .err = -1, .prepare = fail_prepare};
	struct err err;
	int pidfd = -1;

	cr_expect_eq(proc_spawn(&spec, &pidfd, NULL, &err), -EXDEV);
	cr_expect_str_eq(err.msg,
			 "cannot prepare the process of 'true': Invalid cross-device link");
	cr_expect_eq(pidfd, -1);
	cr_expect_eq(waitpid(-1, NULL, WNOHANG), -1, "the child is reaped");
}

struct held {
	pid_t pid;
	int answer;
};

static int on_held(void *data, pid_t pid, struct err *err)
{
	struct held *h = data;
	struct proc_id id;

	h->pid = pid;
	cr_expect_eq(proc_id_of(pid, &id, err), 0);
	return h->answer < 0 ? err_set(err, ERR_HOST, h->answer, "refused by the announcer") : 0;
}

Test(proc, a_held_child_has_its_pid_but_has_not_run)
{
	const char *const argv[] = {"sh", "-c", "echo $$", NULL};
	struct held h = {.answer = 0};
	struct proc_spec spec = {.argv = argv, .in = -1, .err = -1, .held = on_held, .data = &h};
	int status = -1;
	auto_free char *out = output_of(&spec, &status);
	char want[32];

	(void)snprintf(want, sizeof(want), "%d\n", h.pid);
	cr_expect_str_eq(out, want);
}

Test(proc, a_refused_held_child_never_runs)
{
	const char *const argv[] = {"sh", "-c", "kill -9 $PPID", NULL};
	struct held h = {.answer = -EACCES};
	struct proc_spec spec = {
		.argv = argv, .in = -1, .out = -1, .err = -1, .held = on_held, .data = &h};
	struct err err;
	int pidfd = -1;

	cr_expect_eq(proc_spawn(&spec, &pidfd, NULL, &err), -EACCES);
	cr_expect_str_eq(err.msg, "refused by the announcer");
	cr_expect_eq(kill(h.pid, 0), -1);
}

Test(proc, waiting_past_the_deadline_leaves_the_child_alone)
{
	const char *const argv[] = {"sleep", "1000", NULL};
	struct proc_spec spec = {.argv = argv, .in = -1, .out = -1, .err = -1};
	auto_close int pidfd = -1;
	struct err err;
	int status = -1;

	cr_assert_eq(proc_spawn(&spec, &pidfd, NULL, &err), 0);
	cr_expect_eq(proc_wait(pidfd, deadline_in(1), &status, &err), -ETIMEDOUT);
	cr_expect_eq(err.class, ERR_TIMEOUT);
	cr_expect_eq(status, -1);
	cr_expect_eq(proc_signal(pidfd, SIGKILL), 0);
	cr_assert_eq(proc_wait(pidfd, deadline_in(TIMEOUT_MS), &status, &err), 0);
	cr_expect_eq(status, 128 + SIGKILL);
}

/* The middle process spawns a sleeper with a death signal, tells its pid and is killed. */
static pid_t orphan_a_sleeper(void)
{
	int fds[2];
	pid_t sleeper = 0;

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	pid_t middle = fork();
	if (middle == 0) {
		const char *const argv[] = {"sleep", "1000", NULL};
		struct proc_spec spec = {
			.argv = argv, .in = -1, .out = -1, .err = -1, .death_signal = SIGKILL};
		int pidfd;
		pid_t pid;

		if (proc_spawn(&spec, &pidfd, &pid, NULL) == 0)
			(void)!write(fds[1], &pid, sizeof(pid));
		(void)raise(SIGKILL);
	}
	(void)close(fds[1]);
	cr_assert_eq(read(fds[0], &sleeper, sizeof(sleeper)), (ssize_t)sizeof(sleeper));
	(void)close(fds[0]);
	cr_assert_eq(waitpid(middle, NULL, 0), middle);
	return sleeper;
}

Test(proc, the_death_signal_ends_a_child_when_its_parent_is_killed)
{
	struct proc_id id = {.pid = orphan_a_sleeper()};
	uint64_t deadline = deadline_in(TIMEOUT_MS);
	int pidfd = -1;

	/* It may be a zombie or gone already; what it may not be is running. */
	if (proc_id_of(id.pid, &id, NULL) == 0 && proc_id_open(&id, id.boot_id, &pidfd) == 0) {
		cr_expect_eq(io_wait(pidfd, POLLIN, deadline), 1);
		(void)close(pidfd);
	}
}

Test(proc, an_id_names_one_process_of_one_boot)
{
	struct proc_id id, other;
	struct err err;
	int pidfd = -1;

	cr_assert_eq(proc_id_of(getpid(), &id, &err), 0);
	cr_expect(proc_id_alive(&id, id.boot_id));
	cr_assert_eq(proc_id_open(&id, id.boot_id, &pidfd), 0);
	(void)close(pidfd);

	other = id;
	other.start_time++; /* the pid was used again */
	cr_expect_eq(proc_id_open(&other, id.boot_id, &pidfd), -ESRCH);
	cr_expect_not(proc_id_alive(&other, id.boot_id));
	cr_expect_eq(proc_id_open(&id, "00000000-0000-0000-0000-000000000000", &pidfd), -ESRCH);
	other = (struct proc_id){.pid = 0};
	cr_expect_eq(proc_id_open(&other, "", &pidfd), -ESRCH);
}

Test(proc, a_zombie_is_not_alive)
{
	const char *const argv[] = {"true", NULL};
	struct proc_spec spec = {.argv = argv, .in = -1, .out = -1, .err = -1};
	auto_close int pidfd = -1;
	struct proc_id id;
	struct err err;
	int status = -1;
	pid_t pid = 0;

	cr_assert_eq(proc_spawn(&spec, &pidfd, &pid, &err), 0);
	cr_assert_eq(proc_id_of(pid, &id, &err), 0);
	cr_assert_eq(io_wait(pidfd, POLLIN, deadline_in(TIMEOUT_MS)), 1);
	cr_expect_not(proc_id_alive(&id, id.boot_id));
	cr_assert_eq(proc_wait(pidfd, 0, &status, &err), 0);
	cr_expect_eq(proc_wait(pidfd, 0, &status, &err), -ECHILD);
}
