#include "fc_json.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "cleanup.h"

static struct vm_config machine(void)
{
	static char kernel[] = "/cache/vmlinux", initrd[] = "/cache/initrd", extra[] = "a=b",
		    fstype[] = "squashfs", root[] = "/cache/root.img", data[] = VM_DATA_DISK;
	struct vm_config c = {.kernel = kernel,
			      .initrd = initrd,
			      .cmdline_extra = extra,
			      .root_fstype = fstype,
			      .cpus = 2,
			      .memory_bytes = 256u << 20,
			      .accel = VM_ACCEL_KVM,
			      .n_disks = 2};

	c.disks[0] = (struct vm_disk){.path = root, .serial = "root", .read_only = true};
	c.disks[1] = (struct vm_disk){.path = data, .serial = "data"};
	return c;
}

static void expect(char *got, const char *want)
{
	auto_free char *text = got;

	cr_expect_str_eq(text, want);
}

Test(fc_json, bodies_name_what_is_wanted_and_nothing_else)
{
	struct vm_config c = machine();

	expect(fc_json_machine(&c), "{\"vcpu_count\":2,\"mem_size_mib\":256}");
	c.huge_pages = true;
	expect(fc_json_machine(&c),
	       "{\"vcpu_count\":2,\"mem_size_mib\":256,\"huge_pages\":\"2M\"}");
	c.huge_pages = false;
	expect(fc_json_boot(&c),
	       "{\"kernel_image_path\":\"/cache/vmlinux\",\"initrd_path\":\"/cache/initrd\","
	       "\"boot_args\":\"console=ttyS0 reboot=k panic=1 quiet loglevel=3 mitigations=off "
	       "audit=0 apparmor=0 nokaslr 8250.nr_uarts=1 i8042.noaux i8042.nomux i8042.dumbkbd "
	       "random.trust_cpu=on clocksource=kvm-clock fcvm.channel=vsock fcvm.fstype=squashfs "
	       "fcvm.disks=root,data a=b\"}");
	expect(fc_json_drive(&c, 0),
	       "{\"drive_id\":\"d0\",\"path_on_host\":\"/cache/root.img\",\"is_root_device\":false,"
	       "\"is_read_only\":true,\"cache_type\":\"Unsafe\"}");
	expect(fc_json_drive(&c, 1),
	       "{\"drive_id\":\"d1\",\"path_on_host\":\"data.img\",\"is_root_device\":false,"
	       "\"is_read_only\":false,\"cache_type\":\"Writeback\"}");
	expect(fc_json_nic(), "{\"iface_id\":\"eth0\",\"host_dev_name\":\"tap0\",\"guest_mac\":"
			      "\"02:fc:00:00:00:64\"}");
	expect(fc_json_vsock(), "{\"guest_cid\":3,\"uds_path\":\"v.sock\"}");
	expect(fc_json_mmds_config(), "{\"version\":\"V2\",\"network_interfaces\":[\"eth0\"]}");
	expect(fc_json_action("InstanceStart"), "{\"action_type\":\"InstanceStart\"}");
	expect(fc_json_vm_state("Paused"), "{\"state\":\"Paused\"}");
	expect(fc_json_snapshot(), "{\"snapshot_type\":\"Full\",\"snapshot_path\":\"vmstate\","
				   "\"mem_file_path\":\"memory\"}");
}

Test(fc_json, a_load_has_the_fields_its_version_knows)
{
	struct fc_load old = {.state_path = "/s/vmstate", .memory_path = "/s/memory"};
	struct fc_load new = {.state_path = "/s/vmstate",
			      .network_overrides = true,
			      .vsock_override = true,
			      .clock_realtime = true};

	expect(fc_json_load(&old),
	       "{\"snapshot_path\":\"/s/vmstate\",\"mem_backend\":{\"backend_type\":\"File\","
	       "\"backend_path\":\"/s/memory\"},\"resume_vm\":true}");
	expect(fc_json_load(&new),
	       "{\"snapshot_path\":\"/s/vmstate\",\"mem_backend\":{\"backend_type\":\"Uffd\","
	       "\"backend_path\":\"uffd.sock\"},\"resume_vm\":true,\"network_overrides\":[{"
	       "\"iface_id\":\"eth0\",\"host_dev_name\":\"tap0\"}],\"vsock_override\":{"
	       "\"uds_path\":\"v.sock\"},\"clock_realtime\":true}");
}

Test(fc_json, what_firecracker_cannot_is_said_before_it_is_asked)
{
	struct vm_config c = machine();
	struct err err;

	cr_expect_eq(fc_json_check(&c, &err), 0);
	c.cpus = 33;
	cr_expect_eq(fc_json_check(&c, &err), -EOPNOTSUPP);
	cr_expect_str_eq(err.msg, "firecracker gives a VM at most 32 CPUs, wanted are 33");
	c = machine();
	c.memory_bytes++;
	cr_expect_eq(fc_json_check(&c, &err), -EOPNOTSUPP);
	cr_expect_str_eq(err.msg, "firecracker gives a VM whole MiB of memory, wanted are "
				  "268435457 bytes");
	c = machine();
	c.huge_pages = true;
	c.memory_bytes = 255u << 20;
	cr_expect_eq(fc_json_check(&c, &err), -EOPNOTSUPP);
	cr_expect_str_eq(err.msg, "huge pages are of 2 MiB, wanted are 267386880 bytes of memory");
	c = machine();
	c.accel = VM_ACCEL_TCG;
	cr_expect_eq(fc_json_check(&c, &err), -EOPNOTSUPP);
	cr_expect_str_eq(err.msg, "firecracker runs VMs on KVM only");
}
