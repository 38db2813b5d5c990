/* test_supervise_volumes.c - host volumes as their supervisor sees them: servers that begin, die
 * and end with the VM, and what of them lies in a snapshot. The guest of fake_qemu mounts nothing.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "ledger.h"
#include "parse.h"
#include "run.h"
#include "supervise_rig.h"
#include "xalloc.h"

#define CALL_MS 20000

static char *make_dir(const struct rig *r, const char *name)
{
	char *path = path_join(r->data, name);

	cr_assert_eq(mkdir(path, 0755), 0);
	return path;
}

static void add(struct volume_list *l, const char *source)
{
	auto_free char *s = xstrdup(source), *name = xstrdup("out"), *target = xstrdup("/out");
	const struct volume_mount m = {
		.name = name, .target = target, .source = s, .cache = VOLUME_SHARED};

	volume_list_add(l, &m);
}

/* The process that serves dir, 0 when there is none. */
static pid_t server_of(const char *dir)
{
	auto_free char *want = xasprintf("--dir=%s", dir);
	auto_closedir DIR *proc = opendir("/proc");
	const struct dirent *e;
	uint64_t pid = 0;

	while ((e = readdir(proc))) {
		auto_free char *path = xasprintf("/proc/%s/cmdline", e->d_name);
		char line[4096] = "";
		FILE *f = parse_u64(e->d_name, 2, INT32_MAX, &pid, NULL) < 0 ? NULL
									     : fopen(path, "re");
		size_t n = f ? fread(line, 1, sizeof(line) - 1, f) : 0;

		if (f)
			(void)fclose(f);
		for (size_t at = 0; at < n; at += strlen(line + at) + 1)
			if (strcmp(line + at, want) == 0)
				return (pid_t)pid;
	}
	return 0;
}

static int boot(struct rig *r, const struct volume_list *volumes, struct err *err)
{
	struct supervisor_call call = rig_call(r->dir, CALL_MS);
	const struct vm_identity id = {.hostname = "one"};

	rig_spawn(r, r->dir);
	return supervisor_start(&call, &r->config, &r->workload, &id, NULL, volumes, err);
}

static int restore(struct rig *r, const char *snapshot, const char *dir,
		   const struct volume_list *volumes, struct err *err)
{
	struct supervisor_call call = rig_call(dir, CALL_MS);
	const struct restore_request req = {.snapshot_dir = snapshot,
					    .backend = "file",
					    .identity = {.hostname = "clone"},
					    .restart = "no",
					    .gid = LEDGER_UID_FIRST,
					    .volumes = volumes};

	rig_spawn(r, dir);
	return supervisor_restore(&call, &req, NULL, err);
}

Test(supervise_volumes, servers_begin_with_the_vm_come_again_and_end_with_it)
{
	auto_rig struct rig r;
	auto_volume_list struct volume_list volumes = {0};
	struct err err = {0};

	rig_make(&r, "");
	auto_free char *dir = make_dir(&r, "out");
	struct supervisor_call call = rig_call(r.dir, CALL_MS);
	uint64_t deadline = deadline_in(30000);

	add(&volumes, dir);
	cr_assert_geq(boot(&r, &volumes, &err), 0, "%s", err.msg);
	pid_t first = server_of(dir), next = 0;

	cr_assert_gt(first, 0, "no server");
	cr_assert_eq(kill(first, SIGKILL), 0);
	while ((next = server_of(dir)) == 0 || next == first) {
		cr_assert_gt(deadline_left(deadline), 0, "no other server");
		(void)usleep(2000);
	}
	cr_assert_geq(supervisor_stop(&call, 0, &err), 0, "%s", err.msg);
	cr_expect_eq(server_of(dir), 0);
}

Test(supervise_volumes, a_killed_supervisor_takes_its_servers_along)
{
	auto_rig struct rig r;
	auto_volume_list struct volume_list volumes = {0};
	struct err err = {0};

	rig_make(&r, "");
	auto_free char *dir = make_dir(&r, "out");

	add(&volumes, dir);
	cr_assert_geq(boot(&r, &volumes, &err), 0, "%s", err.msg);
	pid_t server = server_of(dir);

	cr_assert_gt(server, 0);
	cr_assert_eq(kill(r.supervisor.pid, SIGKILL), 0);
	rig_await_gone(server);
}

Test(supervise_volumes, a_directory_that_is_not_there_is_an_error_before_anything_runs)
{
	auto_rig struct rig r;
	auto_volume_list struct volume_list volumes = {0};
	struct err err = {0};

	rig_make(&r, "");
	auto_free char *dir = path_join(r.data, "nowhere");

	add(&volumes, dir);
	cr_expect_lt(boot(&r, &volumes, &err), 0);
	cr_expect_not_null(strstr(err.msg, "volume 'out'"), "%s", err.msg);
	cr_expect_not_null(strstr(err.msg, dir), "%s", err.msg);
}

Test(supervise_volumes, a_snapshot_has_their_state_for_supervisors_alone)
{
	auto_rig struct rig r;
	auto_volume_list struct volume_list volumes = {0}, others = {0};
	auto_json struct json_object *manifest = NULL;
	struct err err = {0};
	struct stat st = {0};

	rig_make(&r, "");
	auto_free char *dir = make_dir(&r, "out"), *other = make_dir(&r, "other");

	add(&volumes, dir);
	add(&others, other);
	cr_assert_geq(boot(&r, &volumes, &err), 0, "%s", err.msg);
	auto_free char *snap = rig_snapshot(&r, false, &manifest);
	auto_free char *state = path_join(snap, "volumes-state");

	cr_assert_eq(stat(state, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0400);
	cr_expect_eq(st.st_gid, getegid());
	auto_free char *saved = path_join(snap, "volume-1.saved");
	cr_expect_not(file_exists(saved), "nothing was open or locked");
	cr_expect_eq(server_of(dir), 0, "the baseline has ended");
	/* the same directory, and another one */
	auto_free char *a = rig_instance(&r, "clone-a"), *b = rig_instance(&r, "clone-b");
	cr_expect_geq(restore(&r, snap, a, &volumes, &err), 0, "%s", err.msg);
	cr_expect_geq(restore(&r, snap, b, &others, &err), 0, "%s", err.msg);
	cr_expect_gt(server_of(dir), 0);
	cr_expect_gt(server_of(other), 0);
}

Test(supervise_volumes, a_damaged_state_is_refused)
{
	auto_rig struct rig r;
	auto_volume_list struct volume_list volumes = {0};
	auto_json struct json_object *manifest = NULL;
	struct err err = {0};

	rig_make(&r, "");
	auto_free char *dir = make_dir(&r, "out");

	add(&volumes, dir);
	cr_assert_geq(boot(&r, &volumes, &err), 0, "%s", err.msg);
	auto_free char *snap = rig_snapshot(&r, false, &manifest);
	auto_free char *state = path_join(snap, "volumes-state");
	auto_free char *clone = rig_instance(&r, "clone");

	cr_assert_eq(truncate(state, 1000), 0);
	cr_expect_lt(restore(&r, snap, clone, &volumes, &err), 0);
	cr_expect_not_null(strstr(err.msg, "volumes-state"), "%s", err.msg);
	cr_expect_eq(server_of(dir), 0);
}
