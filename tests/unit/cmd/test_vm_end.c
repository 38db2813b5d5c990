#include "vm_end.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "proc.h"
#include "run.h"

static pid_t start_process(void)
{
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0)
		for (;;)
			(void)pause();
	return pid;
}

static void end_process(pid_t pid)
{
	cr_assert_eq(kill(pid, SIGKILL), 0);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

/* ended NULL: it goes on. */
static void write_status(const char *dir, pid_t supervisor, const char *ended)
{
	auto_free char *path = path_join(dir, "status.json");
	auto_json struct json_object *status = json_object_new_object();
	struct json_object *who = json_object_new_object();
	struct proc_id id = {0};
	struct err err = {0};

	cr_assert_eq(proc_id_of(supervisor, &id, &err), 0, "%s", err.msg);
	json_add_u64(who, "pid", (uint64_t)id.pid);
	json_add_u64(who, "start_time", id.start_time);
	json_add_str(who, "boot_id", id.boot_id);
	json_add(status, "supervisor", who);
	json_add_str(status, "ended", ended);
	cr_assert_geq(json_save(path, status, &err), 0, "%s", err.msg);
}

static void write_garbage(const char *dir)
{
	auto_free char *path = path_join(dir, "status.json");

	cr_assert_eq(file_replace(path, "{", 1, 0600, NULL), 0);
}

static void remove_status(const char *dir)
{
	auto_free char *path = path_join(dir, "status.json");

	cr_assert_eq(unlink(path), 0);
}

/* What becomes of status.json, and whether the supervisor dies. */
enum text { AS_IT_IS, SAYS_EXITED, REMOVED, GARBAGE, OF_ANOTHER };

static void change(const char *dir, enum text text, pid_t supervisor)
{
	if (text == SAYS_EXITED)
		write_status(dir, supervisor, "exited");
	else if (text == REMOVED)
		remove_status(dir);
	else if (text == GARBAGE)
		write_garbage(dir);
	else if (text == OF_ANOTHER)
		write_status(dir, getpid(), NULL);
}

Test(vm_end, it_is_told_by_the_status_by_the_supervisors_end_or_not_at_all)
{
	static const struct {
		enum text text;
		bool dies;
		int result;
		const char *says;
	} cases[] = {
		{AS_IT_IS, false, 0, NULL},
		{REMOVED, false, 0, NULL},
		{GARBAGE, false, 0, NULL},
		{SAYS_EXITED, false, 1, "exited"},
		{SAYS_EXITED, true, 1, "exited"},
		{AS_IT_IS, true, 1, "crashed"},
		{REMOVED, true, -ENOENT, "the VM was removed"},
		{OF_ANOTHER, true, -ESRCH, "the VM was replaced by another"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_tmpdir char *dir = tmpdir_new("vm-end");
		auto_json struct json_object *status = NULL;
		auto_vm_end struct vm_end end = {.supervisor = -1};
		struct host host = {0};
		struct proc_id self = {0};
		struct err err = {0};
		pid_t pid = start_process();

		cr_assert_eq(proc_id_of(getpid(), &self, &err), 0);
		memcpy(host.boot_id, self.boot_id, sizeof(host.boot_id));
		write_status(dir, pid, NULL);
		vm_end_open(&host, dir, &end);
		cr_assert_geq(end.supervisor, 0, "case %zu", i);
		change(dir, cases[i].text, pid);
		if (cases[i].dies)
			end_process(pid);
		cr_expect_eq(vm_end_look(&end, &status, &err), cases[i].result, "case %zu", i);
		if (cases[i].result > 0)
			cr_expect_str_eq(json_opt_str(status, "ended", ""), cases[i].says);
		else if (cases[i].says)
			cr_expect_str_eq(err.msg, cases[i].says);
		if (!cases[i].dies)
			end_process(pid);
	}
}

Test(vm_end, a_status_that_cannot_be_read_fails_once_the_supervisor_is_gone)
{
	auto_tmpdir char *dir = tmpdir_new("vm-end");
	auto_json struct json_object *status = NULL;
	auto_vm_end struct vm_end end = {.supervisor = -1};
	struct host host = {0};
	struct err err = {0};

	write_garbage(dir);
	vm_end_open(&host, dir, &end);
	cr_expect_eq(end.supervisor, -1);
	cr_expect_eq(vm_end_look(&end, &status, &err), -EINVAL, "%s", err.msg);
	cr_expect_eq(strncmp(err.msg, "cannot tell how the VM ended: ", 30), 0, "%s", err.msg);
}
