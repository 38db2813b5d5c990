#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply_rig.h"
#include "cleanup.h"
#include "event_lines.h"
#include "file.h"
#include "hugepool.h"
#include "io.h"
#include "memserver.h"
#include "vmgroup.h"
#include "xalloc.h"

TestSuite(apply, .fini = apply_rig_cleanup);
TestSuite(apply_firecracker, .fini = apply_rig_cleanup);

static size_t lines_with(const char *text, const char *a, const char *b)
{
	size_t n = 0;

	for (const char *line = text; *line;
	     line += strcspn(line, "\n") + (strchr(line, '\n') != NULL)) {
		auto_free char *one = xstrndup(line, strcspn(line, "\n"));

		n += strstr(one, a) && strstr(one, b);
	}
	return n;
}

APPLY_TEST(apply, a_fleet_comes_up_stays_as_it_is_and_goes_without_a_trace)
{
	auto_apply_rig struct apply_rig r;
	const struct run_result *out;

	apply_rig_make(&r, 3, false);
	out = apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->out),
			 "plan: 9 to create, 0 to update, 0 to replace, 0 to destroy\n"));
	cr_expect_eq(apply_rig_count(&r, "clone", "ready"), 3);
	for (int i = 0; i < 3; i++) {
		auto_free char *name = xasprintf("web-%d", i);

		cr_expect_gt(apply_rig_number(&r, name, "pid"), 0);
		cr_expect_gt(apply_rig_number(&r, name, "ready_ms"), 0);
		cr_expect_gt(apply_rig_number(&r, name, "pss_bytes"), 0);
		cr_expect_str_eq(apply_rig_text(&r, name, "snapshot"), "web@healthy");
		cr_expect_str_eq(apply_rig_text(&r, name, "health"), "healthy");
	}
	uint64_t pid = apply_rig_number(&r, "web-0", "pid");
	out = apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_str_eq(buf_str(&out->out), "no changes\n");
	cr_expect_str_eq(buf_str(&out->err), "");
	cr_expect_eq(apply_rig_number(&r, "web-0", "pid"), pid);
	apply_rig_run(&r, 0, "plan", r.spec, "--detailed-exitcode", NULL);
	apply_rig_run(&r, 2, "plan", r.spec, "--detailed-exitcode", "--set", "fleets.web.count=4",
		      NULL);
	apply_rig_finish(&r);
	out = apply_rig_run(&r, 0, "destroy", r.name, NULL);
	cr_expect_str_eq(buf_str(&out->out), "nothing to destroy\n");
}

/* Events of the run that touch something, "resource_start" lines but for one address. */
static size_t starts(struct apply_rig *r, const char *events, const char *action)
{
	auto_free char *path = path_join(r->dir, events);
	auto_buf struct buf text = BUF_INIT(1u << 20);

	cr_assert_geq(file_read(path, 1u << 20, &text, NULL), 0);
	return event_count(buf_str(&text), "type", "resource_start", "action", action, NULL);
}

static void apply_with_events(struct apply_rig *r, const char *events, const char *set)
{
	auto_free char *path = path_join(r->dir, events);

	apply_rig_run(r, 0, "apply", r->spec, "--events", path, "--set", set, NULL);
}

Test(apply, a_change_of_count_touches_only_the_difference)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 2, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	uint64_t pid = apply_rig_number(&r, "web-1", "pid");
	apply_with_events(&r, "up", "fleets.web.count=5");
	cr_expect_eq(starts(&r, "up", "create"), 3);
	cr_expect_eq(starts(&r, "up", "destroy") + starts(&r, "up", "replace"), 0);
	cr_expect_eq(apply_rig_count(&r, "clone", "ready"), 5);
	apply_with_events(&r, "down", "fleets.web.count=2");
	cr_expect_eq(starts(&r, "down", "destroy"), 3);
	cr_expect_eq(starts(&r, "down", "create") + starts(&r, "down", "replace"), 0);
	cr_expect_eq(apply_rig_count(&r, "clone", "ready"), 2);
	cr_expect_eq(apply_rig_number(&r, "web-1", "pid"), pid);
	apply_rig_finish(&r);
}

/* A zombie that nobody has reaped yet has no program any more. */
static bool runs(uint64_t pid)
{
	auto_free char *exe = xasprintf("/proc/%lu/exe", (unsigned long)pid);
	char target[512];

	return readlink(exe, target, sizeof(target)) > 0;
}

APPLY_TEST(apply, a_change_of_memory_rolls_everything_below_and_leaves_one_snapshot)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 2, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	uint64_t pid = apply_rig_number(&r, "web-0", "pid");
	uint64_t server = apply_rig_number(&r, "web@healthy/0", "pid");
	apply_rig_spec(&r, 80, 2, NULL);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_neq(apply_rig_number(&r, "web-0", "pid"), pid);
	cr_expect_neq(apply_rig_number(&r, "web@healthy/0", "pid"), server);
	cr_expect_eq(apply_rig_count(&r, "memserver", "ready"), 1);
	cr_expect_not(runs(server), "the old server is gone");
	const struct run_result *out = apply_rig_run(&r, 0, "snapshot", "ls", NULL);
	cr_expect_eq(lines_with(buf_str(&out->out), "web@healthy", "ready"), 1);
	out = apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_str_eq(buf_str(&out->out), "no changes\n");
	apply_rig_finish(&r);
}

Test(apply, metadata_and_restart_change_in_place)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 2, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	uint64_t pid = apply_rig_number(&r, "web-0", "pid");
	apply_rig_spec(&r, 64, 2, "    restart: on-failure\n    metadata: { n: \"{{index}}\" }\n");
	const struct run_result *out = apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->out),
			 "plan: 0 to create, 2 to update, 0 to replace, 0 to destroy\n"));
	cr_expect_eq(apply_rig_number(&r, "web-0", "pid"), pid);
	apply_rig_finish(&r);
}

/* The one file of that name below dir; caller frees. */
static char *find_file(const char *dir, const char *name)
{
	auto_closedir DIR *d = opendir(dir);
	auto_free char *own = path_join(dir, name);

	if (file_exists(own))
		return TAKE_PTR(own);
	for (struct dirent *e; d && (e = readdir(d));) {
		auto_free char *sub = path_join(dir, e->d_name);
		char *found = e->d_name[0] == '.' ? NULL : find_file(sub, name);

		if (found)
			return found;
	}
	return NULL;
}

APPLY_TEST(apply, a_snapshot_of_another_host_is_drift_and_made_again)
{
	auto_apply_rig struct apply_rig r;
	auto_json struct json_object *manifest = NULL;

	apply_rig_make(&r, 1, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	auto_free char *snapshots = xasprintf("%s/sets/%s/snapshots", r.data, r.name);
	auto_free char *path = find_file(snapshots, "manifest.json");
	cr_assert(path);
	cr_assert_geq(json_load(path, &manifest, NULL), 0);
	json_add_str(manifest, "cpu_model", "Some Other CPU");
	cr_assert_geq(json_save(path, manifest, NULL), 0);
	const struct run_result *out = apply_rig_run(&r, 0, "plan", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->out), "host drift: "), "%s", buf_str(&out->out));
	cr_expect(strstr(buf_str(&out->out), "Some Other CPU"), "%s", buf_str(&out->out));
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	out = apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_str_eq(buf_str(&out->out), "no changes\n");
	apply_rig_finish(&r);
}

/* A limit that is not set is said before anything runs. */
static void expect_limits_told(const char *talk)
{
	auto_free char *mount = vmgroup_mount();
	auto_free char *want = NULL;
	char missing[64];

	vmgroup_missing(mount, missing, sizeof(missing));
	want = xasprintf("baselines.web.sandbox: jailer sets no limits of %s here: cgroup v2 ",
			 missing);
	cr_expect_eq(strstr(talk, want) != NULL, *missing != '\0', "%s", talk);
}

/* The same fleet, behind the jailer that lies beside it; without one, or on the other engine, the
 * plan is refused with the line. */
Test(apply_firecracker, a_fleet_lives_behind_the_jailer)
{
	auto_apply_rig struct apply_rig r;

	if (geteuid() != 0)
		cr_skip_test("the jailer needs root");
	apply_rig_use("firecracker");
	apply_rig_make(&r, 1, false);
	auto_free char *jailer = path_join(r.dir, "jailer");
	const char *const set = "baselines.web.sandbox=jailer";
	const struct run_result *out = apply_rig_run(&r, 4, "plan", r.spec, "--set", set, NULL);

	cr_expect(strstr(buf_str(&out->err), "baselines.web.sandbox: jailer is not possible here: "
					     "jailer is not installed\n"),
		  "%s", buf_str(&out->err));
	auto_buf struct buf bytes = BUF_INIT(64u << 20);

	cr_assert_eq(file_read(TEST_BUILD_DIR "/tests/fake_jailer", bytes.max - 1, &bytes, NULL),
		     0);
	cr_assert_eq(file_replace(jailer, bytes.data, bytes.len, 0755, NULL), 0);
	out = apply_rig_run(&r, 0, "plan", r.spec, "--set", set, NULL);
	expect_limits_told(buf_str(&out->err));
	apply_rig_run(&r, 0, "apply", r.spec, "--set", set, NULL);
	cr_expect_str_eq(apply_rig_text(&r, "web-0", "state"), "ready");
	out = apply_rig_run(&r, 0, "apply", r.spec, "--set", set, NULL);
	cr_expect_str_eq(buf_str(&out->out), "no changes\n");
	apply_rig_finish(&r);
}

Test(apply, huge_pages_are_firecrackers)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	const struct run_result *out =
		apply_rig_run(&r, 4, "plan", r.spec, "--set", "baselines.web.huge_pages=2M", NULL);

	cr_expect(strstr(buf_str(&out->err), "baselines.web.huge_pages: 2M is not possible here: "
					     "engine qemu has none\n"),
		  "%s", buf_str(&out->err));
	apply_rig_finish(&r);
}

/* The pool is asked before anything is started; where it has the pages, clones live on them. */
Test(apply_firecracker, a_fleet_lives_in_huge_pages_if_the_pool_has_them)
{
	auto_apply_rig struct apply_rig r;
	const char *const set = "baselines.web.huge_pages=2M";
	char why[256];

	if (!memserver_uffd_permitted(why, sizeof(why)))
		cr_skip_test("%s", why);
	apply_rig_use("firecracker");
	apply_rig_make(&r, 1, false);
	const char *const many[] = {set, "baselines.web.memory=64GiB"};
	const struct run_result *out =
		apply_rig_run(&r, 4, "apply", r.spec, "--set", many[0], "--set", many[1], NULL);

	cr_expect(strstr(buf_str(&out->err), "not enough huge pages: VMs with huge_pages: 2M may "
					     "need 32768 of 2 MiB, "),
		  "%s", buf_str(&out->err));
	cr_expect(strstr(buf_str(&out->err), "\nhint: sysctl vm.nr_hugepages="), "%s",
		  buf_str(&out->err));
	if (!hugepool_grow(32, why, sizeof(why)))
		cr_skip_test("%s", why);
	apply_rig_run(&r, 0, "apply", r.spec, "--set", set, NULL);
	cr_expect_str_eq(apply_rig_text(&r, "web-0", "state"), "ready");
	out = apply_rig_run(&r, 0, "apply", r.spec, "--set", set, NULL);
	cr_expect_str_eq(buf_str(&out->out), "no changes\n");
	apply_rig_finish(&r);
}

Test(apply, a_jailer_is_firecrackers)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	const struct run_result *out =
		apply_rig_run(&r, 4, "plan", r.spec, "--set", "baselines.web.sandbox=jailer", NULL);

	cr_expect(strstr(buf_str(&out->err), "baselines.web.sandbox: jailer is not possible here: "
					     "engine qemu has none\n"),
		  "%s", buf_str(&out->err));
	apply_rig_finish(&r);
}

/* Another version of the engine: its snapshots are of another format, and plan says so. */
Test(apply_firecracker, another_version_of_it_takes_its_snapshots_again)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_use("firecracker");
	apply_rig_make(&r, 1, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	apply_rig_script(&r, "fake.version=1.15.1");
	/* Asked again, since it is another file now. */
	auto_free char *program = path_join(r.dir, "firecracker");
	cr_assert_eq(utimensat(AT_FDCWD, program, NULL, 0), 0);
	const struct run_result *out = apply_rig_run(&r, 0, "plan", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->out),
			 "host drift: it was taken with snapshot format '10.0.0', here"),
		  "%s", buf_str(&out->out));
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	out = apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_str_eq(buf_str(&out->out), "no changes\n");
	apply_rig_finish(&r);
}

APPLY_TEST(apply, a_dead_memory_server_loses_its_clones_and_the_next_apply_repairs_both)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 2, false);
	apply_rig_run(&r, 0, "apply", r.spec, "--set", "fleets.web.restart=no", NULL);
	uint64_t server = apply_rig_number(&r, "web@healthy/0", "pid");
	cr_assert_eq(kill((pid_t)server, SIGKILL), 0);
	apply_rig_await_state(&r, "web-0", "lost");
	apply_rig_await_state(&r, "web-1", "lost");
	const struct run_result *out = apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->out),
			 "plan: 0 to create, 0 to update, 3 to replace, 0 to destroy\n"),
		  "%s", buf_str(&out->out));
	cr_expect_eq(apply_rig_count(&r, "clone", "ready"), 2);
	apply_rig_finish(&r);
}

APPLY_TEST(apply, a_clone_that_lost_its_vmm_or_was_stopped_by_hand_is_made_again)
{
	auto_apply_rig struct apply_rig r;
	auto_free char *name = NULL;

	apply_rig_make(&r, 2, false);
	name = xasprintf("%s.web-1", r.name);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_assert_eq(kill((pid_t)apply_rig_number(&r, "web-0", "pid"), SIGKILL), 0);
	apply_rig_await_state(&r, "web-0", "failed");
	apply_rig_run(&r, 0, "stop", name, NULL);
	cr_expect_str_eq(apply_rig_text(&r, "web-1", "state"), "stopped");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_eq(apply_rig_count(&r, "clone", "ready"), 2);
	apply_rig_finish(&r);
}

Test(apply, a_container_that_did_its_work_is_stopped_and_no_drift)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	auto_free char *name = xasprintf("%s.web-0", r.name);
	apply_rig_run(&r, -1, "exec", name, "--", "container-exit", "0", NULL);
	apply_rig_await_state(&r, "web-0", "stopped");
	const struct run_result *out = apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_str_eq(buf_str(&out->out), "no changes\n");
	apply_rig_spec(&r, 64, 1, "    metadata: { n: \"1\" }\n");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	out = apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_str_eq(buf_str(&out->out), "no changes\n");
	cr_expect_str_eq(apply_rig_text(&r, "web-0", "state"), "stopped");
	apply_rig_spec(&r, 64, 1, "    metadata: { n: \"1\" }\n    restart: always\n");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_str_eq(apply_rig_text(&r, "web-0", "state"), "ready");
	apply_rig_finish(&r);
}

APPLY_TEST(apply, a_failed_boot_is_exit_5_and_the_next_apply_goes_on_from_there)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 2, false);
	apply_rig_script(&r, "fake.die");
	const struct run_result *out = apply_rig_run(&r, 5, "apply", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->err), "fcvm: error: incomplete: 3 done, 1 failed, 0 "
					     "stopped, 4 not tried; baseline/web: "),
		  "%s", buf_str(&out->err));
	apply_rig_script(&r, "");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_eq(apply_rig_count(&r, "clone", "ready"), 2);
	apply_rig_finish(&r);
}

Test(apply, a_baseline_that_never_gets_healthy_is_exit_6)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	apply_rig_script(&r, "fake.unhealthy");
	apply_rig_run(&r, 6, "apply", r.spec, "--set", "baselines.web.ready_timeout=1s", NULL);
	apply_rig_finish(&r);
}

Test(apply, no_wait_takes_started_for_enough)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	apply_rig_script(&r, "fake.unhealthy");
	apply_rig_run(&r, 0, "apply", r.spec, "--set", "fleets.web.count=2", "--no-wait", NULL);
	cr_expect_eq(apply_rig_count(&r, "clone", "ready"), 2);
	apply_rig_finish(&r);
}

Test(apply, a_timeout_is_exit_124_and_leaves_what_the_next_apply_finishes)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	apply_rig_script(&r, "fake.hang");
	apply_rig_run(&r, 124, "apply", r.spec, "--timeout", "2s", NULL);
	apply_rig_script(&r, "");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	apply_rig_finish(&r);
}

Test(apply, another_spec_under_the_same_name_is_refused_unless_it_takes_over)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	auto_free char *other = path_join(r.dir, "other.yaml");
	cr_assert_eq(rename(r.spec, other), 0);
	const struct run_result *out = apply_rig_run(&r, 3, "apply", other, NULL);
	cr_expect(strstr(buf_str(&out->err), "belongs to "), "%s", buf_str(&out->err));
	out = apply_rig_run(&r, 0, "apply", other, "--take-over", NULL);
	cr_expect_str_eq(buf_str(&out->out), "no changes\n");
	apply_rig_run(&r, 0, "destroy", other, NULL);
}

Test(apply, what_does_not_fit_is_exit_4_before_anything_starts)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	const struct run_result *out =
		apply_rig_run(&r, 4, "apply", r.spec, "--set", "baselines.web.memory=1TiB", NULL);
	cr_expect(strstr(buf_str(&out->err), "not enough memory: 2 VMs to start may need "));
	cr_expect_eq(apply_rig_count(&r, "clone", "ready"), 0);
	apply_rig_finish(&r);
}

Test(apply, json_is_one_event_a_line_from_version_to_summary)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	const struct run_result *out = apply_rig_run(&r, 0, "apply", r.spec, "--json", NULL);
	const char *text = buf_str(&out->out);
	auto_json struct json_object *plan = event_last(text, "type", "plan_summary", NULL);
	auto_json struct json_object *version =
		event_last(text, "type", "version", "v", "1.0", NULL);
	auto_json struct json_object *summary = event_last(text, NULL);
	cr_expect_eq(json_opt_u64(version, "seq", 9), 0, "%s", text);
	cr_expect_str_eq(json_opt_str(summary, "type", ""), "summary");
	cr_expect_eq(json_opt_u64(plan, "create", 0), 7, "%s", text);
	cr_expect_eq(event_count(text, "type", "ready", "resource", "clone/web-0", NULL), 1);
	cr_expect_eq(json_opt_u64(summary, "failed", 9), 0, "%s", text);
	apply_rig_finish(&r);
}
