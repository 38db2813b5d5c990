/* test_volumes.c - disks of real guests: filled before the snapshot, each clone's own afterwards.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "json.h"
#include "storage.h"
#include "vm_env.h"
#include "xalloc.h"

TestSuite(volumes, .fini = vm_env_cleanup);

/* A name too long for a serial, one for each clone and one for all. */
#define BODY                                                                                                 \
	"volumes:\n"                                                                                         \
	"  tmp: { type: disk, size: 64MiB }\n"                                                               \
	"  a-name-that-no-serial-can-say: { type: disk, size: 32MiB }\n"                                     \
	"  all: { type: disk, size: 16MiB, per: set }\n"                                                     \
	"defaults:\n  baseline:\n    network: none\n    volumes: [\"a-name-that-no-serial-can-say:/deep\", " \
	"\"tmp:/scratch\", \"all:/all:ro\"]\n"                                                               \
	"snapshots:\n"                                                                                       \
	"  web-warm:\n    from: web\n"                                                                       \
	"    prepare: [[sh, -c, \"echo warm >/scratch/warm && echo deep >/deep/er\"]]\n"                     \
	"fleets:\n"                                                                                          \
	"  web: { from: web-warm, count: 2, restart: on-failure }\n"

static const char *in_vm(struct vm_env *env, const char *clone, const char *script)
{
	static struct run_result r = RUN_INIT;

	run_free(&r);
	r = (struct run_result)RUN_INIT;
	VM_RUN(env, &r, -1, "exec", "--vm", vm_name(env, clone), "--", "sh", "-c", script);
	cr_assert_not(r.timed_out);
	return buf_str(&r.out);
}

/* What the container sees: through the root of its process. */
#define IN_CONTAINER "/proc/$(cat /run/fc-agent/container.pid)/root"

static void check_clone(struct vm_env *env, const char *clone)
{
	cr_expect_str_eq(in_vm(env, clone, "cat /scratch/warm /deep/er"), "warm\ndeep\n");
	cr_expect_str_eq(in_vm(env, clone, "cd " IN_CONTAINER " && cat scratch/warm deep/er"),
			 "warm\ndeep\n", "%s: the container sees the same", clone);
	cr_expect_str_eq(in_vm(env, clone, "touch /all/x 2>/dev/null; echo $?"), "1\n");
	cr_expect_str_eq(in_vm(env, clone, "stat -c %a /scratch; stat -fc %T /all"),
			 "1777\next2/ext3\n");
}

/* The object of the array that says `value` at `key`, borrowed. */
static struct json_object *pick(struct json_object *o, const char *array, const char *key,
				const char *value)
{
	struct json_object *arr = NULL;

	cr_assert_geq(json_get_arr(o, array, &arr, NULL), 0);
	for (size_t i = 0; i < json_object_array_length(arr); i++) {
		struct json_object *one = json_object_array_get_idx(arr, i);

		if (strcmp(json_opt_str(one, key, ""), value) == 0)
			return one;
	}
	cr_assert_fail("no '%s' in %s", value, array);
	return NULL;
}

static void check_manifest(struct vm_env *env)
{
	auto_free char *dir = vm_snapshot_dir(env, "web-warm");
	auto_free char *path = xasprintf("%s/manifest.json", dir);
	auto_json struct json_object *manifest = NULL;

	cr_assert_geq(json_load(path, &manifest, NULL), 0);
	struct json_object *own = pick(manifest, "disks", "serial", "vol-tmp");
	cr_expect_str_eq(json_opt_str(own, "path", ""), "vol-tmp.img");
	cr_expect_eq(json_opt_u64(own, "size", 0), 64u << 20);
	cr_expect_not(json_opt_bool(own, "read_only", true));
	struct json_object *all = pick(manifest, "disks", "serial", "vol-all");
	cr_expect_eq(json_opt_u64(all, "size", 0), 16u << 20);
	cr_expect(json_opt_bool(all, "read_only", false));
	struct json_object *deep = pick(manifest, "volumes", "target", "/deep");
	cr_expect_str_eq(json_opt_str(deep, "name", ""), "a-name-that-no-serial-can-say");
}

/* A copy, so that nothing is repaired where it lies. Preening plays the journal back and counts
 * anew what a mounted ext4 counts in memory; anything worse is its status 4. */
static void check_disk(struct vm_env *env, const char *image)
{
	auto_free char *copy = xasprintf("%s/fsck.img", env->dir);
	const struct clone_file_spec spec = {.from = image, .to = copy, .mode = 0600};
	const char *const argv[] = {"e2fsck", "-f", "-p", copy, NULL};
	auto_run struct run_result r = RUN_INIT;
	struct err err = {0};

	cr_assert_eq(storage_clone_file(&spec, NULL, &err), 0, "%s", err.msg);
	run_argv(&r, argv, NULL, NULL, VM_TIMEOUT_MS);
	cr_expect(r.status == 0 || r.status == 1, "e2fsck %s: %d\n%s", image, r.status,
		  buf_str(&r.out));
	cr_assert_eq(unlink(copy), 0);
}

static void check_disks(struct vm_env *env)
{
	auto_free char *dir = vm_snapshot_dir(env, "web-warm");
	auto_free char *source = xasprintf("%s/vol-tmp.img", dir);
	auto_free char *clone =
		xasprintf("%s/sets/%s/vms/web-1/vm/vol-tmp.img", env->dir, env->set);
	auto_run struct run_result r = RUN_INIT;

	check_disk(env, source);
	VM_RUN(env, &r, 0, "stop", vm_name(env, "web-1"));
	check_disk(env, clone);
}

static void await_other_pid(struct vm_env *env, const char *clone, pid_t old)
{
	uint64_t deadline_ms = deadline_in(VM_TIMEOUT_MS);
	pid_t now = old;

	while ((now == old || now == 0) && now_ms() < deadline_ms) {
		auto_json struct json_object *ps = vm_ps(env);

		now = (pid_t)json_opt_u64(vm_row(ps, vm_name(env, clone)), "pid", 0);
		(void)usleep(50000);
	}
	vm_await_state(env, vm_name(env, clone), "ready");
}

Test(volumes, a_disk_is_filled_once_and_then_each_clones_own)
{
	struct vm_env env;

	vm_env_init(&env, "volumes", BODY);
	vm_apply(&env, NULL, NULL);
	check_clone(&env, "web-0");
	check_clone(&env, "web-1");
	check_manifest(&env);

	(void)in_vm(&env, "web-0", "echo zero >/scratch/own; sync");
	cr_expect_str_eq(in_vm(&env, "web-0", "cat " IN_CONTAINER "/scratch/own"), "zero\n");
	cr_expect_str_eq(in_vm(&env, "web-1", "ls /scratch"), "lost+found\nwarm\n");

	/* A restart is the snapshot again, disks included. */
	auto_json struct json_object *ps = vm_ps(&env);
	pid_t pid = vm_pid(ps, vm_name(&env, "web-0"));
	cr_assert_eq(kill(pid, SIGKILL), 0);
	await_other_pid(&env, "web-0", pid);
	cr_expect_str_eq(in_vm(&env, "web-0", "ls /scratch"), "lost+found\nwarm\n");
	check_clone(&env, "web-0");

	auto_run struct run_result r = RUN_INIT;
	VM_RUN(&env, &r, 0, "apply", env.spec);
	cr_expect_str_eq(buf_str(&r.out), "no changes\n");
	(void)in_vm(&env, "web-1", "dd if=/dev/urandom of=/scratch/big bs=1M count=8 2>/dev/null");
	check_disks(&env);
	vm_env_finish(&env);
}
