#include "fc_json.h"

#include <errno.h>

#include "buf.h"
#include "cleanup.h"
#include "json.h"
#include "xalloc.h"

#define CMDLINE_MAX 16384
#define MIB (UINT64_C(1) << 20)

int fc_json_check(const struct vm_config *c, struct err *err)
{
	if (c->cpus > FC_CPUS_MAX)
		return err_set(err, ERR_SPEC, -EOPNOTSUPP,
			       "firecracker gives a VM at most %d CPUs, wanted are %u", FC_CPUS_MAX,
			       c->cpus);
	if (c->memory_bytes % MIB != 0)
		return err_set(err, ERR_SPEC, -EOPNOTSUPP,
			       "firecracker gives a VM whole MiB of memory, wanted are %llu bytes",
			       (unsigned long long)c->memory_bytes);
	if (c->huge_pages && c->memory_bytes % VM_HUGE_PAGE != 0)
		return err_set(err, ERR_SPEC, -EOPNOTSUPP,
			       "huge pages are of 2 MiB, wanted are %llu bytes of memory",
			       (unsigned long long)c->memory_bytes);
	if (c->accel != VM_ACCEL_KVM)
		return err_set(err, ERR_SPEC, -EOPNOTSUPP, "firecracker runs VMs on KVM only");
	return 0;
}

/* The text of o, which is put. */
static char *text_of(struct json_object *o)
{
	auto_json struct json_object *owned = o;

	return json_line(owned);
}

char *fc_json_machine(const struct vm_config *c)
{
	struct json_object *o = json_object_new_object();

	json_add_u64(o, "vcpu_count", c->cpus);
	json_add_u64(o, "mem_size_mib", c->memory_bytes / MIB);
	if (c->huge_pages)
		json_add_str(o, "huge_pages", "2M");
	return text_of(o);
}

/* Firecracker's disks have serials of their own making: the guest is told ours, in their order. */
static void add_serials(const struct vm_config *c, struct buf *out)
{
	for (size_t i = 0; i < c->n_disks; i++)
		buf_addf(out, "%s%s", i == 0 ? " fcvm.disks=" : ",", c->disks[i].serial);
}

char *fc_json_boot(const struct vm_config *c)
{
	struct json_object *o = json_object_new_object();
	auto_buf struct buf cmdline = BUF_INIT(CMDLINE_MAX);

	/* Its own default would forbid modules. reboot=k: a reboot is what ends Firecracker. */
	buf_add_str(&cmdline, "console=ttyS0 reboot=k panic=1 quiet loglevel=3 mitigations=off "
			      "audit=0 apparmor=0 nokaslr 8250.nr_uarts=1 i8042.noaux i8042.nomux "
			      "i8042.dumbkbd random.trust_cpu=on clocksource=kvm-clock");
	buf_addf(&cmdline, " fcvm.channel=vsock fcvm.fstype=%s", c->root_fstype);
	add_serials(c, &cmdline);
	if (*c->cmdline_extra)
		buf_addf(&cmdline, " %s", c->cmdline_extra);
	json_add_str(o, "kernel_image_path", c->kernel);
	if (*c->initrd)
		json_add_str(o, "initrd_path", c->initrd);
	json_add_str(o, "boot_args", buf_str(&cmdline));
	return text_of(o);
}

char *fc_json_drive(const struct vm_config *c, size_t i)
{
	const struct vm_disk *d = &c->disks[i];
	struct json_object *o = json_object_new_object();
	auto_free char *id = xasprintf("d%zu", i);

	json_add_str(o, "drive_id", id);
	json_add_str(o, "path_on_host", d->path);
	json_add_bool(o, "is_root_device", false);
	json_add_bool(o, "is_read_only", d->read_only);
	/* Its default forgets what the guest wants flushed. */
	json_add_str(o, "cache_type", d->read_only ? "Unsafe" : "Writeback");
	return text_of(o);
}

char *fc_json_nic(void)
{
	struct json_object *o = json_object_new_object();

	json_add_str(o, "iface_id", FC_NIC);
	json_add_str(o, "host_dev_name", VM_TAP);
	json_add_str(o, "guest_mac", VM_GUEST_MAC);
	return text_of(o);
}

char *fc_json_vsock(void)
{
	struct json_object *o = json_object_new_object();

	json_add_u64(o, "guest_cid", FC_GUEST_CID);
	json_add_str(o, "uds_path", FC_VSOCK);
	return text_of(o);
}

char *fc_json_mmds_config(void)
{
	struct json_object *o = json_object_new_object();
	struct json_object *nics = json_object_new_array();

	(void)json_object_array_add(nics, json_object_new_string(FC_NIC));
	json_add_str(o, "version", "V2");
	json_add(o, "network_interfaces", nics);
	return text_of(o);
}

char *fc_json_action(const char *type)
{
	struct json_object *o = json_object_new_object();

	json_add_str(o, "action_type", type);
	return text_of(o);
}

char *fc_json_vm_state(const char *state)
{
	struct json_object *o = json_object_new_object();

	json_add_str(o, "state", state);
	return text_of(o);
}

char *fc_json_snapshot(void)
{
	struct json_object *o = json_object_new_object();

	json_add_str(o, "snapshot_type", "Full");
	json_add_str(o, "snapshot_path", FC_STATE);
	json_add_str(o, "mem_file_path", VM_MEMORY);
	return text_of(o);
}

static struct json_object *nic_override(void)
{
	struct json_object *nics = json_object_new_array();
	struct json_object *nic = json_object_new_object();

	json_add_str(nic, "iface_id", FC_NIC);
	json_add_str(nic, "host_dev_name", VM_TAP);
	(void)json_object_array_add(nics, nic);
	return nics;
}

/* Names are said, not left to what the state holds: it is a file, and what it names is opened. */
char *fc_json_load(const struct fc_load *l)
{
	struct json_object *o = json_object_new_object();
	struct json_object *memory = json_object_new_object();

	json_add_str(memory, "backend_type", l->memory_path ? "File" : "Uffd");
	json_add_str(memory, "backend_path", l->memory_path ? l->memory_path : FC_UFFD);
	json_add_str(o, "snapshot_path", l->state_path);
	json_add(o, "mem_backend", memory);
	json_add_bool(o, "resume_vm", true);
	if (l->network_overrides)
		json_add(o, "network_overrides", nic_override());
	if (l->vsock_override) {
		struct json_object *vsock = json_object_new_object();

		json_add_str(vsock, "uds_path", FC_VSOCK);
		json_add(o, "vsock_override", vsock);
	}
	if (l->clock_realtime)
		json_add_bool(o, "clock_realtime", true);
	return text_of(o);
}
