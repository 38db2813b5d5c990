#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apply_rig.h"
#include "cleanup.h"
#include "event_lines.h"
#include "eventlog.h"
#include "file.h"
#include "io.h"
#include "xalloc.h"

TestSuite(events, .fini = apply_rig_cleanup);
TestSuite(events_firecracker, .fini = apply_rig_cleanup);

Test(events, are_printed_as_they_were_written_oldest_first)
{
	auto_apply_rig struct apply_rig r;
	const struct run_result *out;

	apply_rig_make(&r, 1, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	out = apply_rig_run(&r, 0, "events", NULL);
	auto_free char *first = xstrndup(buf_str(&out->out), strcspn(buf_str(&out->out), "\n") + 1);
	auto_json struct json_object *version = event_last(first, "type", "version", NULL);
	cr_assert_not_null(version, "%s", first);
	cr_expect_str_eq(json_opt_str(version, "v", ""), "1.0");
	cr_expect_eq(json_opt_u64(version, "seq", 9), 0);
	cr_expect_eq(
		event_count(buf_str(&out->out), "type", "ready", "resource", "clone/web-0", NULL),
		1);
	out = apply_rig_run(&r, 0, "events", r.name, NULL);
	cr_expect_eq(event_count(buf_str(&out->out), "type", "summary", NULL), 1);
	out = apply_rig_run(&r, 3, "events", "nosuch", NULL);
	cr_expect_str_eq(buf_str(&out->err), "fcvm: error: there is no set 'nosuch'\n");
	apply_rig_finish(&r);
	out = apply_rig_run(&r, 0, "events", NULL);
	cr_expect_str_eq(buf_str(&out->out), "");
	out = apply_rig_run(&r, 3, "events", "-f", NULL);
	cr_expect_str_eq(buf_str(&out->err),
			 "fcvm: error: events -f follows one set, and there are 0\n"
			 "hint: for example: fcvm events -f hello\n");
}

Test(events, what_is_not_as_it_was_left_is_drift)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 2, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	auto_free char *name = xasprintf("%s.web-1", r.name);
	apply_rig_run(&r, 0, "stop", name, NULL);
	const struct run_result *out = apply_rig_run(&r, 0, "apply", r.spec, "--json", NULL);
	cr_expect_eq(event_count(buf_str(&out->out), "type", "drift", "resource", "clone/web-1",
				 "action", "replace", "reason", "stopped by hand", NULL),
		     1, "%s", buf_str(&out->out));
	cr_expect_eq(event_count(buf_str(&out->out), "type", "drift", NULL), 1);
	apply_rig_finish(&r);
}

/* Asks until there is one. */
static struct json_object *await_event(struct apply_rig *r, const char *resource, const char *state)
{
	const uint64_t deadline_ms = deadline_in(30000);
	struct json_object *o = NULL;

	while (!o) {
		const struct run_result *out = apply_rig_run(r, 0, "events", NULL);

		o = event_last(buf_str(&out->out), "type", "state", "resource", resource, "state",
			       state, NULL);
		cr_assert(o || now_ms() < deadline_ms, "no %s of %s: %s", state, resource,
			  buf_str(&out->out));
	}
	return o;
}

APPLY_TEST(events, what_happens_while_nobody_looks_is_kept)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 2, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	/* What apply made, apply tells of. */
	const struct run_result *out = apply_rig_run(&r, 0, "events", NULL);
	cr_expect_eq(
		event_count(buf_str(&out->out), "type", "state", "resource", "clone/web-0", NULL),
		0, "%s", buf_str(&out->out));
	pid_t vmm = (pid_t)apply_rig_number(&r, "web-1", "pid");
	cr_assert_gt(vmm, 0);
	cr_assert_eq(kill(vmm, SIGKILL), 0);
	auto_json struct json_object *o = await_event(&r, "clone/web-1", "failed");
	cr_expect_str_eq(json_opt_str(o, "ended", ""), "crashed");
	cr_expect_str_eq(json_opt_str(o, "health", ""), "none");
	cr_expect_neq(json_opt_str(o, "error", "")[0], '\0');
	cr_expect_neq(json_opt_str(o, "t", "")[0], '\0');
	cr_expect_eq(json_opt_u64(o, "restarts", 9), 0);
	out = apply_rig_run(&r, 0, "events", NULL);
	cr_expect_eq(
		event_count(buf_str(&out->out), "type", "state", "resource", "clone/web-0", NULL),
		0);
	apply_rig_finish(&r);
}

APPLY_TEST(events, a_restart_is_told_step_by_step)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	apply_rig_spec(&r, 64, 1, "    restart: on-failure\n");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_assert_eq(kill((pid_t)apply_rig_number(&r, "web-0", "pid"), SIGKILL), 0);
	auto_json struct json_object *failed = await_event(&r, "clone/web-0", "failed");
	auto_json struct json_object *ready = await_event(&r, "clone/web-0", "ready");
	cr_expect_eq(json_opt_u64(failed, "restarts", 9), 0);
	cr_expect_eq(json_opt_u64(ready, "restarts", 9), 1);
	cr_expect_null(json_opt_str(ready, "ended", NULL));
	const struct run_result *out = apply_rig_run(&r, 0, "events", NULL);
	const char *text = buf_str(&out->out);
	const char *const once[] = {"failed", "creating", "ready"};
	for (size_t i = 0; i < ARRAY_SIZE(once); i++)
		cr_expect_eq(event_count(text, "type", "state", "resource", "clone/web-0", "state",
					 once[i], NULL),
			     1, "%s: %s", once[i], text);
	cr_expect_eq(json_opt_u64(failed, "seq", 9), 0);
	cr_expect_eq(event_count(text, "type", "state", "resource", "clone/web-0", NULL),
		     json_opt_u64(ready, "seq", 0) + 1, "none is missing: %s", text);
	apply_rig_finish(&r);
}

Test(events, a_file_that_cannot_be_written_is_no_run_that_was_cut_off)
{
	auto_apply_rig struct apply_rig r;
	const struct run_result *out;

	apply_rig_make(&r, 1, false);
	out = apply_rig_run(&r, 1, "apply", r.spec, "--events", "/nonexistent/x", NULL);
	cr_expect_str_eq(buf_str(&out->err),
			 "fcvm: error: cannot write events to '/nonexistent/x': "
			 "No such file or directory\n");
	out = apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_null(strstr(buf_str(&out->err), "cut off"), "%s", buf_str(&out->err));
	apply_rig_finish(&r);
}

static char *log_of(const struct apply_rig *r)
{
	return xasprintf("%s/sets/%s/" EVENTLOG_NAME, r->data, r->name);
}

/* Events of that type, n of them, and nothing else. */
static void put_log(const char *path, const char *type, size_t n)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);

	for (size_t i = 0; i < n; i++)
		buf_addf(&text, "{\"type\":\"%s\"}\n", type);
	cr_assert_eq(file_replace(path, text.data, text.len, 0600, NULL), 0);
}

/* `fcvm events` into a pipe. */
static pid_t start_events(const struct apply_rig *r, int *ret_out)
{
	int out[2];

	cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		(void)dup2(out[1], STDOUT_FILENO);
		execl(r->fcvm, "fcvm", "--data-dir", r->data, "events", r->name, (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	*ret_out = out[0];
	return pid;
}

static void read_all(int fd, struct buf *ret)
{
	const uint64_t deadline_ms = deadline_in(60000);
	char chunk[4096];
	ssize_t n = 1;

	while (n > 0) {
		cr_assert_eq(io_wait(fd, POLLIN, deadline_ms), 1, "after %zu bytes", ret->len);
		n = read(fd, chunk, sizeof(chunk));
		cr_assert_geq(n, 0);
		buf_add(ret, chunk, (size_t)n);
	}
}

/* A pager may take its time for the first screen. */
Test(events, none_is_left_out_when_the_log_is_turned_over_while_it_is_printed)
{
	auto_apply_rig struct apply_rig r;
	auto_buf struct buf text = BUF_INIT(4u << 20);
	const size_t more_than_a_pipe_holds = 40000;
	auto_close int out = -1;
	int status = -1;

	apply_rig_make(&r, 1, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	auto_free char *path = log_of(&r), *old = xasprintf("%s" EVENTLOG_OLD, path);
	put_log(old, "first", more_than_a_pipe_holds);
	put_log(path, "second", 1);
	pid_t pid = start_events(&r, &out);
	cr_assert_eq(io_wait(out, POLLIN, deadline_in(60000)), 1);
	cr_assert_eq(rename(path, old), 0);
	put_log(path, "third", 1);
	read_all(out, &text);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect_eq(status, 0);
	cr_expect_eq(event_count(buf_str(&text), "type", "first", NULL), more_than_a_pipe_holds);
	const char *end = strstr(buf_str(&text), "{\"type\":\"second\"");
	cr_expect_str_eq(end ? end : "", "{\"type\":\"second\"}\n{\"type\":\"third\"}\n");
	apply_rig_finish(&r);
}

/* As it is when the log is turned over between the look at the one and at the other. */
Test(events, what_both_names_mean_is_printed_once)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	auto_free char *path = log_of(&r), *old = xasprintf("%s" EVENTLOG_OLD, path);
	cr_assert_eq(link(path, old), 0);
	const struct run_result *out = apply_rig_run(&r, 0, "events", NULL);
	cr_expect_eq(event_count(buf_str(&out->out), "type", "version", NULL), 1);
	apply_rig_finish(&r);
}
