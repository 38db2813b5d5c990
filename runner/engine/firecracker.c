#include "firecracker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cleanup.h"
#include "fc_vmm.h"
#include "file.h"
#include "io.h"
#include "probe.h"
#include "vmm.h"

#define MACHINE "firecracker,acpi=on,pci=off"
#define STATE_MAX (64u << 20) /* Firecracker itself loads at most 10 MB */
#define ASK_DEADLINE_MS 1000
#define RESUME_DEADLINE_MS 10000

/* Without one, all but `sandbox: jailer` works. */
static void find_jailer(const struct host *host, const char *binary, struct engine_caps *caps)
{
	auto_free char *jailer = NULL;
	struct err why = {.code = 0};

	if (!host->is_root)
		(void)snprintf(caps->jailer_why, sizeof(caps->jailer_why), "it needs root");
	else if (fc_jailer_find(host, binary, &jailer, &why) < 0 ||
		 fc_jailer_check(host, jailer, caps->version, &why) < 0)
		(void)snprintf(caps->jailer_why, sizeof(caps->jailer_why), "%.160s", why.msg);
	else
		(void)snprintf(caps->jailer, sizeof(caps->jailer), "%s", jailer);
}

static int fc_probe(const struct host *host, struct engine_caps *ret, struct err *err)
{
	auto_free char *binary = NULL;
	struct engine_caps caps = {.accel = VM_ACCEL_KVM, .kvm_usable = true};
	struct probe_machine machine;
	struct probe_binary b;
	struct fc_version version;
	int r = fc_find(host, &binary, err);

	if (r == 0)
		r = probe_binary(host, binary, fc_ask, &b, err);
	if (r == 0)
		r = fc_read_version(b.version, &version, err);
	if (r == 0)
		r = fc_check_version(&version, err);
	if (r < 0)
		return r;
	if (strlen(binary) >= sizeof(caps.binary))
		return err_set(err, ERR_HOST, -ENAMETOOLONG, "the path '%s' is too long", binary);
	probe_machine(host, &machine);
	if (machine.kvm_error[0])
		return err_set(err, ERR_HOST, -ENODEV, "firecracker needs KVM: %s",
			       machine.kvm_error);
	probe_kvm_speed(&machine, caps.why, sizeof(caps.why));
	caps.kvm_minsn_s = machine.kvm_minsn_s;
	caps.tsc_khz = machine.tsc_khz;
	(void)snprintf(caps.binary, sizeof(caps.binary), "%s", binary);
	(void)snprintf(caps.version, sizeof(caps.version), "%s", b.version);
	(void)snprintf(caps.sha256, sizeof(caps.sha256), "%s", b.sha256);
	(void)snprintf(caps.snapshot_format, sizeof(caps.snapshot_format), "%s", b.format);
	(void)snprintf(caps.cpu_model, sizeof(caps.cpu_model), "host");
	(void)snprintf(caps.machine, sizeof(caps.machine), "%s", MACHINE);
	find_jailer(host, binary, &caps);
	*ret = caps;
	return 0;
}

/* Leaves nothing of a VMM that did not get where it should, but the reason. */
static int give_up(struct vm *vm, const char *what, struct err *err)
{
	int r = fc_vmm_explain(vm, err);

	(void)err_wrap(err, "%s", what);
	(void)fc_vmm_end(vm, 0, NULL);
	return r;
}

static int put_nic(struct fc_api *api, const struct vm *vm, uint64_t deadline_ms, struct err *err)
{
	int r = fc_api_put_nic(api, deadline_ms, err);

	/* The service's own settings are part of a snapshot, what it says is not. */
	if (r == 0)
		r = fc_api_put_mmds_config(api, deadline_ms, err);
	if (r == 0 && vm->metadata)
		r = fc_api_put_mmds(api, vm->metadata, deadline_ms, err);
	return r;
}

static int configure(struct vm *vm, const struct vm_config *c, uint64_t deadline_ms,
		     struct err *err)
{
	struct fc_api *api = ((struct fc_vmm *)vm->engine)->api;
	int r = fc_api_put_machine(api, c, deadline_ms, err);

	if (r == 0)
		r = fc_api_put_boot_source(api, c, deadline_ms, err);
	for (size_t i = 0; r == 0 && i < c->n_disks; i++)
		r = fc_api_put_drive(api, c, i, deadline_ms, err);
	if (r == 0)
		r = fc_api_put_vsock(api, deadline_ms, err);
	if (r == 0)
		r = fc_api_put_entropy(api, deadline_ms, err);
	if (r == 0 && c->has_net)
		r = put_nic(api, vm, deadline_ms, err);
	return r < 0 ? r : fc_api_put_action(api, "InstanceStart", deadline_ms, err);
}

static int fc_start(struct vm *vm, const struct vm_config *config, uint64_t deadline_ms,
		    struct err *err)
{
	struct err local = {.code = 0};
	int r;

	err = err ? err : &local;
	r = fc_vmm_launch(vm, config, NULL, deadline_ms, err);
	if (r < 0)
		return err_wrap(err, "cannot start the VM");
	r = configure(vm, config, deadline_ms, err);
	return r < 0 ? give_up(vm, "cannot start the VM", err) : 0;
}

/* --- snapshot ------------------------------------------------------------------------------- */

static void forget(const struct vm *vm, const char *name)
{
	auto_free char *path = path_join(vm->vm_dir, name);

	(void)unlink(path);
}

/* The VMM wrote it where it may write; what stands there now need not be that file. */
static int open_state(const struct vm *vm, int *ret, struct err *err)
{
	auto_free char *path = path_join(vm->vm_dir, FC_STATE);
	auto_close int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return err_sys(err, "cannot open '%s'", path);
	if (fstat(fd, &st) < 0)
		return err_sys(err, "cannot stat '%s'", path);
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_uid != vm->uid)
		return err_set(err, ERR_GUEST, -EPERM, "'%s' is not the file firecracker wrote",
			       path);
	if (st.st_size > STATE_MAX)
		return err_set(err, ERR_GUEST, -EFBIG, "'%s' has %lld bytes, expected at most %u",
			       path, (long long)st.st_size, STATE_MAX);
	*ret = TAKE_FD(fd);
	return 0;
}

static int keep_state(const struct vm *vm, int to, struct err *err)
{
	auto_close int from = -1;
	char chunk[16384];
	size_t sum = 0;
	ssize_t n = 0;
	int r = open_state(vm, &from, err);

	while (r == 0 && sum < STATE_MAX && (n = read(from, chunk, sizeof(chunk))) > 0) {
		r = file_write_fd(to, chunk, (size_t)n, err);
		sum += (size_t)n;
	}
	if (r < 0)
		return r;
	if (n < 0)
		return err_sys(err, "cannot read the VM's state");
	if (fdatasync(to) < 0)
		return err_sys(err, "cannot write the VM's state");
	return 0;
}

static int save(struct vm *vm, const struct vm_snapshot *to, int fd, uint64_t deadline_ms,
		struct err *err)
{
	struct fc_api *api = ((struct fc_vmm *)vm->engine)->api;
	/* One that has the right size would be written over, holes and all. */
	forget(vm, VM_MEMORY);
	forget(vm, FC_STATE);
	int r = fc_api_put_snapshot_create(api, deadline_ms, err);

	if (r == 0)
		r = keep_state(vm, fd, err);
	if (r == 0 && to->between)
		r = to->between(to->data, err);
	return r;
}

static int save_and_go_on(struct vm *vm, const struct vm_snapshot *to, int fd, uint64_t deadline_ms,
			  struct err *err)
{
	struct fc_vmm *v = vm->engine;
	int go = 0;

	/* Asked without time left it would pause, and nobody would hear of it. */
	if (deadline_left(deadline_ms) == 0)
		return err_set(err, ERR_TIMEOUT, -ETIMEDOUT, "no time was left to pause the VM");
	int r = fc_api_patch_vm(v->api, "Paused", deadline_ms, err);
	if (r == -ETIMEDOUT)
		(void)fc_api_patch_vm(v->api, "Resumed", deadline_in(RESUME_DEADLINE_MS), NULL);
	if (r < 0)
		return fc_vmm_explain(vm, err);
	r = save(vm, to, fd, deadline_ms, err);
	if (r == 0 && !to->resume) {
		v->paused = true;
		return 0;
	}
	/* Also when the deadline has passed: the guest must not stay paused for that. */
	go = fc_api_patch_vm(v->api, "Resumed", deadline_in(RESUME_DEADLINE_MS),
			     r < 0 ? NULL : err);
	forget(vm, FC_STATE);
	if (r < 0)
		forget(vm, VM_MEMORY);
	return r < 0 || go < 0 ? fc_vmm_explain(vm, err) : 0;
}

static enum vmm_stage stage_of(const struct fc_vmm *v)
{
	if (!v)
		return VMM_GONE;
	if (v->restored)
		return VMM_RESTORED;
	return v->paused ? VMM_SAVED : VMM_BOOTED;
}

static int fc_snapshot(struct vm *vm, const struct vm_snapshot *to, uint64_t deadline_ms,
		       struct err *err)
{
	return vmm_snapshot(vm, stage_of(vm->engine), to, save_and_go_on, deadline_ms, err);
}

/* --- restore -------------------------------------------------------------------------------- */

static bool sets_clock(const struct fc_version *version)
{
	struct utsname u;

	return fc_has(version, FC_CLOCK_REALTIME) && uname(&u) == 0 &&
	       fc_kernel_sets_clock(u.release);
}

/* Loaded is not running. */
static int check_running(struct fc_api *api, uint64_t deadline_ms, struct err *err)
{
	char state[32];
	int r = fc_api_get_state(api, state, sizeof(state), deadline_ms, err);

	if (r == 0 && strcmp(state, "Running") != 0)
		return err_set(err, ERR_FAILED, -EIO,
			       "the state is loaded, but no vCPU runs: firecracker is '%s'", state);
	return r;
}

static int load(struct vm *vm, const struct vm_restore *from, uint64_t deadline_ms, struct err *err)
{
	struct fc_vmm *v = vm->engine;
	bool has_net = from->config->has_net;
	const struct fc_load l = {
		.state_path = from->state_path,
		.memory_path = from->backend == MEMORY_FILE ? from->memory_path : NULL,
		.network_overrides = has_net && fc_has(&v->version, FC_NETWORK_OVERRIDES),
		.vsock_override = fc_has(&v->version, FC_VSOCK_OVERRIDE),
		.clock_realtime = sets_clock(&v->version),
	};
	int r = 0;

	/* What clones may know of themselves is there at their first instruction. */
	if (has_net && vm->metadata)
		r = fc_api_put_mmds(v->api, vm->metadata, deadline_ms, err);
	if (r == 0)
		r = fc_api_put_snapshot_load(v->api, &l, deadline_ms, err);
	return r < 0 ? r : check_running(v->api, deadline_ms, err);
}

static int fc_restore(struct vm *vm, const struct vm_restore *from, uint64_t deadline_ms,
		      struct err *err)
{
	struct err local = {.code = 0};
	int r;

	err = err ? err : &local;
	r = fc_vmm_launch(vm, from->config, from, deadline_ms, err);
	if (r < 0)
		return err_wrap(err, "cannot restore the VM");
	r = load(vm, from, deadline_ms, err);
	return r < 0 ? give_up(vm, "cannot restore the VM", err) : 0;
}

static int fc_stop(struct vm *vm, uint64_t grace_ms, struct err *err)
{
	struct fc_vmm *v = vm->engine;

	if (!v)
		return 0;
	if (v->paused)
		grace_ms = 0;
	if (grace_ms > 0)
		(void)fc_api_put_action(v->api, "SendCtrlAltDel", deadline_in(ASK_DEADLINE_MS),
					NULL);
	return fc_vmm_end(vm, grace_ms, err);
}

const struct engine_ops firecracker_ops = {
	.name = "firecracker",
	.can = ENGINE_SNAPSHOT | ENGINE_UFFD | ENGINE_OWN_TAP | ENGINE_HUGE_PAGES,
	.probe = fc_probe,
	.start = fc_start,
	.snapshot = fc_snapshot,
	.restore = fc_restore,
	.stop = fc_stop,
};
