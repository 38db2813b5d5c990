/* test_repair.c - kill -9 of anything; the next apply converges, destroy leaves nothing. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "vm_env.h"
#include "xalloc.h"

TestSuite(repair, .fini = vm_env_cleanup);

Test(repair, a_killed_vmm_is_failed_and_apply_makes_it_again)
{
	struct vm_env env;

	vm_env_init(&env, "vmm", NULL);
	vm_apply(&env, "fleets.web.count=2", NULL);
	auto_json struct json_object *ps = vm_ps(&env);
	pid_t kept = vm_pid(ps, vm_name(&env, "web-1"));

	cr_assert_eq(kill(vm_pid(ps, vm_name(&env, "web-0")), SIGKILL), 0);
	vm_await_state(&env, vm_name(&env, "web-0"), "failed");
	vm_apply(&env, "fleets.web.count=2", NULL);
	auto_json struct json_object *after = vm_ps(&env);
	cr_assert_eq(vm_count(after, "clone", "ready"), 2);
	cr_assert_eq(vm_pid(after, vm_name(&env, "web-1")), kept);
	vm_env_finish(&env);
}

/* The process whose parent-death signal the VMM carries: its supervisor. */
static pid_t parent_of(pid_t pid)
{
	auto_free char *path = xasprintf("/proc/%d/status", pid);
	auto_free char *status = vm_read(path);
	char *line = strstr(status, "\nPPid:\t");

	cr_assert_not_null(line);
	return (pid_t)strtol(line + 7, NULL, 10);
}

Test(repair, a_killed_supervisor_takes_its_vmm_along_and_apply_makes_both_again)
{
	struct vm_env env;

	vm_env_init(&env, "supervisor", NULL);
	vm_apply(&env, "fleets.web.count=2", NULL);
	auto_json struct json_object *ps = vm_ps(&env);
	pid_t vmm = vm_pid(ps, vm_name(&env, "web-0"));
	pid_t kept = vm_pid(ps, vm_name(&env, "web-1"));

	cr_assert_eq(kill(parent_of(vmm), SIGKILL), 0);
	vm_await_state(&env, vm_name(&env, "web-0"), "failed");
	auto_free char *exe = xasprintf("/proc/%d/exe", vmm);
	uint64_t deadline = deadline_in(10000);
	while (access(exe, F_OK) == 0) {
		cr_assert_gt(deadline_left(deadline), 0, "the VMM outlived its supervisor");
		(void)poll(NULL, 0, 10);
	}
	vm_apply(&env, "fleets.web.count=2", NULL);
	auto_json struct json_object *after = vm_ps(&env);
	cr_assert_eq(vm_count(after, "clone", "ready"), 2);
	cr_assert_eq(vm_pid(after, vm_name(&env, "web-1")), kept);
	vm_env_finish(&env);
}

/* Starts apply and kills it (only it) as soon as an event of this kind stands in events.jsonl. */
static void kill_apply_at(struct vm_env *env, const char *type, const char *resource)
{
	auto_free char *events = xasprintf("%s/sets/%s/events.jsonl", env->dir, env->set);
	auto_free char *log = path_join(env->dir, "apply.log");
	uint64_t deadline = deadline_in(VM_TIMEOUT_MS);
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

		dup2(fd, 1);
		dup2(fd, 2);
		execl(run_fcvm_path(), "fcvm", "--data-dir", env->dir, "apply", env->spec,
		      (char *)NULL);
		_exit(127);
	}
	for (bool found = false; !found;) {
		auto_buf struct buf text = BUF_INIT(16u << 20);
		char *save = NULL;

		cr_assert_gt(deadline_left(deadline), 0, "no %s of %s", type, resource);
		cr_assert_eq(waitpid(pid, NULL, WNOHANG), 0, "apply ended before %s of %s", type,
			     resource);
		if (file_read(events, 16u << 20, &text, NULL) < 0 || text.len == 0) {
			(void)poll(NULL, 0, 5);
			continue;
		}
		for (char *line = strtok_r(text.data, "\n", &save); line && !found;
		     line = strtok_r(NULL, "\n", &save)) {
			auto_json struct json_object *o = NULL;

			if (json_parse(line, strlen(line), &o, NULL) == 0)
				found = strcmp(json_opt_str(o, "type", ""), type) == 0 &&
					strcmp(json_opt_str(o, "resource", ""), resource) == 0;
		}
		(void)poll(NULL, 0, 2);
	}
	cr_assert_eq(kill(pid, SIGKILL), 0);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

static void check_killed_apply(const char *type, const char *resource)
{
	struct vm_env env;

	vm_env_init(&env, "killed", NULL);
	kill_apply_at(&env, type, resource);
	vm_apply(&env, NULL, NULL);
	auto_json struct json_object *ps = vm_ps(&env);
	cr_assert_eq(vm_count(ps, "clone", "ready"), 3);
	cr_assert_eq(vm_count(ps, "clone", NULL), 3);
	auto_run struct run_result r = RUN_INIT;
	VM_RUN(&env, &r, 0, "apply", env.spec);
	cr_assert_str_eq(buf_str(&r.out), "no changes\n");
	vm_env_finish(&env);
}

Test(repair, apply_killed_while_the_baseline_boots)
{
	check_killed_apply("resource_start", "baseline/web");
}

Test(repair, apply_killed_while_the_snapshot_is_taken)
{
	check_killed_apply("resource_start", "snapshot/web-warm");
}

Test(repair, apply_killed_after_the_memory_server_is_ready)
{
	check_killed_apply("resource_done", "memserver/web-warm/0");
}

Test(repair, apply_killed_in_the_middle_of_a_clone)
{
	check_killed_apply("resource_start", "clone/web-1");
}

Test(repair, destroy_after_a_killed_apply_leaves_nothing)
{
	struct vm_env env;

	vm_env_init(&env, "undo", NULL);
	kill_apply_at(&env, "resource_start", "clone/web-1");
	vm_env_finish(&env);
}
