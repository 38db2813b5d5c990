#include "qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "probe.h"
#include "qemu_args.h"
#include "qemu_find.h"
#include "qemu_vmm.h"
#include "vmm.h"

#define POWERDOWN_DEADLINE_MS 1000
#define CANCEL_DEADLINE_MS 5000

static int qemu_probe(const struct host *host, struct engine_caps *ret, struct err *err)
{
	auto_free char *binary = NULL;
	struct engine_caps caps = {.accel = VM_ACCEL_TCG};
	struct probe_machine machine;
	struct probe_binary b;
	int r = qemu_find(host, &binary, err);

	if (r == 0)
		r = probe_binary(host, binary, qemu_ask, &b, err);
	if (r < 0)
		return r;
	if (strlen(binary) >= sizeof(caps.binary))
		return err_set(err, ERR_HOST, -ENAMETOOLONG, "the path '%s' is too long", binary);
	probe_machine(host, &machine);
	if (probe_prefers_kvm(&machine, caps.why, sizeof(caps.why)))
		caps.accel = VM_ACCEL_KVM;
	caps.kvm_usable = machine.kvm_error[0] == '\0';
	caps.kvm_minsn_s = machine.kvm_minsn_s;
	caps.tsc_khz = machine.tsc_khz;
	(void)snprintf(caps.binary, sizeof(caps.binary), "%s", binary);
	(void)snprintf(caps.version, sizeof(caps.version), "%s", b.version);
	(void)snprintf(caps.sha256, sizeof(caps.sha256), "%s", b.sha256);
	(void)snprintf(caps.cpu_model, sizeof(caps.cpu_model), "%s", qemu_args_cpu(caps.accel));
	(void)snprintf(caps.machine, sizeof(caps.machine), "%s", QEMU_MACHINE);
	*ret = caps;
	return 0;
}

/* The directory belongs to the VMM's uid: no name in it is followed, none is trusted. */
static int make_memory(const struct vm *vm, uint64_t bytes, struct err *err)
{
	auto_close int dir = open(vm->vm_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	auto_close int fd = -1;

	if (dir < 0)
		return err_sys(err, "cannot open '%s'", vm->vm_dir);
	if (unlinkat(dir, VM_MEMORY, 0) < 0 && errno != ENOENT)
		return err_sys(err, "cannot remove '%s/%s'", vm->vm_dir, VM_MEMORY);
	fd = openat(dir, VM_MEMORY, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, "cannot make '%s/%s'", vm->vm_dir, VM_MEMORY);
	if (ftruncate(fd, (off_t)bytes) < 0)
		return err_sys(err, "cannot size '%s/%s'", vm->vm_dir, VM_MEMORY);
	if (vm->host->is_root && fchown(fd, vm->uid, vm->gid) < 0)
		return err_sys(err, "cannot give '%s/%s' to uid %u", vm->vm_dir, VM_MEMORY,
			       vm->uid);
	return 0;
}

/* Leaves nothing of a VMM that did not get where it should, but the reason. */
static int give_up(struct vm *vm, const char *what, struct err *err)
{
	int r = qemu_vmm_explain(vm, err);

	(void)err_wrap(err, "%s", what);
	(void)qemu_vmm_end(vm, 0, NULL);
	return r;
}

static int is_running(struct qmp *q, bool *ret, uint64_t deadline_ms, struct err *err)
{
	const struct qmp_command cmd = {.name = "query-status"};
	auto_json struct json_object *status = NULL;
	int r = qmp_call(q, &cmd, deadline_ms, &status, err);

	if (r == 0)
		*ret = json_opt_bool(status, "running", false);
	return r;
}

static int begin(struct vm *vm, uint64_t deadline_ms, struct err *err)
{
	struct qmp *q = ((struct qemu_vmm *)vm->engine)->qmp;
	bool running = false;
	int r = qmp_greet(q, deadline_ms, err);

	if (r == 0)
		r = is_running(q, &running, deadline_ms, err);
	if (r == 0 && !running)
		r = err_set(err, ERR_FAILED, -EIO, "qemu is up but does not run the guest");
	return r < 0 ? r : qemu_vmm_watch(vm, err);
}

static int qemu_start(struct vm *vm, const struct vm_config *config, uint64_t deadline_ms,
		      struct err *err)
{
	const struct qemu_launch launch = {.config = config, .ready_fd = -1};
	struct err local = {.code = 0};
	int r;

	err = err ? err : &local;
	r = make_memory(vm, config->memory_bytes, err);
	if (r == 0)
		r = qemu_vmm_launch(vm, &launch, err);
	if (r < 0)
		return err_wrap(err, "cannot start the VM");
	r = begin(vm, deadline_ms, err);
	return r < 0 ? give_up(vm, "cannot start the VM", err) : 0;
}

/* RAM stays in its shared file; only devices and CPUs go into the stream. */
static int ignore_shared_ram(struct qmp *q, uint64_t deadline_ms, struct err *err)
{
	static const char *const wanted[] = {"x-ignore-shared", "events"};
	struct json_object *list = json_object_new_array();
	struct json_object *arguments = json_object_new_object();
	const struct qmp_command cmd = {.name = "migrate-set-capabilities", .arguments = arguments};

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		struct json_object *one = json_object_new_object();

		json_add_str(one, "capability", wanted[i]);
		json_add_bool(one, "state", true);
		(void)json_object_array_add(list, one);
	}
	json_add(arguments, "capabilities", list);
	return qmp_call(q, &cmd, deadline_ms, NULL, err);
}

/* The defaults are for networks: they would stretch the pause. */
static int lift_limits(struct qmp *q, uint64_t deadline_ms, struct err *err)
{
	struct json_object *arguments = json_object_new_object();
	const struct qmp_command cmd = {.name = "migrate-set-parameters", .arguments = arguments};

	json_add_u64(arguments, "max-bandwidth", 1000000000000);
	json_add_u64(arguments, "downtime-limit", 10000);
	return qmp_call(q, &cmd, deadline_ms, NULL, err);
}

static int migrate(struct qmp *q, const char *command, int fd, uint64_t deadline_ms,
		   struct err *err)
{
	struct json_object *arguments = json_object_new_object();
	const struct qmp_command cmd = {.name = command, .arguments = arguments};
	int r;

	json_add_str(arguments, "uri", "fd:state");
	r = qmp_give_fd(q, "state", fd, deadline_ms, err);
	if (r < 0) {
		json_put_p(&arguments);
		return r;
	}
	qmp_clear_events(q);
	return qmp_call(q, &cmd, deadline_ms, NULL, err);
}

static int await_saved(struct qmp *q, uint64_t deadline_ms, struct err *err)
{
	for (;;) {
		auto_json struct json_object *data = NULL;
		enum qmp_event event = QMP_STOP;
		int r = qmp_next_event(q, deadline_ms, &event, &data, err);
		const char *status = json_opt_str(data, "status", "");

		if (r < 0)
			return r;
		if (event == QMP_SHUTDOWN)
			return err_set(err, ERR_GUEST, -EIO, "the guest shut down meanwhile");
		if (event != QMP_MIGRATION)
			continue;
		if (strcmp(status, "completed") == 0)
			return 0;
		if (strcmp(status, "failed") == 0 || strcmp(status, "cancelled") == 0)
			return err_set(err, ERR_FAILED, -EIO, "qemu could not save the VM's state");
	}
}

static int save_state(struct qmp *q, int fd, uint64_t deadline_ms, struct err *err)
{
	int r = ignore_shared_ram(q, deadline_ms, err);

	if (r == 0)
		r = lift_limits(q, deadline_ms, err);
	/* Never `stop` first: the stream records the run state, and clones must wake running. */
	if (r == 0)
		r = migrate(q, "migrate", fd, deadline_ms, err);
	if (r < 0)
		return r;
	r = await_saved(q, deadline_ms, err);
	if (r < 0)
		(void)qmp_do(q, "migrate_cancel", deadline_in(CANCEL_DEADLINE_MS), NULL);
	return r;
}

static int go_on(struct qmp *q, uint64_t deadline_ms, struct err *err)
{
	bool running = false;
	int r = qmp_do(q, "cont", deadline_ms, err);

	if (r == 0)
		r = is_running(q, &running, deadline_ms, err);
	if (r == 0 && !running)
		r = err_set(err, ERR_FAILED, -EIO, "the VM did not go on after its snapshot");
	return r;
}

static int save_and_go_on(struct vm *vm, const struct vm_snapshot *to, int fd, uint64_t deadline_ms,
			  struct err *err)
{
	struct qemu_vmm *v = vm->engine;
	int r = save_state(v->qmp, fd, deadline_ms, err);
	int go = 0;

	if (r < 0)
		return qemu_vmm_explain(vm, err);
	r = to->between ? to->between(to->data, err) : 0;
	if (to->resume)
		go = go_on(v->qmp, deadline_ms, r < 0 ? NULL : err);
	else
		v->paused = true;
	if (r < 0)
		return r;
	if (go < 0)
		return qemu_vmm_explain(vm, err);
	if (fdatasync(fd) < 0)
		return err_sys(err, "cannot write '%s'", to->state_path);
	return 0;
}

static enum vmm_stage stage_of(const struct qemu_vmm *v)
{
	if (!v)
		return VMM_GONE;
	if (v->restored)
		return VMM_RESTORED;
	return v->paused ? VMM_SAVED : VMM_BOOTED;
}

static int qemu_snapshot(struct vm *vm, const struct vm_snapshot *to, uint64_t deadline_ms,
			 struct err *err)
{
	return vmm_snapshot(vm, stage_of(vm->engine), to, save_and_go_on, deadline_ms, err);
}

/* The shim writes 'R' (userfaultfd) or 'F' (private file) when it has replaced the mapping, which
 * happens before QEMU serves its first command; ld.so only warns when it cannot preload. */
static int check_shim(int ready_fd, enum memory_backend backend, struct err *err)
{
	const char want = backend == MEMORY_UFFD ? 'R' : 'F';
	char got = 0;

	if (io_wait(ready_fd, POLLIN, deadline_in(0)) == 1 && read(ready_fd, &got, 1) == 1 &&
	    got == want)
		return 0;
	return err_set(err, ERR_FAILED, -EPROTO, "the preload shim did not announce itself");
}

/* RESUME is the criterion: QEMU may call the migration completed and yet not run, for instance
 * when a disk is locked. */
static int await_resume(struct qmp *q, uint64_t deadline_ms, struct err *err)
{
	for (;;) {
		auto_json struct json_object *data = NULL;
		enum qmp_event event = QMP_STOP;
		bool running = false;
		int r = qmp_next_event(q, deadline_ms, &event, &data, err);
		const char *status = json_opt_str(data, "status", "");

		if (r < 0 || event == QMP_RESUME)
			return r;
		if (event == QMP_MIGRATION && strcmp(status, "failed") == 0)
			return err_set(err, ERR_FAILED, -EIO, "qemu could not load the VM's state");
		if (event != QMP_MIGRATION || strcmp(status, "completed") != 0)
			continue;
		r = is_running(q, &running, deadline_ms, err);
		if (r < 0 || running)
			return r;
		return err_set(err, ERR_FAILED, -EIO, "the state is loaded, but no vCPU runs");
	}
}

static int load_state(struct vm *vm, const struct vm_restore *from, int ready_fd,
		      uint64_t deadline_ms, struct err *err)
{
	struct qemu_vmm *v = vm->engine;
	auto_close int fd = open(from->state_path, O_RDONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return err_sys(err, "cannot open '%s'", from->state_path);
	r = qmp_greet(v->qmp, deadline_ms, err);
	if (r == 0)
		r = check_shim(ready_fd, from->backend, err);
	if (r == 0)
		r = ignore_shared_ram(v->qmp, deadline_ms, err);
	if (r == 0)
		r = migrate(v->qmp, "migrate-incoming", fd, deadline_ms, err);
	if (r == 0)
		r = await_resume(v->qmp, deadline_ms, err);
	return r < 0 ? r : qemu_vmm_watch(vm, err);
}

static int qemu_restore(struct vm *vm, const struct vm_restore *from, uint64_t deadline_ms,
			struct err *err)
{
	struct qemu_launch launch = {.config = from->config, .from = from};
	struct err local = {.code = 0};
	int fds[2];
	int r;

	err = err ? err : &local;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_sys(err, "cannot make a pipe");
	auto_close int ready = fds[0];
	auto_close int theirs = fds[1];
	launch.ready_fd = theirs;
	r = qemu_vmm_launch(vm, &launch, err);
	if (r < 0)
		return err_wrap(err, "cannot restore the VM");
	cleanup_close_p(&theirs);
	r = load_state(vm, from, ready, deadline_ms, err);
	return r < 0 ? give_up(vm, "cannot restore the VM", err) : 0;
}

static int qemu_stop(struct vm *vm, uint64_t grace_ms, struct err *err)
{
	struct qemu_vmm *v = vm->engine;

	if (!v)
		return 0;
	if (v->paused)
		grace_ms = 0;
	if (grace_ms > 0)
		(void)qmp_do(v->qmp, "system_powerdown", deadline_in(POWERDOWN_DEADLINE_MS), NULL);
	return qemu_vmm_end(vm, grace_ms, err);
}

const struct engine_ops qemu_ops = {
	.name = "qemu",
	.can = ENGINE_SNAPSHOT | ENGINE_UFFD | ENGINE_TCG | ENGINE_MEMORY_FILE,
	.probe = qemu_probe,
	.start = qemu_start,
	.snapshot = qemu_snapshot,
	.restore = qemu_restore,
	.stop = qemu_stop,
};
