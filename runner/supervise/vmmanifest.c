#include "vmmanifest.h"

#include "cleanup.h"
#include "digest.h"
#include "file.h"
#include "io.h"
#include "proto.h"
#include "volume_json.h"
#include "workload_json.h"

#include <errno.h>
#include <sys/stat.h>

#define TSC_TOLERANCE 1000u /* one part in: 0.1 % */

static const char *accel_name(enum vm_accel accel)
{
	return accel == VM_ACCEL_KVM ? "kvm" : "tcg";
}

static const struct vm_disk *root_disk(const struct vm_config *c)
{
	for (size_t i = 0; i < c->n_disks; i++)
		if (strcmp(c->disks[i].serial, "root") == 0)
			return &c->disks[i];
	return NULL;
}

int vmmanifest_digest(const struct vm_config *config, struct vmmanifest_digests *ret,
		      struct err *err)
{
	const struct vm_disk *root = root_disk(config);
	struct vmmanifest_digests d = {0};
	int r = digest_file(config->kernel, d.kernel, err);

	if (r >= 0)
		r = digest_file(config->initrd, d.initrd, err);
	if (r >= 0 && root)
		r = digest_file(root->path, d.rootfs, err);
	if (r >= 0)
		*ret = d;
	return r;
}

static struct json_object *named_digest(const char *path, const char *sha256)
{
	struct json_object *o = json_object_new_object();

	json_add_str(o, "path", path);
	json_add_str(o, "sha256", sha256);
	return o;
}

static int add_disks(struct json_object *o, const struct vmmanifest_facts *f, struct err *err)
{
	struct json_object *arr = json_object_new_array();

	json_add(o, "disks", arr);
	for (size_t i = 0; i < f->config->n_disks; i++) {
		const struct vm_disk *disk = &f->config->disks[i];
		auto_free char *own = path_join(f->dir, disk->path);
		struct json_object *d = json_object_new_object();
		struct stat st = {0};

		json_object_array_add(arr, d);
		if (stat(disk->read_only ? disk->path : own, &st) < 0)
			return err_sys(err, "cannot stat disk '%s'", disk->path);
		json_add_str(d, "serial", disk->serial);
		json_add_bool(d, "read_only", disk->read_only);
		json_add_str(d, "path", disk->path);
		json_add_u64(d, "size", (uint64_t)st.st_size);
	}
	return 0;
}

static void add_machine(struct json_object *o, const struct vmmanifest_facts *f)
{
	json_add_str(o, "engine", f->engine);
	json_add_str(o, "engine_version", f->caps->version);
	json_add_str(o, "engine_sha256", f->caps->sha256);
	json_add_str(o, "snapshot_format", f->caps->snapshot_format);
	json_add_str(o, "accel", accel_name(f->config->accel));
	json_add_u64(o, "cpus", f->config->cpus);
	json_add_u64(o, "memory_bytes", f->config->memory_bytes);
	json_add_u64(o, "memory_page_size",
		     f->config->huge_pages ? VM_HUGE_PAGE : f->host->page_size);
	json_add_bool(o, "nic", f->config->has_net);
	json_add_str(o, "machine", f->caps->machine);
	json_add_str(o, "guest_cpu", f->caps->cpu_model);
	json_add_str(o, "cpu_model", f->host->cpu_model);
	json_add_str(o, "cpu_flags", f->host->cpu_flags);
	json_add_u64(o, "tsc_khz", f->caps->tsc_khz);
	json_add_u64(o, "page_size", f->host->page_size);
	json_add_str(o, "host_kernel", f->host->kernel);
	json_add_u64(o, "agent_protocol", AGENT_PROTO_VERSION);
}

int vmmanifest_make(const struct vmmanifest_facts *f, const struct vmmanifest_digests *d,
		    struct json_object **ret, struct err *err)
{
	auto_json struct json_object *o = json_object_new_object();
	const struct vm_disk *root = root_disk(f->config);
	char at[IO_TIME_SIZE];
	int r = 0;

	io_time_rfc3339(f->created_at, at);
	json_add_u64(o, "version", VMMANIFEST_VERSION);
	json_add_str(o, "fcvm", FCVM_VERSION);
	json_add_str(o, "created_at", at);
	add_machine(o, f);
	json_add(o, "kernel", named_digest(f->config->kernel, d->kernel));
	json_add(o, "initrd", named_digest(f->config->initrd, d->initrd));
	json_add(o, "rootfs", root ? named_digest(root->path, d->rootfs) : NULL);
	r = add_disks(o, f, err);
	if (r < 0)
		return r;
	json_add_u64(o, "pause_ms", f->pause_ms);
	json_add(o, "config", vm_config_to_json(f->config));
	json_add(o, "workload", workload_to_json(f->workload));
	json_add(o, "volumes", volumes_to_json(f->volumes));
	*ret = TAKE_PTR(o);
	return 0;
}

void vmmanifest_free(struct vmmanifest *m)
{
	vm_config_free(&m->config);
	workload_free(&m->workload);
	volume_list_free(&m->volumes);
}

int vmmanifest_read(struct json_object *o, struct vmmanifest *ret, struct err *err)
{
	struct vmmanifest m = {0};
	struct json_object *config = NULL, *workload = json_opt_obj(o, "workload"), *volumes = NULL;
	uint64_t version = 0;
	int r = json_get_u64(o, "version", &version, err);

	if (r >= 0 && version != VMMANIFEST_VERSION)
		r = err_set(err, ERR_HOST, -EPROTONOSUPPORT,
			    "its manifest has version %llu, this fcvm reads version %d: take the "
			    "snapshot again",
			    (unsigned long long)version, VMMANIFEST_VERSION);
	if (r >= 0)
		r = json_get_obj(o, "config", &config, err);
	if (r >= 0)
		r = vm_config_from_json(config, &m.config, err);
	if (r >= 0 && workload) {
		r = workload_from_json(workload, &m.workload, err);
		m.has_workload = r >= 0;
	}
	if (r >= 0 && json_object_object_get_ex(o, "volumes", &volumes))
		r = volumes_from_json(volumes, &m.volumes, err);
	if (r < 0) {
		vmmanifest_free(&m);
		return r;
	}
	*ret = m;
	return 0;
}

static int same_text(struct json_object *o, const char *key, const char *what, const char *here,
		     struct err *err)
{
	const char *there = json_opt_str(o, key, "?");

	if (strcmp(there, here) == 0)
		return 0;
	return err_set(err, ERR_HOST, -EXDEV,
		       "it was taken with %s '%s', here it is '%s': take the snapshot again", what,
		       there, here);
}

static int same_tsc(struct json_object *o, uint64_t here, struct err *err)
{
	uint64_t there = json_opt_u64(o, "tsc_khz", 0);
	uint64_t apart = there > here ? there - here : here - there;

	if (apart <= there / TSC_TOLERANCE)
		return 0;
	return err_set(
		err, ERR_HOST, -EXDEV,
		"it was taken with a TSC of %llu kHz, here it is %llu kHz: take the snapshot "
		"again",
		(unsigned long long)there, (unsigned long long)here);
}

static int same_number(struct json_object *o, const char *key, const char *what, uint64_t here,
		       struct err *err)
{
	uint64_t there = json_opt_u64(o, key, 0);

	if (there == here)
		return 0;
	return err_set(err, ERR_HOST, -EXDEV,
		       "it was taken with %s %llu, here it is %llu: take the snapshot again", what,
		       (unsigned long long)there, (unsigned long long)here);
}

/* Hardware's state is in a snapshot of a VM that ran on it, as this kernel's KVM has it; a guest
 * that was translated knows nothing of either. */
static int same_hardware(struct json_object *o, const struct engine_caps *caps,
			 const struct hostfacts *host, struct err *err)
{
	int r = same_text(o, "cpu_model", "CPU", host->cpu_model, err);

	if (r < 0 || caps->accel != VM_ACCEL_KVM)
		return r;
	if (strcmp(json_opt_str(o, "cpu_flags", "?"), host->cpu_flags) != 0)
		return err_set(err, ERR_HOST, -EXDEV,
			       "the CPU's flags are not those it was taken with: take the snapshot "
			       "again");
	return same_text(o, "host_kernel", "host kernel", host->kernel, err);
}

int vmmanifest_check_host(struct json_object *o, const char *engine, const struct engine_caps *caps,
			  const struct hostfacts *host, struct err *err)
{
	int r = same_text(o, "engine", "engine", engine, err);

	if (r >= 0)
		r = same_text(o, "engine_sha256", "the engine binary", caps->sha256, err);
	if (r >= 0)
		r = same_text(o, "snapshot_format", "snapshot format", caps->snapshot_format, err);
	if (r >= 0)
		r = same_text(o, "accel", "accelerator", accel_name(caps->accel), err);
	if (r >= 0)
		r = same_text(o, "machine", "machine", caps->machine, err);
	if (r >= 0)
		r = same_text(o, "guest_cpu", "guest CPU", caps->cpu_model, err);
	if (r >= 0)
		r = same_hardware(o, caps, host, err);
	if (r >= 0)
		r = same_tsc(o, caps->tsc_khz, err);
	if (r >= 0)
		r = same_number(o, "page_size", "page size", host->page_size, err);
	if (r >= 0)
		r = same_number(o, "agent_protocol", "agent protocol", AGENT_PROTO_VERSION, err);
	return r;
}
