#include "vmm.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "run.h"

static int save_fails(struct vm *vm, const struct vm_snapshot *to, int fd, uint64_t deadline_ms,
		      struct err *err)
{
	(void)vm;
	(void)to;
	(void)deadline_ms;
	cr_assert_eq(write(fd, "half", 4), 4);
	return err_set(err, ERR_FAILED, -EIO, "scripted");
}

static int save_works(struct vm *vm, const struct vm_snapshot *to, int fd, uint64_t deadline_ms,
		      struct err *err)
{
	(void)vm;
	(void)to;
	(void)err;
	cr_expect_eq(deadline_ms, 42);
	cr_assert_eq(write(fd, "whole", 5), 5);
	return 0;
}

Test(vmm, only_a_vm_that_was_booted_and_runs_has_a_snapshot)
{
	static const struct {
		enum vmm_stage stage;
		int code;
		const char *says;
	} cases[] = {
		{VMM_GONE, -ESRCH, "the VM is not running"},
		{VMM_RESTORED, -EOPNOTSUPP, "a clone cannot be snapshotted in this version"},
		{VMM_SAVED, -EALREADY, "the VM has been snapshotted for good"},
	};
	auto_tmpdir char *dir = tmpdir_new("vmm");
	auto_free char *path = path_join(dir, "vmstate");
	const struct vm_snapshot to = {.state_path = path};
	struct vm vm = {.pid = 0};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {0};

		cr_expect_eq(vmm_snapshot(&vm, cases[i].stage, &to, save_works, 42, &err),
			     cases[i].code);
		cr_expect_str_eq(err.msg, cases[i].says);
		cr_expect_not(file_exists(path));
	}
}

Test(vmm, a_snapshot_that_fails_leaves_no_state_and_one_that_works_is_ours_alone)
{
	auto_tmpdir char *dir = tmpdir_new("vmm");
	auto_free char *path = path_join(dir, "vmstate");
	const struct vm_snapshot to = {.state_path = path};
	auto_buf struct buf text = BUF_INIT(64);
	struct vm vm = {.pid = 0};
	struct err err = {0};
	struct stat st;

	cr_expect_eq(vmm_snapshot(&vm, VMM_BOOTED, &to, save_fails, 42, &err), -EIO);
	cr_expect_str_eq(err.msg, "cannot snapshot the VM: scripted");
	cr_expect_not(file_exists(path));
	cr_expect_eq(vmm_snapshot(&vm, VMM_BOOTED, &to, save_fails, 42, NULL), -EIO);
	cr_assert_eq(vmm_snapshot(&vm, VMM_BOOTED, &to, save_works, 42, &err), 0);
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0600);
	/* What is there already stays. */
	cr_expect_eq(vmm_snapshot(&vm, VMM_BOOTED, &to, save_fails, 42, &err), -EEXIST);
	cr_assert_eq(file_read(path, 64, &text, NULL), 0);
	cr_expect_str_eq(buf_str(&text), "whole");
}

static struct vm started(const char *const *argv)
{
	const struct proc_spec spec = {.argv = argv, .in = -1, .out = -1, .err = -1};
	struct vm vm = {.pidfd = -1};
	struct err err = {0};

	cr_assert_eq(proc_spawn(&spec, &vm.pidfd, &vm.pid, &err), 0, "%s", err.msg);
	return vm;
}

Test(vmm, who_ends_in_time_says_its_status_and_who_does_not_is_killed)
{
	struct vm quick = started((const char *const[]){"sh", "-c", "exit 7", NULL});
	struct vm slow = started((const char *const[]){"sleep", "600", NULL});
	struct err err = {0};

	cr_expect_eq(vmm_reap(&quick, 60000, &err), 0, "%s", err.msg);
	cr_expect_eq(quick.exit_status, 7);
	cr_expect_eq(vmm_reap(&slow, 0, &err), 0, "%s", err.msg);
	cr_expect_eq(slow.exit_status, 128 + SIGKILL);
	(void)close(quick.pidfd);
	(void)close(slow.pidfd);
}
