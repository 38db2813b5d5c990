#include "commands.h"

#include "cleanup.h"
#include "doctor.h"
#include "file.h"
#include "hugepages.h"
#include "json.h"
#include "memserver.h"
#include "parse.h"
#include "proc.h"
#include "storage.h"
#include "vmgroup.h"
#include "xalloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FREE_WANTED (4ull << 30) /* one kernel, one root, one image, a few VMs */

static void finding_free(struct finding *f)
{
	buf_free(&f->value);
	buf_free(&f->hint);
}
#define auto_finding __attribute__((cleanup(finding_free)))

struct check {
	const char *name;
	bool required; /* without it nothing runs: exit 4 */
	void (*look)(const struct examined *e, const char *name, struct finding *f);
};

static void check_qemu(const struct examined *e, const char *name, struct finding *f)
{
	(void)name;
	f->ok = !e->qemu_err.code;
	if (f->ok) {
		buf_addf(&f->value, "%s, %s", e->qemu.version, e->qemu.binary);
		return;
	}
	buf_add_str(&f->value, e->qemu_err.msg);
	buf_add_str(&f->hint, e->qemu_err.hint[0]
				      ? e->qemu_err.hint
				      : "apt install qemu-system-x86, or set FCVM_QEMU");
}

/* Wanted for production only: without it QEMU runs everything. */
static void check_firecracker(const struct examined *e, const char *name, struct finding *f)
{
	(void)name;
	f->ok = !e->firecracker_err.code;
	if (f->ok) {
		buf_addf(&f->value, "%s, %s; %s", e->firecracker.version, e->firecracker.binary,
			 e->firecracker.why);
		return;
	}
	buf_add_str(&f->value, e->firecracker_err.msg);
	buf_add_str(&f->hint,
		    e->firecracker_err.hint[0] ? e->firecracker_err.hint : "qemu is used instead");
}

/* Wanted for `sandbox: jailer` only. */
static void check_jailer(const struct examined *e, const char *name, struct finding *f)
{
	(void)name;
	f->ok = e->firecracker.jailer[0] != '\0';
	buf_add_str(&f->value, f->ok                     ? e->firecracker.jailer
			       : e->firecracker_err.code ? "not looked for: no firecracker"
							 : e->firecracker.jailer_why);
	if (!f->ok)
		buf_add_str(&f->hint, "only 'sandbox: jailer' needs it: as root, beside "
				      "firecracker, on PATH, or named in FCVM_JAILER");
}

static void check_kvm(const struct examined *e, const char *name, struct finding *f)
{
	(void)name;
	if (e->qemu_err.code) {
		buf_add_str(&f->value, "not measured: no qemu");
		buf_add_str(&f->hint, "install qemu first");
		return;
	}
	f->ok = e->qemu.accel == VM_ACCEL_KVM;
	buf_add_str(&f->value, e->qemu.why);
	if (!f->ok)
		buf_add_str(&f->hint, "tcg is used instead: development and trusted guests only");
}

static void check_uffd(const struct examined *e, const char *name, struct finding *f)
{
	char why[256] = "";

	(void)e;
	(void)name;
	f->ok = memserver_uffd_permitted(why, sizeof(why));
	buf_add_str(&f->value, f->ok ? "permitted" : why);
	if (!f->ok)
		buf_add_str(&f->hint, "snapshots use 'backend: file' instead");
}

/* Wanted for `huge_pages: 2M` only. */
static void check_hugepages(const struct examined *e, const char *name, struct finding *f)
{
	struct hugepages pool = {0};
	struct err err = {0};

	(void)e;
	(void)name;
	if (hugepages_read(HUGEPAGES_DIR, &pool, &err) < 0) {
		buf_add_str(&f->value, err.msg);
		return;
	}
	f->ok = pool.total > 0;
	buf_addf(&f->value, "%llu of 2 MiB, %llu free", (unsigned long long)pool.total,
		 (unsigned long long)pool.free);
	if (!f->ok)
		buf_add_str(&f->hint, "only 'huge_pages: 2M' needs them: sysctl vm.nr_hugepages=N, "
				      "N times 2 MiB for all such VMs together");
}

static void check_reflink(const struct examined *e, const char *name, struct finding *f)
{
	(void)name;
	f->ok = storage_can_reflink(e->dir);
	buf_addf(&f->value, "%s by %s", f->ok ? "offered" : "not offered", e->dir);
	if (!f->ok)
		buf_add_str(&f->hint, "put the data directory on btrfs or xfs to clone disks "
				      "without copying; 'sudo make setup-btrfs' does it");
}

void doctor_tool(const struct examined *e, const char *name, struct finding *f)
{
	auto_free char *path = proc_find(name, e->host->getenv("PATH"));

	f->ok = path != NULL;
	if (path) {
		buf_add_str(&f->value, path);
		return;
	}
	buf_add_str(&f->value, "not found");
	/* The one tool whose package has another name. */
	buf_addf(&f->hint, "apt install %s",
		 strcmp(name, "mksquashfs") != 0 ? name : "squashfs-tools");
}

/* Wanted for the limits of `sandbox: jailer` only. */
static void check_cgroup(const struct examined *e, const char *name, struct finding *f)
{
	auto_free char *mount = vmgroup_mount();
	char missing[64];

	(void)e;
	(void)name;
	vmgroup_missing(mount, missing, sizeof(missing));
	f->ok = *missing == '\0';
	buf_add_str(&f->value, mount ? mount : "not mounted, or not writable");
	if (f->ok)
		return;
	if (mount)
		buf_addf(&f->value, " without %s", missing);
	buf_add_str(&f->hint, "without cgroup v2 and its controllers limits do not apply");
}

static void check_disk(const struct examined *e, const char *name, struct finding *f)
{
	char free_text[32], wanted[32];
	struct err err = {0};
	uint64_t bytes = 0;

	(void)name;
	if (storage_free_bytes(e->dir, &bytes, &err) < 0) {
		buf_add_str(&f->value, err.msg);
		buf_add_str(&f->hint, "choose another place with --data-dir");
		return;
	}
	f->ok = bytes >= FREE_WANTED;
	buf_addf(&f->value, "%s free in %s", format_size(bytes, free_text, sizeof(free_text)),
		 e->dir);
	if (!f->ok)
		buf_addf(&f->hint, "free some, or choose another place with --data-dir: %s wanted",
			 format_size(FREE_WANTED, wanted, sizeof(wanted)));
}

static const struct check checks[] = {
	{"qemu", true, check_qemu},
	{"firecracker", false, check_firecracker},
	{"jailer", false, check_jailer},
	{"kvm", false, check_kvm},
	{"userfaultfd", false, check_uffd},
	{"hugepages", false, check_hugepages},
	{"reflink", false, check_reflink},
	{"mmdebstrap", true, doctor_tool},
	{"skopeo", true, doctor_tool},
	{"mksquashfs", true, doctor_tool},
	{"cgroup2", false, check_cgroup},
	{"disk", true, check_disk},
	{"tun", false, doctor_tun},
	{"userns", false, doctor_userns},
	{"slirp4netns", false, doctor_tool},
	{"nftables", false, doctor_nftables},
	{"forwarding", false, doctor_forwarding},
	{"forward-drop", false, doctor_forward_drop},
	{"ports", false, doctor_ports},
};

/* The directory itself may not exist before the first apply: looking must not make it. */
static char *nearest_existing(const char *dir)
{
	char *path = xstrdup(dir);

	while (!file_exists(path) && strrchr(path, '/') != path)
		*strrchr(path, '/') = '\0';
	if (!file_exists(path))
		path[1] = '\0';
	return path;
}

static void add_text(const struct check *c, const struct finding *f, struct buf *out)
{
	buf_addf(out, "%-5s %-12s %s\n",
		 f->ok         ? "ok"
		 : c->required ? "FAIL"
			       : "note",
		 c->name, buf_str(&f->value));
	if (f->hint.len)
		buf_addf(out, "%18s hint: %s\n", "", f->hint.data);
}

static void add_json(const struct check *c, const struct finding *f, struct json_object *arr)
{
	struct json_object *o = json_object_new_object();

	json_add_str(o, "check", c->name);
	json_add_bool(o, "ok", f->ok);
	json_add_str(o, "value", buf_str(&f->value));
	json_add_str(o, "hint", f->hint.len ? f->hint.data : NULL);
	json_object_array_add(arr, o);
}

/* Both forms in one go; the number of required checks that failed. */
static size_t examine(const struct examined *e, struct buf *text, struct json_object *arr)
{
	size_t failed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		auto_finding struct finding f = {false, BUF_INIT(2048), BUF_INIT(2048)};

		checks[i].look(e, checks[i].name, &f);
		add_text(&checks[i], &f, text);
		add_json(&checks[i], &f, arr);
		failed += checks[i].required && !f.ok;
	}
	return failed;
}

int cmd_doctor(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	const char *format = "text";
	bool json = false, help = false;
	const struct opt opts[] = {
		{0, "format", OPT_CHOICE, &format, "FORMAT",
		 "text, or json: one array of {check, ok, value, hint}", "text|json", 0, 0},
		{0, "json", OPT_FLAG, &json, NULL, "the same as --format json", NULL, 0, 0},
	};
	const struct command_args how = {opts, ARRAY_SIZE(opts), .max_args = 1};
	auto_buf struct buf out = BUF_INIT(SIZE_MAX);
	auto_json struct json_object *arr = json_object_new_array();
	auto_strv struct strv args = {0};
	struct examined e = {.host = ctx->host};
	int r = command_parse(ctx, &how, argc, argv, &args, NULL, &help, err);

	(void)ret_exit;
	if (r < 0 || help)
		return r;
	if (args.n)
		return err_set(err, ERR_SPEC, -ENOTSUP,
			       "a look at one set ('%s') is not available in this version",
			       args.v[0]);
	(void)engine_by_name("qemu")->probe(ctx->host, &e.qemu, &e.qemu_err);
	(void)engine_by_name("firecracker")->probe(ctx->host, &e.firecracker, &e.firecracker_err);
	auto_free char *dir = nearest_existing(ctx->host->data_dir);
	e.dir = dir;
	size_t failed = examine(&e, &out, arr);
	if (json || strcmp(format, "json") == 0) {
		auto_free char *line = json_line(arr);
		buf_reset(&out);
		buf_addf(&out, "%s\n", line);
	}
	r = command_print(&out, err);
	if (r >= 0 && failed)
		return err_set(err, ERR_HOST, -ENOTSUP,
			       "%zu of %zu checks failed: this host cannot run virtual machines",
			       failed, ARRAY_SIZE(checks));
	return r;
}
