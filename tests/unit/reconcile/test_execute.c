#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "events.h"
#include "fake_ops.h"
#include "file.h"
#include "io.h"
#include "journal.h"
#include "xalloc.h"

Test(execute, steps_run_after_what_they_need_and_find_its_record)
{
	auto_fake struct fake_run f;

	fake_make(&f);
	size_t a = fake_add(&f, RESOURCE_KERNEL, "a", NULL);
	size_t b = fake_add(&f, RESOURCE_BASELINE, "b", NEEDS(a));
	fake_add(&f, RESOURCE_SNAPSHOT, "c", NEEDS(b));
	fake_execute(&f);
	auto_free char *log = fake_log(&f);
	cr_expect_str_eq(log, "create a\nend a\ncreate b\nend b\ncreate c\nend c\n");
	cr_expect_eq(f.res.done, 3);
	cr_expect(f.seen[b].healthy);
}

Test(execute, a_failed_step_leaves_its_dependents_untried_and_others_go_on)
{
	auto_fake struct fake_run f;

	fake_make(&f);
	size_t a = fake_add(&f, RESOURCE_KERNEL, "a.fail", NULL);
	size_t b = fake_add(&f, RESOURCE_BASELINE, "b", NEEDS(a));
	fake_add(&f, RESOURCE_SNAPSHOT, "c", NEEDS(b));
	fake_add(&f, RESOURCE_IMAGE, "d", NULL);
	fake_execute(&f);
	cr_expect_eq(f.res.failed, 1);
	cr_expect_eq(f.res.not_tried, 2);
	cr_expect_eq(f.res.done, 1);
	cr_expect_str_eq(f.res.first.msg, "kernel/a.fail: told to fail");
	cr_expect_eq(fake_count(&f, "create b"), 0);
	cr_expect_eq(fake_count(&f, "create d"), 1);
}

Test(execute, fail_fast_starts_nothing_after_a_failure)
{
	auto_fake struct fake_run f;

	fake_make(&f);
	f.x.fail_fast = true;
	fake_add(&f, RESOURCE_KERNEL, "a.fail", NULL);
	fake_add(&f, RESOURCE_KERNEL, "b", NULL);
	fake_execute(&f);
	cr_expect_eq(f.res.failed, 1);
	cr_expect_eq(f.res.not_tried, 1);
	cr_expect_eq(fake_count(&f, "create b"), 0);
}

/* At no point of the log are more than max begun and not ended. */
static void expect_overlap(const struct fake_run *f, size_t max)
{
	auto_free char *log = fake_log(f);
	size_t now = 0, most = 0;

	for (const char *line = log; *line; line = strchr(line, '\n') + 1) {
		if (strncmp(line, "create ", 7) == 0 && ++now > most)
			most = now;
		else if (strncmp(line, "end ", 4) == 0)
			now--;
	}
	cr_expect_leq(most, max, "%zu at once, %zu allowed", most, max);
	cr_expect_geq(most, 1);
}

Test(execute, a_permit_bounds_how_many_of_its_kind_run_at_once)
{
	auto_fake struct fake_run f;

	fake_make(&f);
	f.x.permits[PERMIT_RESTORE] = 3;
	for (int i = 0; i < 20; i++) {
		auto_free char *name = xasprintf("c%d", i);

		fake_add(&f, RESOURCE_CLONE, name, NULL);
	}
	fake_execute(&f);
	cr_expect_eq(f.res.done, 20);
	expect_overlap(&f, 3);
}

Test(execute, kinds_with_other_permits_run_beside_each_other_unless_parallelism_says_one)
{
	auto_fake struct fake_run f, one;

	fake_make(&f);
	fake_add(&f, RESOURCE_KERNEL, "a.wait", NULL);
	fake_add(&f, RESOURCE_CLONE, "b", NULL);
	/* b can only end, and let a end, when both run */
	pid_t helper = fork();
	if (helper == 0) {
		while (fake_count(&f, "end b") == 0)
			(void)usleep(1000);
		fake_touch(&f, "go");
		_exit(0);
	}
	fake_execute(&f);
	(void)waitpid(helper, NULL, 0);
	cr_expect_eq(f.res.done, 2);

	fake_make(&one);
	one.x.parallelism = 1;
	one.x.permits[PERMIT_BUILD] = 8;
	for (int i = 0; i < 6; i++) {
		auto_free char *name = xasprintf("c%d", i);

		fake_add(&one, i % 2 ? RESOURCE_CLONE : RESOURCE_KERNEL, name, NULL);
	}
	fake_execute(&one);
	expect_overlap(&one, 1);
}

Test(execute, users_of_a_one_user_node_take_turns_and_the_last_is_told)
{
	auto_fake struct fake_run f;

	fake_make(&f);
	f.x.permits[PERMIT_BOOT] = 4;
	size_t b = fake_add(&f, RESOURCE_BASELINE, "b", NULL);
	size_t s1 = fake_add(&f, RESOURCE_SNAPSHOT, "s1", NEEDS(b));
	size_t s2 = fake_add(&f, RESOURCE_SNAPSHOT, "s2", NEEDS(b));
	size_t s3 = fake_add(&f, RESOURCE_SNAPSHOT, "s3", NEEDS(b));
	fake_execute(&f);
	cr_expect_eq(f.res.done, 4);
	expect_overlap(&f, 1);
	cr_expect_not(json_opt_bool(f.seen[s1].record, "last_user", true));
	cr_expect_not(json_opt_bool(f.seen[s2].record, "last_user", true));
	cr_expect(json_opt_bool(f.seen[s3].record, "last_user", false));
}

Test(execute, a_step_that_dies_or_babbles_fails_alone)
{
	auto_fake struct fake_run f;

	fake_make(&f);
	fake_add(&f, RESOURCE_KERNEL, "a.crash", NULL);
	fake_add(&f, RESOURCE_KERNEL, "b", NULL);
	fake_execute(&f);
	cr_expect_eq(f.res.failed, 1);
	cr_expect_eq(f.res.done, 1);
	cr_expect_str_eq(f.res.first.msg,
			 "kernel/a.crash: its process ended without a result (status 3)");
}

Test(execute, classes_of_failures_are_kept_apart)
{
	auto_fake struct fake_run f;

	fake_make(&f);
	fake_add(&f, RESOURCE_KERNEL, "a.host", NULL);
	fake_add(&f, RESOURCE_CLONE, "b.late", NULL);
	fake_execute(&f);
	cr_expect(f.res.of_class[ERR_HOST]);
	cr_expect(f.res.of_class[ERR_NOT_READY]);
	cr_expect_not(f.res.of_class[ERR_FAILED]);
}

Test(execute, the_overall_deadline_kills_what_runs)
{
	auto_fake struct fake_run f;

	fake_make(&f);
	size_t a = fake_add(&f, RESOURCE_KERNEL, "a.hang", NULL);
	fake_add(&f, RESOURCE_BASELINE, "b", NEEDS(a));
	f.x.deadline_ms = deadline_in(50);
	fake_execute(&f);
	cr_expect(f.res.timed_out);
	cr_expect_eq(f.res.killed, 1);
	cr_expect_eq(f.res.failed, 0);
	cr_expect_eq(f.res.not_tried, 1);
}

/* A process that signals its parent (the test) once the log says that a step began. */
static pid_t signal_when(const struct fake_run *f, const char *line, int times)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	while (fake_count(f, line) == 0)
		(void)usleep(1000);
	for (int i = 0; i < times; i++) {
		(void)kill(parent, SIGINT);
		(void)usleep(50000);
	}
	fake_touch(f, "go");
	_exit(0);
}

Test(execute, one_sigint_lets_steps_end_and_starts_nothing_new)
{
	auto_fake struct fake_run f;

	fake_make(&f);
	size_t a = fake_add(&f, RESOURCE_KERNEL, "a.wait", NULL);
	fake_add(&f, RESOURCE_BASELINE, "b", NEEDS(a));
	pid_t helper = signal_when(&f, "create a.wait", 1);
	fake_execute(&f);
	(void)waitpid(helper, NULL, 0);
	cr_expect(f.res.interrupted);
	cr_expect_eq(f.res.done, 1);
	cr_expect_eq(f.res.not_tried, 1);
	cr_expect_eq(fake_count(&f, "end a.wait"), 1);
	cr_expect_eq(fake_count(&f, "create b"), 0);
}

Test(execute, two_sigints_kill_what_runs)
{
	auto_fake struct fake_run f;

	fake_make(&f);
	fake_add(&f, RESOURCE_KERNEL, "a.hang", NULL);
	pid_t helper = signal_when(&f, "create a.hang", 2);
	fake_execute(&f);
	(void)waitpid(helper, NULL, 0);
	cr_expect(f.res.interrupted);
	cr_expect_eq(f.res.killed, 1);
	cr_expect_eq(fake_count(&f, "end a.hang"), 0);
}

Test(execute, what_a_replace_left_is_pruned_after_its_users_moved)
{
	auto_fake struct fake_run f;

	fake_make(&f);
	size_t s = fake_add(&f, RESOURCE_SNAPSHOT, "s", NULL);
	size_t c = fake_add(&f, RESOURCE_CLONE, "c", NEEDS(s));
	f.seen[s] = (struct seen){.exists = true};
	f.seen[s].record = json_object_new_object();
	f.seen[c] = (struct seen){.exists = true, .healthy = true};
	f.seen[c].record = json_object_new_object();
	fake_execute(&f);
	auto_free char *log = fake_log(&f);
	cr_expect_str_eq(log, "create s\nend s\ncreate c\nend c\nprune s\nend s\n");
}

static size_t lines_with(const char *path, const char *word)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);
	size_t n = 0;

	cr_assert_eq(file_read(path, 1u << 20, &text, NULL), 0);
	for (const char *at = buf_str(&text); (at = strstr(at, word)); at++)
		n++;
	return n;
}

Test(execute, journal_and_events_tell_every_step)
{
	auto_fake struct fake_run f;
	auto_events struct events *events = NULL;

	fake_make(&f);
	auto_free char *journal = path_join(f.dir, "journal");
	auto_free char *log = path_join(f.dir, "events.jsonl");
	cr_assert_eq(journal_open(&f.host, f.dir, "0badcafe", "test", &f.x.journal, NULL, NULL), 0);
	cr_assert_eq(events_open(&f.host, f.dir, NULL, false, &events, NULL), 0);
	f.x.events = events;
	fake_add(&f, RESOURCE_KERNEL, "a.talk.note", NULL);
	fake_add(&f, RESOURCE_KERNEL, "b.fail", NULL);
	fake_execute(&f);
	cr_assert_eq(journal_close(TAKE_PTR(f.x.journal), "done", NULL), 0);
	cr_expect_eq(lines_with(journal, "\"op\":\"intent\""), 2);
	cr_expect_eq(lines_with(journal, "\"op\":\"note\""), 1);
	cr_expect_eq(lines_with(journal, "\"op\":\"done\""), 1);
	cr_expect_eq(lines_with(journal, "\"op\":\"failed\""), 1);
	cr_expect_eq(lines_with(log, "resource_start"), 2);
	cr_expect_eq(lines_with(log, "resource_progress"), 2);
	cr_expect_eq(lines_with(log, "resource_done"), 1);
	cr_expect_eq(lines_with(log, "resource_failed"), 1);
	cr_expect_eq(lines_with(log, "\"t\":\""), 7, "every event has a time");
}

Test(execute, a_step_dies_with_its_parent_and_does_not_hold_the_lock)
{
	auto_fake struct fake_run f;
	int held[2], alive[2];
	char c;

	fake_make(&f);
	cr_assert(pipe2(held, O_CLOEXEC) == 0 && pipe2(alive, O_CLOEXEC) == 0);
	fake_add(&f, RESOURCE_KERNEL, "a.hang", NULL);
	pid_t apply = fork();
	if (apply == 0) {
		close(held[0]);
		f.x.lock_fd = held[1]; /* stands for the lock */
		fake_execute(&f);
		_exit(0);
	}
	close(held[1]);
	close(alive[1]); /* apply and its step have it */
	while (fake_count(&f, "create a.hang") == 0)
		(void)usleep(1000);
	(void)kill(apply, SIGKILL);
	(void)waitpid(apply, NULL, 0);
	/* End of file at once: the step had let go of it. */
	cr_expect_eq(read(held[0], &c, 1), 0);
	cr_assert_eq(io_wait(alive[0], POLLIN, deadline_in(10000)), 1, "the step lives on");
	cr_expect_eq(read(alive[0], &c, 1), 0);
	close(held[0]);
	close(alive[0]);
}
