#include "apply_rig.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "digest.h"
#include "file.h"
#include "io.h"
#include "xalloc.h"

#define RUN_MS 120000
#define WORDS_MAX 16

static struct run_result last = RUN_INIT;
static const char *engine = "qemu";
/* Of the running test; a failed assertion leaves it to apply_rig_cleanup(). */
static struct apply_rig live;

static void write_bytes(const char *dir, const char *name, const void *data, size_t len,
			mode_t mode)
{
	auto_free char *path = path_join(dir, name);
	struct err err = {0};

	cr_assert_geq(file_replace(path, data, len, mode, &err), 0, "%s", err.msg);
}

/* The least that passes for a kernel: something to load and a PVH entry. */
static void write_kernel(const char *dir)
{
	struct {
		Elf64_Ehdr head;
		Elf64_Phdr segments[2];
		Elf64_Nhdr note;
		char name[4];
		uint32_t entry;
	} k = {0};

	memcpy(k.head.e_ident, ELFMAG, SELFMAG);
	k.head.e_ident[EI_CLASS] = ELFCLASS64;
	k.head.e_ident[EI_DATA] = ELFDATA2LSB;
	k.head.e_ident[EI_VERSION] = EV_CURRENT;
	k.head.e_type = ET_EXEC;
	k.head.e_machine = EM_X86_64;
	k.head.e_version = EV_CURRENT;
	k.head.e_phoff = sizeof(k.head);
	k.head.e_ehsize = sizeof(k.head);
	k.head.e_phentsize = sizeof(k.segments[0]);
	k.head.e_phnum = 2;
	k.segments[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_filesz = 64, .p_memsz = 64};
	k.segments[1] = (Elf64_Phdr){.p_type = PT_NOTE,
				     .p_offset = sizeof(k.head) + sizeof(k.segments),
				     .p_filesz = sizeof(k.note) + 8};
	k.note = (Elf64_Nhdr){.n_namesz = 4, .n_descsz = 4, .n_type = 18};
	memcpy(k.name, "Xen", 4);
	k.entry = 0x100000;
	write_bytes(dir, "vmlinux", &k, sizeof(k), 0644);
}

static void write_rootfs(const char *dir)
{
	auto_free char *tree = path_join(dir, "root"), *image = path_join(dir, "root.sqfs");
	const char *const argv[] = {"mksquashfs", tree, image, "-quiet", "-no-progress", NULL};
	struct run_result r = RUN_INIT;

	cr_assert_eq(mkdir(tree, 0755), 0);
	run_argv(&r, argv, NULL, NULL, RUN_MS);
	cr_assert_eq(r.status, 0, "mksquashfs: %s", buf_str(&r.err));
	run_free(&r);
}

static char *blob(const char *dir, const void *data, size_t len)
{
	char hex[DIGEST_HEX_SIZE];

	digest_of(data, len, hex);
	write_bytes(dir, hex, data, len, 0644);
	return xstrdup(hex);
}

/* An image with one empty layer, as skopeo's dir: keeps it. */
static void write_image(const char *dir)
{
	static const char version[] = "Directory Transport Version: 1.1\n";
	static const char layer[1024];
	auto_free char *image = path_join(dir, "image");

	cr_assert_eq(mkdir(image, 0755), 0);
	auto_free char *layer_hex = blob(image, layer, sizeof(layer));
	auto_free char *config = xasprintf(
		"{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"/serve\"]},"
		"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:%s\"]}}",
		layer_hex);
	auto_free char *config_hex = blob(image, config, strlen(config));
	auto_free char *manifest = xasprintf(
		"{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
		"\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\","
		"\"digest\":\"sha256:%s\",\"size\":%zu},"
		"\"layers\":[{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\","
		"\"digest\":\"sha256:%s\",\"size\":%zu}]}",
		config_hex, strlen(config), layer_hex, sizeof(layer));
	write_bytes(image, "manifest.json", manifest, strlen(manifest), 0644);
	write_bytes(image, "version", version, strlen(version), 0644);
}

static void copy_program(const char *from, const char *to)
{
	auto_buf struct buf bytes = BUF_INIT(64u << 20);
	struct err err = {0};

	cr_assert_geq(file_read(from, bytes.max - 1, &bytes, &err), 0, "%s", err.msg);
	cr_assert_geq(file_replace(to, bytes.data, bytes.len, 0755, &err), 0, "%s", err.msg);
}

void apply_rig_spec(struct apply_rig *r, unsigned memory_mib, unsigned count, const char *more)
{
	auto_free char *text =
		xasprintf("apiVersion: fcvm/v1\nname: %s\n"
			  "kernels: { default: { path: ./vmlinux } }\n"
			  "rootfs: { debian: { path: ./root.sqfs, size: 64MiB } }\n"
			  "baselines:\n  web:\n    image: \"dir:./image\"\n    memory: %uMiB\n"
			  "    network: none\n"
			  "    healthcheck: { tcp: \":80\" }\n"
			  "fleets:\n  web:\n    from: web\n    count: %u\n%s",
			  r->name, memory_mib, count, more ? more : "");

	write_bytes(r->dir, "fleet.yaml", text, strlen(text), 0644);
}

void apply_rig_use(const char *name)
{
	engine = name;
	/* The engine itself measures KVM, whoever runs below it. */
	if (strcmp(name, "firecracker") == 0 && access("/dev/kvm", R_OK | W_OK) < 0)
		cr_skip("no /dev/kvm");
}

void apply_rig_script(const struct apply_rig *r, const char *words)
{
	write_bytes(r->dir, "qemu.script", words, strlen(words), 0644);
	write_bytes(r->dir, "firecracker.script", words, strlen(words), 0644);
}

bool apply_rig_make(struct apply_rig *r, unsigned count, bool hooks)
{
	const char *fcvm = hooks ? TEST_BUILD_DIR "/hooks/fcvm" : run_fcvm_path();

	*r = (struct apply_rig){.fcvm = realpath(fcvm, NULL)};
	if (!r->fcvm)
		return false;
	r->dir = tmpdir_new("apply");
	r->name = xasprintf("t%d", (int)getpid());
	r->data = path_join(r->dir, "data");
	r->spec = path_join(r->dir, "fleet.yaml");
	cr_assert_eq(chmod(r->dir, 0711), 0);
	auto_free char *qemu = path_join(r->dir, "qemu");
	auto_free char *firecracker = path_join(r->dir, "firecracker");
	copy_program(TEST_BUILD_DIR "/tests/fake_qemu", qemu);
	copy_program(TEST_BUILD_DIR "/tests/fake_firecracker", firecracker);
	write_kernel(r->dir);
	write_rootfs(r->dir);
	write_image(r->dir);
	apply_rig_spec(r, 64, count, NULL);
	live = *r;
	return true;
}

void apply_rig_as(struct apply_rig *r, const struct user *u)
{
	auto_free char *fcvm = r->fcvm;

	/* A copy: the tree may lie where only its owner may look. */
	r->fcvm = path_join(r->dir, "fcvm");
	copy_program(fcvm, r->fcvm);
	free(r->data);
	r->data = path_join(u->home, "data");
	r->user = u;
	live = *r;
}

const struct run_result *apply_rig_run(struct apply_rig *r, int status, ...)
{
	auto_free char *qemu = xasprintf("FCVM_QEMU=%s/qemu", r->dir);
	auto_free char *firecracker = xasprintf("FCVM_FIRECRACKER=%s/firecracker", r->dir);
	auto_free char *wish = xasprintf("FCVM_ENGINE=%s", engine);
	const char *const env[] = {qemu, firecracker, wish, r->kill_at, NULL};
	const char *argv[WORDS_MAX + 4] = {r->fcvm, "--data-dir", r->data};
	size_t n = 3;
	va_list ap;

	va_start(ap, status);
	for (const char *word; n < WORDS_MAX && (word = va_arg(ap, const char *));)
		argv[n++] = word;
	va_end(ap);
	run_free(&last);
	last = (struct run_result)RUN_INIT;
	if (r->user)
		user_run(r->user, &last, argv, env, RUN_MS);
	else
		run_argv(&last, argv, env, NULL, RUN_MS);
	if (status >= 0)
		cr_assert_eq(last.status, status, "%s gave %d, not %d:\n%s%s", argv[3], last.status,
			     status, buf_str(&last.out), buf_str(&last.err));
	return &last;
}

struct json_object *apply_rig_ps(struct apply_rig *r)
{
	return run_json(apply_rig_run(r, 0, "ps", "--json", NULL));
}

size_t apply_rig_count(struct apply_rig *r, const char *kind, const char *state)
{
	auto_json struct json_object *rows = apply_rig_ps(r);
	size_t n = 0;

	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		n += strcmp(json_opt_str(row, "kind", ""), kind) == 0 &&
		     strcmp(json_opt_str(row, "state", ""), state) == 0;
	}
	return n;
}

static struct json_object *find_row(struct json_object *rows, const char *set, const char *name)
{
	auto_free char *full = xasprintf("%s.%s", set, name);

	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		if (strcmp(json_opt_str(row, "name", ""), full) == 0)
			return row;
	}
	cr_assert(false, "ps shows no '%s'", full);
	return NULL;
}

uint64_t apply_rig_number(struct apply_rig *r, const char *name, const char *key)
{
	auto_json struct json_object *rows = apply_rig_ps(r);

	return json_opt_u64(find_row(rows, r->name, name), key, 0);
}

const char *apply_rig_text(struct apply_rig *r, const char *name, const char *key)
{
	static char text[512];
	auto_json struct json_object *rows = apply_rig_ps(r);

	(void)snprintf(text, sizeof(text), "%s",
		       json_opt_str(find_row(rows, r->name, name), key, "null"));
	return text;
}

void apply_rig_await_state(struct apply_rig *r, const char *name, const char *state)
{
	const uint64_t deadline_ms = deadline_in(20000);

	while (strcmp(apply_rig_text(r, name, "state"), state) != 0 && now_ms() < deadline_ms)
		(void)usleep(5000);
	cr_assert_str_eq(apply_rig_text(r, name, "state"), state);
}

/* Processes whose arguments name the data directory: VMMs have it in none, but die with their
 * supervisor. */
static size_t count_processes(const char *word)
{
	auto_closedir DIR *proc = opendir("/proc");
	size_t n = 0;

	for (struct dirent *e; proc && (e = readdir(proc));) {
		auto_free char *path = xasprintf("/proc/%s/cmdline", e->d_name);
		auto_close int fd = isdigit((unsigned char)e->d_name[0])
					    ? open(path, O_RDONLY | O_CLOEXEC)
					    : -1;
		char text[8192];
		ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text));

		n += len > 0 && memmem(text, (size_t)len, word, strlen(word)) != NULL;
	}
	return n;
}

void apply_rig_finish(struct apply_rig *r)
{
	auto_free char *sets = path_join(r->data, "sets");
	auto_closedir DIR *d = NULL;
	uint64_t deadline_ms = deadline_in(10000);

	apply_rig_run(r, 0, "destroy", r->spec, NULL);
	d = opendir(sets);
	for (struct dirent *e; d && (e = readdir(d));)
		cr_assert(e->d_name[0] == '.' && (!e->d_name[1] || e->d_name[1] == '.'),
			  "destroy left sets/%s", e->d_name);
	while (count_processes(r->dir) > 0 && now_ms() < deadline_ms)
		(void)usleep(5000);
	cr_assert_eq(count_processes(r->dir), 0, "destroy left processes");
	cr_assert_eq(numbers_held(r->data), 0, "destroy left uids or gids");
}

void apply_rig_cleanup(void)
{
	if (!live.dir)
		return;
	/* The test's own; they may be gone. */
	live.kill_at = NULL;
	live.user = NULL;
	apply_rig_free(&live);
}

void apply_rig_free(struct apply_rig *r)
{
	live = r == &live ? live : (struct apply_rig){0};
	if (r->data && r->spec) {
		(void)apply_rig_run(r, -1, "destroy", r->name, NULL);
		(void)apply_rig_run(r, -1, "destroy", "default", NULL);
	}
	run_free(&last);
	last = (struct run_result)RUN_INIT;
	tmpdir_remove(&r->dir);
	free(r->data);
	free(r->spec);
	free(r->fcvm);
	free(r->kill_at);
	free(r->name);
	*r = (struct apply_rig){0};
}
