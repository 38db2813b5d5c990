#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"

#define KILL_DEADLINE_MS 30000

static int refuse(enum vmm_stage stage, struct err *err)
{
	switch (stage) {
	case VMM_GONE:
		return err_set(err, ERR_FAILED, -ESRCH, "the VM is not running");
	case VMM_RESTORED:
		return err_set(err, ERR_SPEC, -EOPNOTSUPP,
			       "a clone cannot be snapshotted in this version");
	case VMM_SAVED:
		return err_set(err, ERR_FAILED, -EALREADY, "the VM has been snapshotted for good");
	case VMM_BOOTED:
	default:
		return 0;
	}
}

int vmm_snapshot(struct vm *vm, enum vmm_stage stage, const struct vm_snapshot *to,
		 vmm_save_fn *save, uint64_t deadline_ms, struct err *err)
{
	auto_close int fd = -1;
	struct err local = {.code = 0};
	int r;

	err = err ? err : &local;
	r = refuse(stage, err);
	if (r < 0)
		return r;
	fd = open(to->state_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, "cannot make '%s'", to->state_path);
	r = save(vm, to, fd, deadline_ms, err);
	if (r < 0) {
		(void)unlink(to->state_path);
		return err_wrap(err, "cannot snapshot the VM");
	}
	return 0;
}

int vmm_reap(struct vm *vm, uint64_t grace_ms, struct err *err)
{
	if (grace_ms > 0 &&
	    proc_wait(vm->pidfd, deadline_in(grace_ms), &vm->exit_status, NULL) == 0)
		return 0;
	(void)proc_signal(vm->pidfd, SIGKILL);
	return proc_wait(vm->pidfd, deadline_in(KILL_DEADLINE_MS), &vm->exit_status, err);
}
