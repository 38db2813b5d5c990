/* test_verbs.c - the imperative verbs on real guests: one container in one VM, snapshots by hand.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "vm_env.h"
#include "xalloc.h"

TestSuite(verbs, .fini = vm_env_cleanup);

/* The set imperative VMs live in, so that the world's clean-up and checks are about it. */
static char *imperative_world(struct vm_env *env, const char *what)
{
	char cwd[4096];

	vm_env_init(env, what, NULL);
	free(env->set);
	env->set = xstrdup("default");
	cr_assert_not_null(getcwd(cwd, sizeof(cwd)));
	return xasprintf("oci-archive:%s/%s/examples/hello.oci.tar", cwd, TEST_BUILD_DIR);
}

Test(verbs, podman_run_passes_the_containers_output_and_exit_code_through)
{
	struct vm_env env;
	auto_free char *image = imperative_world(&env, "run");
	auto_run struct run_result r = RUN_INIT;

	VM_RUN(&env, &r, 2, "podman", "run", "--rm", "--memory", "256MiB", image, "/hello", "no",
	       "such", "words");
	cr_assert_not_null(strstr(buf_str(&r.err), "usage: hello [get PATH|URL]\n"));
	cr_assert_str_eq(buf_str(&r.out), "");
	auto_json struct json_object *ps = vm_ps(&env);
	cr_assert_eq(json_object_array_length(ps), 0, "--rm left %s",
		     json_object_to_json_string(ps));
	vm_env_finish(&env);
}

static pid_t run_in_background(const struct vm_env *env, const char *image)
{
	auto_free char *log = xasprintf("%s/run.log", env->dir);
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid > 0)
		return pid;
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	execl(run_fcvm_path(), "fcvm", "--data-dir", env->dir, "podman", "run", "--name", "one",
	      "--memory", "256MiB", image, (char *)NULL);
	_exit(127);
}

static void await_running(struct vm_env *env, const char *name)
{
	uint64_t deadline = deadline_in(120000);

	for (;;) {
		auto_run struct run_result r = RUN_INIT;

		VM_RUN(env, &r, -1, "exec", name, "--", "/hello", "get", "/healthz");
		if (r.status == 0)
			return;
		cr_assert_gt(deadline_left(deadline), 0, "'%s' is not up: %s", name,
			     buf_str(&r.err));
		(void)poll(NULL, 0, 200);
	}
}

Test(verbs, a_running_vm_is_snapshotted_by_hand_and_cloned)
{
	struct vm_env env;
	auto_free char *image = imperative_world(&env, "byhand");
	pid_t pid = run_in_background(&env, image);
	int status = 0;

	await_running(&env, "default.one");
	auto_run struct run_result create = RUN_INIT;
	VM_RUN(&env, &create, 0, "snapshot", "create", "one", "--tag", "warm");
	auto_run struct run_result clone = RUN_INIT;
	VM_RUN(&env, &clone, 0, "snapshot", "run", "--snapshot", "warm", "--name", "two", "--exec",
	       "/hello get /");
	auto_json struct json_object *who = run_json(&clone);
	cr_assert_str_eq(json_opt_str(who, "hostname", ""), "two");
	auto_json struct json_object *source = vm_get(&env, "default.one", "/");
	cr_assert_str_neq(json_opt_str(who, "machine_id", ""),
			  json_opt_str(source, "machine_id", ""));

	auto_run struct run_result stop = RUN_INIT;
	VM_RUN(&env, &stop, 0, "stop", "one");
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "podman run ended with %x",
		  (unsigned int)status);
	auto_run struct run_result rm = RUN_INIT;
	VM_RUN(&env, &rm, 0, "rm", "one");
	auto_run struct run_result drop = RUN_INIT;
	VM_RUN(&env, &drop, 0, "snapshot", "rm", "warm");
	vm_env_finish(&env);
}
