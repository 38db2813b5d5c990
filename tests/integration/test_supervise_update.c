/* What is changed in place of a clone that is between two runs. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "cleanup.h"
#include "ctl.h"
#include "file.h"
#include "frame.h"
#include "io.h"
#include "parse.h"
#include "supervise_rig.h"
#include "xalloc.h"

/* A clone that is always restored again; caller frees its directory. */
static char *make_clone(struct rig *r)
{
	struct err err = {0};

	rig_make(r, "");
	rig_boot(r);
	auto_free char *snap = rig_snapshot(r, false, NULL);
	char *dir = rig_instance(r, "clone-1");

	cr_assert_geq(rig_restore(r, snap, dir, "always", NULL, &err), 0, "%s", err.msg);
	return dir;
}

/* From here on every VM of it fails, until another script says otherwise. */
static void lose_clone(const struct rig *r, const char *dir)
{
	rig_script(r, "fake.no_resume");
	cr_assert_eq(kill(rig_vmm_of(dir), SIGKILL), 0);
	rig_await(dir, "state", "failed");
}

static void update(const char *dir, const struct update_request *req)
{
	struct supervisor_call call = rig_call(dir, 20000);
	struct err err = {0};

	cr_assert_geq(supervisor_update(&call, req, &err), 0, "%s", err.msg);
}

static void expect_metadata(const char *dir, const char *what)
{
	auto_buf struct buf out = BUF_INIT(4096);

	cr_expect_eq(rig_exec(dir, "identity", NULL, &out), 0);
	cr_expect(strstr(buf_str(&out), what), "%s", buf_str(&out));
}

ENGINE_TEST(supervise_update, a_clone_that_waits_for_its_restart_comes_up_with_it)
{
	const struct health_spec none = {0};
	const struct update_request req = {.metadata = "{\"n\":9}", .health = &none};
	auto_rig struct rig r;
	auto_free char *dir = make_clone(&r);

	cr_expect_str_eq(rig_status(dir, "health"), "healthy");
	lose_clone(&r, dir);
	update(dir, &req);
	rig_script(&r, "");
	rig_await(dir, "state", "ready");
	expect_metadata(dir, "{\"n\":9}");
	cr_expect_str_eq(rig_status(dir, "health"), "none");
}

ENGINE_TEST(supervise_update, a_clone_on_its_way_up_again_gets_it)
{
	const struct health_spec check = {.tcp = (char[]){":81"},
					  .interval_ms = 10000,
					  .start_interval_ms = 250,
					  .timeout_ms = 5000,
					  .retries = 3};
	const struct health_spec none = {0};
	const struct update_request first = {.health = &check};
	const struct update_request req = {.metadata = "{\"n\":9}", .health = &none};
	auto_rig struct rig r;
	auto_buf struct buf out = BUF_INIT(4096);
	auto_free char *dir = make_clone(&r);

	/* From here on each restore brings a check along. */
	update(dir, &first);
	rig_script(&r, "fake.hold_resume");
	cr_assert_eq(kill(rig_vmm_of(dir), SIGKILL), 0);
	rig_await(dir, "restarts", "1");
	rig_await(dir, "health", "healthy");
	cr_expect_str_eq(rig_status(dir, "state"), "running", "its hooks are not done");
	update(dir, &req);
	expect_metadata(dir, "{\"n\":9}");
	cr_expect_eq(rig_exec(dir, "let-go", NULL, &out), 0);
	rig_await(dir, "state", "ready");
	cr_expect_eq(rig_exec(dir, "checked", NULL, &out), 1, "the check it came up with is gone");
	cr_expect_str_eq(rig_status(dir, "health"), "none");
}

static pid_t supervisor_of(const char *dir)
{
	auto_json struct json_object *o = NULL;
	const char *text = rig_status(dir, "supervisor");

	cr_assert_geq(json_parse(text, strlen(text), &o, NULL), 0);
	return (pid_t)json_opt_u64(o, "pid", 0);
}

/* Somebody asks to wait for its health; the request is there before anything that comes later. */
static int begin_wait(const char *dir)
{
	static const char hello[] = "{\"proto\":1,\"fcvm\":\"test\"}";
	static const char wait[] =
		"{\"verb\":\"wait\",\"args\":{\"until\":\"healthy\",\"timeout_ms\":60000}}";
	auto_free char *path = path_join(dir, CTL_SOCK);
	const uint64_t deadline_ms = deadline_in(20000);
	int fd = -1;

	cr_assert_geq(io_unix_connect(path, deadline_ms, &fd, NULL), 0);
	cr_assert_geq(frame_write(fd, CTL_HELLO, 0, hello, strlen(hello), deadline_ms, NULL), 0);
	cr_assert_geq(frame_write(fd, CTL_REQUEST, 0, wait, strlen(wait), deadline_ms, NULL), 0);
	return fd;
}

static void expect_wait_told(int fd, const char *what)
{
	auto_buf struct buf body = BUF_INIT(65536);
	auto_json struct json_object *o = NULL;
	struct frame f = {0};

	while (f.type != CTL_REPLY)
		cr_assert_geq(frame_read(fd, 65536, &f, &body, deadline_in(20000), NULL), 0,
			      "it was hung up on");
	cr_assert_geq(json_parse((const char *)f.body, f.len, &o, NULL), 0);
	cr_expect_eq(strncmp(json_opt_str(o, "msg", ""), what, strlen(what)), 0, "%s",
		     buf_str(&body));
}

ENGINE_TEST(supervise_update, a_clone_that_is_not_to_be_restarted_any_more_waits_for_nothing)
{
	const struct update_request req = {.restart = "no"};
	auto_rig struct rig r;
	auto_free char *dir = make_clone(&r);
	pid_t pid = supervisor_of(dir);

	lose_clone(&r, dir);
	auto_close int waiter = begin_wait(dir);
	update(dir, &req);
	expect_wait_told(waiter, "the VM ended before it was");
	rig_await_gone(pid);
	cr_expect_str_eq(rig_status(dir, "state"), "failed");
	cr_expect_str_eq(rig_status(dir, "ended"), "crashed");
}
