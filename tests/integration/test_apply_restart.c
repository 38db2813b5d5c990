/* What becomes of a VM that is to be started again, and of who was to do that. */
#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "apply_rig.h"
#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "xalloc.h"

TestSuite(apply_restart, .fini = apply_rig_cleanup);
TestSuite(apply_restart_firecracker, .fini = apply_rig_cleanup);

static struct json_object *status_of(const struct apply_rig *r)
{
	auto_free char *path = xasprintf("%s/sets/%s/vms/web-0/status.json", r->data, r->name);
	struct json_object *o = NULL;

	cr_assert_eq(json_load(path, &o, NULL), 0);
	return o;
}

static void kill_supervisor(const struct apply_rig *r)
{
	auto_json struct json_object *status = status_of(r);
	uint64_t pid = json_opt_u64(json_opt_obj(status, "supervisor"), "pid", 0);
	auto_close int fd = pidfd_open((pid_t)pid, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(pidfd_send_signal(fd, SIGKILL, NULL, 0), 0);
	cr_assert_eq(io_wait(fd, POLLIN, deadline_in(20000)), 1);
}

static bool is_between_runs(const struct apply_rig *r)
{
	auto_json struct json_object *status = status_of(r);

	return strcmp(json_opt_str(status, "ended", ""), "exited") == 0;
}

static bool ran_once(const struct apply_rig *r)
{
	auto_json struct json_object *status = status_of(r);

	return json_opt_str(status, "ended", NULL) || json_opt_u64(status, "restarts", 0) > 0;
}

/* The container exits 0. */
static void end_first_run(struct apply_rig *r)
{
	auto_free char *name = xasprintf("%s.web-0", r->name);
	const uint64_t deadline_ms = deadline_in(60000);

	apply_rig_run(r, -1, "exec", name, "--", "container-exit", "0", NULL);
	while (!ran_once(r)) {
		cr_assert_lt(now_ms(), deadline_ms, "its first run does not end");
		(void)usleep(1000);
	}
}

/* The container exits 0, and before the VM is started again its supervisor is killed. */
static void lose_it_between_runs(struct apply_rig *r)
{
	const uint64_t deadline_ms = deadline_in(60000);
	bool lost = false;

	while (!lost) {
		cr_assert_lt(now_ms(), deadline_ms, "it was always started again before");
		apply_rig_run(r, 0, "apply", r->spec, NULL);
		end_first_run(r);
		kill_supervisor(r);
		lost = is_between_runs(r);
	}
}

APPLY_TEST(apply_restart, always_holds_also_for_one_whose_supervisor_died_between_two_runs)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	apply_rig_spec(&r, 64, 1, "    restart: always\n");
	lose_it_between_runs(&r);
	const struct run_result *out = apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->out), "its supervisor is gone"), "%s", buf_str(&out->out));
	cr_expect_str_eq(apply_rig_text(&r, "web-0", "state"), "ready");
	lose_it_between_runs(&r);
	apply_rig_spec(&r, 64, 1, "    restart: always\n    metadata: { n: \"1\" }\n");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_str_eq(apply_rig_text(&r, "web-0", "state"), "ready");
	apply_rig_finish(&r);
}

APPLY_TEST(apply_restart, what_is_changed_between_two_runs_is_there_in_the_next)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	auto_free char *name = xasprintf("%s.web-0", r.name);
	apply_rig_spec(&r, 64, 1, "    restart: always\n");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	end_first_run(&r);
	apply_rig_spec(&r, 64, 1, "    restart: always\n    metadata: { n: \"1\" }\n");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	apply_rig_await_state(&r, "web-0", "ready");
	const struct run_result *out = apply_rig_run(&r, 0, "exec", name, "--", "identity", NULL);
	cr_expect(strstr(buf_str(&out->out), "{\"n\":\"1\"}"), "%s", buf_str(&out->out));
	apply_rig_finish(&r);
}
