/* test_fleet.c - a fleet on real guests: identity, convergence, scaling, nothing left. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "map.h"
#include "vm_env.h"
#include "xalloc.h"

TestSuite(fleet, .fini = vm_env_cleanup);

static void check_row(struct json_object *row)
{
	const char *name = json_opt_str(row, "name", "?");
	uint64_t pid = json_opt_u64(row, "pid", 0);
	char exe[512];
	struct stat st;

	cr_assert_str_eq(json_opt_str(row, "state", ""), "ready", "%s", name);
	cr_assert_str_eq(json_opt_str(row, "health", ""), "healthy", "%s", name);
	cr_assert_gt(pid, 0, "%s", name);
	auto_free char *link = xasprintf("/proc/%lu/exe", (unsigned long)pid);
	ssize_t n = readlink(link, exe, sizeof(exe) - 1);
	cr_assert_gt(n, 0, "%s", name);
	exe[n] = '\0';
	cr_assert_not_null(strstr(exe, "qemu-system"), "%s runs %s", name, exe);
	auto_free char *proc = xasprintf("/proc/%lu", (unsigned long)pid);
	auto_free char *status_path = path_join(proc, "status");
	auto_free char *status = vm_read(status_path);
	char *uid = strstr(status, "\nUid:\t");
	cr_assert_not_null(uid);
	cr_assert_neq(uid[6], '0', "%s runs as root", name);
	cr_assert_eq(stat(proc, &st), 0);
	static const char *const texts[] = {"vm_id", "snapshot", "created_at", "accel", "engine"};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		cr_assert_not_null(json_opt_str(row, texts[i], NULL), "%s: %s", name, texts[i]);
	cr_assert_gt(json_opt_u64(row, "serve_pid", 0), 0, "%s", name);
	cr_assert_gt(json_opt_u64(row, "ready_ms", 0), 0, "%s", name);
	cr_assert_gt(json_opt_u64(row, "pss_bytes", 0), 0, "%s", name);
}

Test(fleet, twenty_clones_served_by_userfaultfd_have_twenty_identities)
{
	static const char *const facts[] = {"hostname", "machine_id", "boot_id", "epoch", "random"};
	struct vm_env env;
	struct map seen[ARRAY_SIZE(facts)] = {0};

	vm_env_init(&env, "twenty", NULL);
	vm_apply(&env, "fleets.web.count=20", "snapshots.web-warm.memory.backend=uffd");
	auto_json struct json_object *ps = vm_ps(&env);
	cr_assert_eq(vm_count(ps, "clone", "ready"), 20);
	for (unsigned int i = 0; i < 20; i++) {
		auto_free char *suffix = xasprintf("web-%u", i);
		const char *name = vm_name(&env, suffix);

		check_row(vm_row(ps, name));
		auto_json struct json_object *who = vm_get(&env, name, "/");
		for (size_t k = 0; k < ARRAY_SIZE(facts); k++) {
			const char *value = json_opt_str(who, facts[k], "");

			cr_assert_gt(strlen(value), 0, "%s has no %s", name, facts[k]);
			cr_assert(map_add(&seen[k], value, &env), "%s shared: %s", facts[k], value);
		}
	}
	for (size_t k = 0; k < ARRAY_SIZE(facts); k++)
		map_free(&seen[k]);
	vm_env_finish(&env);
}

/* The pids of all VMs, in order of ps. */
static char *pids(struct vm_env *env)
{
	auto_json struct json_object *ps = vm_ps(env);
	struct buf out = BUF_INIT(65536);

	for (size_t i = 0; i < json_object_array_length(ps); i++) {
		struct json_object *row = json_object_array_get_idx(ps, i);

		buf_addf(&out, "%s=%lu\n", json_opt_str(row, "name", "?"),
			 (unsigned long)json_opt_u64(row, "pid", 0));
	}
	return buf_detach(&out);
}

Test(fleet, a_second_apply_changes_nothing_whatever_the_layout_of_the_file)
{
	struct vm_env env;

	vm_env_init(&env, "again", NULL);
	vm_apply(&env, NULL, NULL);
	auto_free char *first = pids(&env);
	auto_run struct run_result r = RUN_INIT;
	VM_RUN(&env, &r, 0, "apply", env.spec);
	cr_assert_str_eq(buf_str(&r.out), "no changes\n");

	/* comments and another order of keys */
	auto_free char *text = vm_read(env.spec);
	auto_free char *snapshots = xstrdup(strstr(text, "snapshots:"));
	*strstr(text, "snapshots:") = '\0';
	*strstr(snapshots, "fleets:") = '\0';
	auto_free char *other =
		xasprintf("# moved\nfleets:\n  web: { count: 3, from: web-warm } # same\n%s%s",
			  text, snapshots);
	cr_assert_eq(file_replace(env.spec, other, strlen(other), 0600, NULL), 0);
	auto_run struct run_result again = RUN_INIT;
	VM_RUN(&env, &again, 0, "apply", env.spec);
	cr_assert_str_eq(buf_str(&again.out), "no changes\n");
	auto_run struct run_result plan = RUN_INIT;
	VM_RUN(&env, &plan, 0, "plan", env.spec, "--detailed-exitcode");
	auto_free char *second = pids(&env);
	cr_assert_str_eq(first, second);
	vm_env_finish(&env);
}

Test(fleet, scaling_touches_only_the_difference)
{
	struct vm_env env;

	vm_env_init(&env, "scale", NULL);
	vm_apply(&env, NULL, NULL);
	auto_json struct json_object *three = vm_ps(&env);
	vm_apply(&env, "fleets.web.count=6", NULL);
	auto_json struct json_object *six = vm_ps(&env);
	cr_assert_eq(vm_count(six, "clone", "ready"), 6);
	for (int i = 0; i < 3; i++) {
		auto_free char *suffix = xasprintf("web-%d", i);
		const char *name = vm_name(&env, suffix);

		cr_assert_eq(vm_pid(three, name), vm_pid(six, name), "%s was touched", name);
	}
	vm_apply(&env, "fleets.web.count=2", NULL);
	auto_json struct json_object *two = vm_ps(&env);
	cr_assert_eq(vm_count(two, "clone", NULL), 2);
	cr_assert_eq(vm_pid(three, vm_name(&env, "web-0")), vm_pid(two, vm_name(&env, "web-0")));
	cr_assert_eq(vm_pid(three, vm_name(&env, "web-1")), vm_pid(two, vm_name(&env, "web-1")));
	vm_env_finish(&env);
}
