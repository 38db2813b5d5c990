#include "qemu_args.h"

#include "buf.h"
#include "cleanup.h"

#define ARG_MAX_LEN 16384

/* Under TCG AVX runs in out-of-line helpers, and glibc and Go pick it when it is offered; rdrand
 * seeds the guest at once. */
static const struct {
	const char *accel, *cpu;
} accels[] = {
	[VM_ACCEL_KVM] = {"kvm", "host"},
	[VM_ACCEL_TCG] = {"tcg,thread=multi", "Nehalem,-spec-ctrl,+rdrand,+rdtscp"},
};

const char *qemu_args_cpu(enum vm_accel accel)
{
	return accels[accel].cpu;
}

__attribute__((format(printf, 3, 4))) static void add(struct strv *l, const char *name,
						      const char *fmt, ...)
{
	auto_buf struct buf value = BUF_INIT(ARG_MAX_LEN);
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&value, fmt, ap);
	va_end(ap);
	strv_add(l, name);
	strv_add_take(l, buf_detach(&value));
}

/* A comma inside an option's value is written twice. */
static char *escape(const char *value)
{
	auto_buf struct buf out = BUF_INIT(ARG_MAX_LEN);

	for (; *value; value++) {
		buf_add_char(&out, *value);
		if (*value == ',')
			buf_add_char(&out, ',');
	}
	return buf_detach(&out);
}

static void add_machine(const struct qemu_args *a, struct strv *l)
{
	const struct vm_config *c = a->config;
	auto_free char *memory = escape(a->memory_path);
	unsigned long long bytes = c->memory_bytes;

	strv_add(l, a->binary);
	strv_add(l, "-nodefaults");
	strv_add(l, "-no-user-config");
	strv_add(l, "-no-reboot");
	add(l, "-display", "none");
	add(l, "-sandbox",
	    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
	add(l, "-M", "%s", QEMU_MACHINE);
	add(l, "-accel", "%s", accels[c->accel].accel);
	add(l, "-cpu", "%s", accels[c->accel].cpu);
	add(l, "-smp", "%u", c->cpus);
	add(l, "-m", "%lluK", bytes / 1024);
	add(l, "-object", "memory-backend-file,id=mem,size=%llu,mem-path=%s,share=%s", bytes,
	    memory, a->incoming ? "off" : "on");
}

static void add_channels(const struct qemu_args *a, struct strv *l)
{
	add(l, "-chardev", "socket,id=qmp,fd=%d", a->qmp_fd);
	add(l, "-mon", "chardev=qmp,mode=control");
	add(l, "-chardev", "stdio,id=console,signal=off");
	add(l, "-serial", "chardev:console");
	add(l, "-device", "virtio-serial-device");
	add(l, "-chardev", "socket,id=channel,fd=%d", a->channel_fd);
	add(l, "-device", "virtserialport,chardev=channel,name=%s", QEMU_CHANNEL_NAME);
}

static void add_devices(const struct qemu_args *a, struct strv *l)
{
	const struct vm_config *c = a->config;

	for (size_t i = 0; i < c->n_disks; i++) {
		const struct vm_disk *d = &c->disks[i];
		auto_free char *path = escape(d->path);
		auto_free char *serial = escape(d->serial);

		add(l, "-drive", "id=d%zu,if=none,format=raw,file.driver=file,file.filename=%s%s",
		    i, path, d->read_only ? ",readonly=on" : "");
		add(l, "-device", "virtio-blk-device,drive=d%zu,serial=%s", i, serial);
	}
	add(l, "-device", "virtio-rng-device");
	if (!c->has_net)
		return;
	add(l, "-netdev", "tap,id=n0,fd=%d", a->tap_fd);
	add(l, "-device", "virtio-net-device,netdev=n0,mac=%s", VM_GUEST_MAC);
}

static void add_boot(const struct qemu_args *a, struct strv *l)
{
	const struct vm_config *c = a->config;
	auto_buf struct buf cmdline = BUF_INIT(ARG_MAX_LEN);

	buf_add_str(&cmdline, "console=ttyS0 reboot=t panic=-1 quiet loglevel=3 mitigations=off "
			      "audit=0 apparmor=0 nokaslr no_timer_check 8250.nr_uarts=1");
	if (c->accel == VM_ACCEL_TCG)
		buf_addf(&cmdline, " tsc_early_khz=%llu tsc=reliable",
			 (unsigned long long)a->tsc_khz);
	buf_addf(&cmdline, " fcvm.fstype=%s", c->root_fstype);
	if (*c->cmdline_extra)
		buf_addf(&cmdline, " %s", c->cmdline_extra);
	add(l, "-kernel", "%s", c->kernel);
	add(l, "-initrd", "%s", c->initrd);
	add(l, "-append", "%s", buf_str(&cmdline));
}

void qemu_args_build(const struct qemu_args *a, struct strv *ret)
{
	add_machine(a, ret);
	add_channels(a, ret);
	add_devices(a, ret);
	if (a->incoming)
		add(ret, "-incoming", "defer");
	else
		add_boot(a, ret);
}
