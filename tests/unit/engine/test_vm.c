#include "vm.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "cleanup.h"
#include "xalloc.h"

static struct vm_config sample(void)
{
	struct vm_config c = {
		.kernel = xstrdup("/c/vmlinux"),
		.initrd = xstrdup("/c/initrd"),
		.cmdline_extra = xstrdup("a=1 b"),
		.root_fstype = xstrdup("erofs"),
		.cpus = 3,
		.memory_bytes = 512u << 20,
		.n_disks = 3,
		.has_net = true,
		.shared_dev = true,
		.jailer = true,
		.huge_pages = true,
		.accel = VM_ACCEL_KVM,
	};

	c.disks[0] = (struct vm_disk){xstrdup("/c/root"), "root", true, 0};
	c.disks[1] = (struct vm_disk){xstrdup(VM_DATA_DISK), "data", false, 0};
	c.disks[2] = (struct vm_disk){xstrdup("vol-tmp.img"), "vol-tmp", false, 64u << 20};
	return c;
}

Test(vm, a_configuration_survives_json)
{
	auto_vm_config struct vm_config c = sample();
	auto_vm_config struct vm_config back = {.n_disks = 0};
	auto_json struct json_object *o = vm_config_to_json(&c);
	struct err err;

	cr_assert_eq(vm_config_from_json(o, &back, &err), 0, "%s", err.msg);
	cr_expect_str_eq(back.kernel, c.kernel);
	cr_expect_str_eq(back.initrd, c.initrd);
	cr_expect_str_eq(back.cmdline_extra, c.cmdline_extra);
	cr_expect_str_eq(back.root_fstype, c.root_fstype);
	cr_expect_eq(back.cpus, c.cpus);
	cr_expect_eq(back.memory_bytes, c.memory_bytes);
	cr_expect_eq(back.has_net, c.has_net);
	cr_expect_eq(back.shared_dev, c.shared_dev);
	cr_expect_eq(back.jailer, c.jailer);
	cr_expect_eq(back.huge_pages, c.huge_pages);
	cr_expect_eq(back.accel, c.accel);
	cr_assert_eq(back.n_disks, c.n_disks);
	for (size_t i = 0; i < c.n_disks; i++) {
		cr_expect_str_eq(back.disks[i].path, c.disks[i].path);
		cr_expect_str_eq(back.disks[i].serial, c.disks[i].serial);
		cr_expect_eq(back.disks[i].read_only, c.disks[i].read_only);
		cr_expect_eq(back.disks[i].bytes, c.disks[i].bytes);
	}
}

#define HEAD "{\"kernel\":\"k\",\"initrd\":\"i\",\"cmdline_extra\":\"\",\"root_fstype\":\"ext4\","

Test(vm, what_is_wrong_in_a_record_is_named)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{HEAD
		 "\"cpus\":0,\"memory_bytes\":99999999,\"has_net\":true,\"accel\":\"tcg\",\"disks\":[]}",
		 "VM configuration: cpus: expected 1 to 255, got 0"},
		{HEAD
		 "\"cpus\":1,\"memory_bytes\":1,\"has_net\":true,\"accel\":\"tcg\",\"disks\":[]}",
		 "VM configuration: memory_bytes: expected 16777216 to 4398046511104, got 1"},
		{HEAD
		 "\"cpus\":1,\"memory_bytes\":99999999,\"has_net\":true,\"accel\":\"xen\",\"disks\":[]}",
		 "VM configuration: accel: expected kvm or tcg, got 'xen'"},
		{HEAD
		 "\"cpus\":1,\"memory_bytes\":99999999,\"has_net\":true,\"accel\":\"tcg\",\"disks\":"
		 "[{\"path\":\"p\",\"serial\":\"12345678901234567890\",\"read_only\":true}]}",
		 "VM configuration: disks[0]: serial: expected 1 to 19 characters, got "
		 "'12345678901234567890'"},
		{HEAD
		 "\"cpus\":1,\"memory_bytes\":99999999,\"has_net\":true,\"accel\":\"tcg\",\"disks\":"
		 "[{\"path\":\"../x\",\"serial\":\"data\",\"read_only\":false}]}",
		 "VM configuration: disks[0]: writable disk '../x': expected 'data.img'"},
		{HEAD
		 "\"cpus\":1,\"memory_bytes\":99999999,\"has_net\":true,\"accel\":\"tcg\",\"disks\":"
		 "[{\"path\":\"vol-a.img\",\"serial\":\"vol-b\",\"read_only\":false}]}",
		 "VM configuration: disks[0]: writable disk 'vol-a.img': expected 'data.img'"},
		{HEAD
		 "\"cpus\":1,\"memory_bytes\":99999999,\"has_net\":true,\"accel\":\"tcg\",\"disks\":"
		 "[{\"path\":\"vol-/../x.img\",\"serial\":\"vol-/../x\",\"read_only\":false}]}",
		 "VM configuration: disks[0]: writable disk 'vol-/../x.img': expected 'data.img'"},
		{HEAD
		 "\"cpus\":1,\"memory_bytes\":99999999,\"has_net\":true,\"accel\":\"tcg\",\"disks\":"
		 "[{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}]}",
		 "VM configuration: disks: expected at most 16, got 17"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vm_config c = {.cpus = 77};
		auto_json struct json_object *o = NULL;
		struct err err;

		cr_assert_eq(json_parse(cases[i].text, strlen(cases[i].text), &o, &err), 0, "%s",
			     err.msg);
		cr_expect_lt(vm_config_from_json(o, &c, &err), 0);
		cr_expect_str_eq(err.msg, cases[i].message);
		cr_expect_eq(c.cpus, 77, "outputs are untouched on failure");
	}
}

Test(vm, a_record_cut_short_anywhere_is_refused_without_a_leak)
{
	static const char *const keys[] = {"kernel",      "initrd", "cmdline_extra",
					   "root_fstype", "cpus",   "memory_bytes",
					   "has_net",     "accel",  "disks"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		auto_vm_config struct vm_config c = sample();
		auto_json struct json_object *o = vm_config_to_json(&c);
		struct vm_config back;
		struct err err;

		json_object_object_del(o, keys[i]);
		cr_expect_lt(vm_config_from_json(o, &back, &err), 0, "%s", keys[i]);
		cr_expect(strstr(err.msg, keys[i]), "%s", err.msg);
	}
}
