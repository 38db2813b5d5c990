#include "view.h"

#include <string.h>

#include "buf.h"
#include "cleanup.h"
#include "xalloc.h"

#define CMDLINE_EXTRA_MAX 2048

struct health_spec view_health(const struct probe_spec *p)
{
	return (struct health_spec){
		.http = p->http,
		.tcp = p->tcp,
		.exec = p->exec,
		.interval_ms = p->interval_ms,
		.start_interval_ms = p->start_interval_ms,
		.timeout_ms = p->timeout_ms,
		.start_period_ms = p->start_period_ms,
		.retries = p->retries,
	};
}

struct hook *view_hooks(const struct hook_spec *hooks, size_t n)
{
	struct hook *ret = xcalloc(n ? n : 1, sizeof(*ret));

	for (size_t i = 0; i < n; i++)
		ret[i] = (struct hook){
			.container = hooks[i].container,
			.argv = hooks[i].argv,
			.timeout_ms = hooks[i].timeout_ms,
		};
	return ret;
}

/* The supervisor only reads it: borrowing needs no copy, the types want the qualifier gone. */
static char *borrow(const char *s)
{
	union {
		const char *from;
		char *to;
	} u = {.from = s};

	return u.to;
}

struct workload view_workload(const struct container_spec *c, const char *reference)
{
	return (struct workload){
		.name = c->name,
		.image = borrow(reference),
		.store_serial = borrow(VIEW_STORE_SERIAL),
		.entrypoint = c->entrypoint,
		.command = c->command,
		.environment = c->environment,
		.user = c->user,
		.workdir = c->workdir,
		.health = view_health(&c->health),
	};
}

const struct probe_spec *view_clone_probe(const struct fleet_spec *f)
{
	const struct baseline_spec *b = f->from->from;

	if (f->health.at.line)
		return &f->health;
	return b ? &b->container.health : NULL;
}

static void add_disk(struct vm_config *c, const char *path, const char *serial, bool read_only)
{
	struct vm_disk *d = &c->disks[c->n_disks++];

	d->path = xstrdup(path);
	snprintf(d->serial, sizeof(d->serial), "%s", serial);
	d->read_only = read_only;
}

void view_config(const struct resource_choice *choice, const struct baseline_spec *b,
		 const struct kernel_have *kernel, const struct rootfs_have *rootfs,
		 const char *store, struct vm_config *ret)
{
	auto_buf struct buf args = BUF_INIT(CMDLINE_EXTRA_MAX);

	for (size_t i = 0; i < b->kernel->args.n; i++)
		buf_addf(&args, "%s%s", i ? " " : "", b->kernel->args.v[i]);
	*ret = (struct vm_config){
		.kernel = xstrdup(kernel->vmlinux),
		.initrd = xstrdup(kernel->initrd),
		.cmdline_extra = xstrdup(buf_str(&args)),
		.root_fstype = xstrdup(rootfs->fstype),
		.cpus = b->cpus,
		.memory_bytes = b->memory_bytes,
		.data_bytes = b->rootfs->size_bytes,
		.has_net = !choice->no_nic,
		.shared_dev = strcmp(b->sandbox, "none") == 0,
		.huge_pages = b->huge_pages == HUGE_PAGES_2M,
		.jailer = strcmp(b->sandbox, "jailer") == 0,
		.accel = choice->tcg ? VM_ACCEL_TCG : VM_ACCEL_KVM,
	};
	add_disk(ret, rootfs->image, "root", true);
	add_disk(ret, store, VIEW_STORE_SERIAL, true);
	add_disk(ret, VM_DATA_DISK, "data", false);
}

void view_describe_probe(const struct probe_spec *p, const char *entry, enum change target,
			 enum change rest, struct field_list *ret)
{
	if (!p->http && !p->tcp && p->exec.n == 0)
		return;
	field_list_add(ret, entry, "healthcheck.http", target, p->at, p->http);
	field_list_add(ret, entry, "healthcheck.tcp", target, p->at, p->tcp);
	field_list_add_strv(ret, entry, "healthcheck.exec", target, p->at, &p->exec);
	field_list_add_ms(ret, entry, "healthcheck.interval", rest, p->at, p->interval_ms);
	field_list_add_ms(ret, entry, "healthcheck.start_interval", rest, p->at,
			  p->start_interval_ms);
	field_list_add_ms(ret, entry, "healthcheck.timeout", rest, p->at, p->timeout_ms);
	field_list_add_ms(ret, entry, "healthcheck.start_period", rest, p->at, p->start_period_ms);
	field_list_add_u64(ret, entry, "healthcheck.retries", rest, p->at, p->retries);
}

void view_describe_hooks(const struct hook_spec *hooks, size_t n, const char *entry,
			 const char *leaf, enum change change, struct field_list *ret)
{
	for (size_t i = 0; i < n; i++) {
		auto_free char *name = xasprintf("%s[%zu]", leaf, i);
		struct strv all = {0};

		if (hooks[i].container)
			strv_addf(&all, "container=%s", hooks[i].container);
		auto_free char *timeout = field_list_ms(hooks[i].timeout_ms);
		strv_addf(&all, "timeout=%s", timeout);
		strv_add_all(&all, &hooks[i].argv);
		field_list_add_strv(ret, entry, name, change, hooks[i].at, &all);
		strv_free(&all);
	}
}
