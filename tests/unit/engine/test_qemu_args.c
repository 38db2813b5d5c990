#include "qemu_args.h"

#include <criterion/criterion.h>

#include "buf.h"

#define MACHINE                                                                               \
	"-nodefaults\n-no-user-config\n-no-reboot\n-display\nnone\n"                          \
	"-sandbox\non,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny\n" \
	"-M\nmicrovm,pit=on,pic=on,rtc=on,isa-serial=on,acpi=on,memory-backend=mem\n"
#define CHANNELS                                                            \
	"-chardev\nsocket,id=qmp,fd=3\n-mon\nchardev=qmp,mode=control\n"    \
	"-chardev\nstdio,id=console,signal=off\n-serial\nchardev:console\n" \
	"-device\nvirtio-serial-device\n-chardev\nsocket,id=channel,fd=4\n" \
	"-device\nvirtserialport,chardev=channel,name=fcvm.agent\n"
#define DISKS                                                                                        \
	"-drive\nid=d0,if=none,format=raw,file.driver=file,file.filename=/c/a,,b.sqfs,readonly=on\n" \
	"-device\nvirtio-blk-device,drive=d0,serial=root\n"                                          \
	"-drive\nid=d1,if=none,format=raw,file.driver=file,file.filename=data.img\n"                 \
	"-device\nvirtio-blk-device,drive=d1,serial=data\n"                                          \
	"-device\nvirtio-rng-device\n"
#define NET "-netdev\ntap,id=n0,fd=5\n-device\nvirtio-net-device,netdev=n0,mac=02:fc:00:00:00:64\n"
#define CMDLINE                                                                                \
	"console=ttyS0 reboot=t panic=-1 quiet loglevel=3 mitigations=off audit=0 apparmor=0 " \
	"nokaslr no_timer_check 8250.nr_uarts=1"

static void expect_argv(const struct qemu_args *a, const char *want)
{
	auto_strv struct strv argv = {0};
	auto_buf struct buf got = BUF_INIT(1 << 16);

	qemu_args_build(a, &argv);
	for (size_t i = 0; i < argv.n; i++)
		buf_addf(&got, "%s\n", argv.v[i]);
	cr_expect_str_eq(buf_str(&got), want);
}

static struct vm_config config(void)
{
	static char kernel[] = "/c/vmlinux", initrd[] = "/c/initrd", extra[] = "",
		    fs[] = "squashfs";
	static char root[] = "/c/a,b.sqfs", data[] = VM_DATA_DISK;

	return (struct vm_config){
		.kernel = kernel,
		.initrd = initrd,
		.cmdline_extra = extra,
		.root_fstype = fs,
		.cpus = 2,
		.memory_bytes = 256u << 20,
		.disks = {{root, "root", true, 0}, {data, "data", false, 0}},
		.n_disks = 2,
		.has_net = true,
		.accel = VM_ACCEL_TCG,
	};
}

Test(qemu_args, a_tcg_boot)
{
	struct vm_config c = config();
	struct qemu_args a = {.binary = "/usr/bin/qemu",
			      .config = &c,
			      .memory_path = VM_MEMORY,
			      .qmp_fd = 3,
			      .channel_fd = 4,
			      .tap_fd = 5,
			      .tsc_khz = 2596128};

	expect_argv(
		&a,
		"/usr/bin/qemu\n" MACHINE
		"-accel\ntcg,thread=multi\n-cpu\nNehalem,-spec-ctrl,+rdrand,+rdtscp\n"
		"-smp\n2\n-m\n262144K\n"
		"-object\nmemory-backend-file,id=mem,size=268435456,mem-path=memory,share=on\n" CHANNELS
			DISKS NET "-kernel\n/c/vmlinux\n-initrd\n/c/initrd\n"
		"-append\n" CMDLINE " tsc_early_khz=2596128 tsc=reliable fcvm.fstype=squashfs\n");
}

Test(qemu_args, a_kvm_boot_without_a_nic_leaves_the_tsc_to_kvmclock)
{
	struct vm_config c = config();
	char extra[] = "debug x=\"a b\"";
	struct qemu_args a = {.binary = "/usr/bin/qemu",
			      .config = &c,
			      .memory_path = VM_MEMORY,
			      .qmp_fd = 3,
			      .channel_fd = 4,
			      .tap_fd = -1,
			      .tsc_khz = 2596128};

	c.accel = VM_ACCEL_KVM;
	c.has_net = false;
	c.cmdline_extra = extra;
	expect_argv(
		&a,
		"/usr/bin/qemu\n" MACHINE "-accel\nkvm\n-cpu\nhost\n-smp\n2\n-m\n262144K\n"
		"-object\nmemory-backend-file,id=mem,size=268435456,mem-path=memory,share=on\n" CHANNELS
			DISKS "-kernel\n/c/vmlinux\n-initrd\n/c/initrd\n"
		"-append\n" CMDLINE " fcvm.fstype=squashfs debug x=\"a b\"\n");
}

Test(qemu_args, a_restore_has_the_same_machine_private_memory_and_no_kernel)
{
	struct vm_config c = config();
	struct qemu_args a = {.binary = "/usr/bin/qemu",
			      .config = &c,
			      .memory_path = "/data/snap,1/memory",
			      .incoming = true,
			      .qmp_fd = 3,
			      .channel_fd = 4,
			      .tap_fd = 5};

	expect_argv(&a, "/usr/bin/qemu\n" MACHINE
			"-accel\ntcg,thread=multi\n-cpu\nNehalem,-spec-ctrl,+rdrand,+rdtscp\n"
			"-smp\n2\n-m\n262144K\n"
			"-object\nmemory-backend-file,id=mem,size=268435456,"
			"mem-path=/data/snap,,1/memory,share=off\n" CHANNELS DISKS NET
			"-incoming\ndefer\n");
}
