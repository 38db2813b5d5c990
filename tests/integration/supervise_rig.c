#include "supervise_rig.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "json.h"
#include "ledger.h"
#include "memserver.h"
#include "parse.h"
#include "run.h"
#include "xalloc.h"

#define CALL_MS 20000
#define MEMORY (UINT64_C(16) << 20)

static const struct engine {
	const char *name, *env, *program;
	enum vm_accel accel;
} engines[] = {
	{"qemu", "FCVM_QEMU", TEST_BUILD_DIR "/tests/fake_qemu", VM_ACCEL_TCG},
	{"firecracker", "FCVM_FIRECRACKER", TEST_BUILD_DIR "/tests/fake_firecracker", VM_ACCEL_KVM},
};
static const struct engine *engine = &engines[0];
static char *fake_vmm; /* what our host says it is */

/* Of the running test; a failed assertion leaves it to clean_up(). */
static struct {
	char *data, *memserver;
} live;

static void clean_up(void);
TestSuite(supervise, .fini = clean_up);
TestSuite(supervise_firecracker, .fini = clean_up);
TestSuite(supervise_clones, .fini = clean_up);
TestSuite(supervise_clones_firecracker, .fini = clean_up);
TestSuite(supervise_net, .fini = clean_up);
TestSuite(supervise_snapshot, .fini = clean_up);
TestSuite(supervise_snapshot_firecracker, .fini = clean_up);
TestSuite(supervise_start, .fini = clean_up);
TestSuite(supervise_volumes, .fini = clean_up);

static const char *rig_getenv(const char *name)
{
	return strcmp(name, engine->env) == 0 ? fake_vmm : getenv(name);
}

void rig_use(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++)
		if (strcmp(engines[i].name, name) == 0)
			engine = &engines[i];
	/* The engine itself measures KVM, whoever runs below it. */
	if (engine->accel == VM_ACCEL_KVM && access("/dev/kvm", R_OK | W_OK) < 0)
		cr_skip("no /dev/kvm");
}

const char *rig_says(const char *qemu, const char *firecracker)
{
	return engine == &engines[0] ? qemu : firecracker;
}

static char *write_file(const struct rig *r, const char *name, const char *text)
{
	char *path = path_join(r->data, name);
	struct err err = {0};

	cr_assert_geq(file_replace(path, text, strlen(text), 0644, &err), 0, "%s", err.msg);
	return path;
}

static void copy_program(const char *from, const char *to)
{
	auto_buf struct buf bytes = BUF_INIT(64u << 20);
	struct err err = {0};

	cr_assert_geq(file_read(from, bytes.max - 1, &bytes, &err), 0, "%s", err.msg);
	cr_assert_geq(file_replace(to, bytes.data, bytes.len, 0755, &err), 0, "%s", err.msg);
}

static void make_config(struct rig *r, const char *script)
{
	struct vm_config *c = &r->config;

	c->kernel = write_file(r, "kernel", "kernel");
	c->initrd = write_file(r, "initrd", "initrd");
	c->cmdline_extra = xstrdup(script);
	c->root_fstype = xstrdup("squashfs");
	c->cpus = 1;
	c->memory_bytes = MEMORY;
	c->data_bytes = UINT64_C(16) << 20;
	c->accel = engine->accel;
	c->n_disks = 2;
	c->disks[0] = (struct vm_disk){
		.path = write_file(r, "root.img", "root"), .serial = "root", .read_only = true};
	c->disks[1] = (struct vm_disk){.path = xstrdup(VM_DATA_DISK), .serial = "data"};
}

static void make_workload(struct rig *r)
{
	struct workload *w = &r->workload;

	w->name = xstrdup("main");
	w->image = xstrdup("localhost/hello");
	strv_add(&w->command, "serve");
	w->health = (struct health_spec){.tcp = xstrdup(":80"),
					 .interval_ms = 10000,
					 .start_interval_ms = 250,
					 .timeout_ms = 5000,
					 .retries = 3};
}

char *rig_instance(struct rig *r, const char *name)
{
	char *dir = path_join(r->data, name);
	struct err err = {0};

	cr_assert_geq(file_mkdir_p(dir, 0711, &err), 0, "%s", err.msg);
	cr_assert_eq(chmod(dir, 0711), 0);
	return dir;
}

void rig_make(struct rig *r, const char *script)
{
	struct err err = {0};

	*r = (struct rig){.data = tmpdir_new("super")};
	live.data = xstrdup(r->data);
	cr_assert_eq(chmod(r->data, 0711), 0);
	cr_assert_geq(host_init(&r->host, r->data, &err), 0, "%s", err.msg);
	cr_assert_geq(host_make_dirs(&r->host, &err), 0, "%s", err.msg);
	r->vmm = path_join(r->data, "vmm");
	copy_program(engine->program, r->vmm);
	fake_vmm = r->vmm;
	r->host.getenv = rig_getenv;
	free(r->host.exe);
	r->host.exe = realpath(run_fcvm_path(), NULL);
	cr_assert(r->host.exe, "no '%s'", run_fcvm_path());
	r->dir = rig_instance(r, "vm-1");
	make_config(r, script);
	make_workload(r);
}

void rig_script(const struct rig *r, const char *words)
{
	free(write_file(r, "vmm.script", words));
}

/* Every supervisor of ours, whichever way the test ended. */
static void stop_all(const char *data)
{
	auto_closedir DIR *dir = opendir(data);
	struct dirent *e = NULL;

	while (dir && (e = readdir(dir))) {
		auto_free char *path = path_join(data, e->d_name);
		struct supervisor_call call = rig_call(path, 5000);

		if (e->d_name[0] != '.')
			(void)supervisor_stop(&call, 0, NULL);
	}
}

static void clean_up(void)
{
	if (!live.data)
		return;
	stop_all(live.data);
	if (live.memserver)
		(void)memserver_stop(live.memserver, true, deadline_in(5000), NULL);
	cleanup_free_p(&live.memserver);
	tmpdir_remove(&live.data);
}

void rig_free(struct rig *r)
{
	clean_up();
	free(r->memserver);
	vm_config_free(&r->config);
	workload_free(&r->workload);
	host_free(&r->host);
	free(r->data);
	free(r->vmm);
	free(r->dir);
}

struct supervisor_call rig_call(const char *dir, uint64_t ms)
{
	return (struct supervisor_call){.dir = dir, .deadline_ms = deadline_in(ms)};
}

void rig_spawn(struct rig *r, const char *dir)
{
	struct supervisor_spec spec = {
		.dir = dir, .tag = "test/vm/one", .engine = engine->name, .vm_id = "the-vm-id"};
	struct err err = {0};

	cr_assert_geq(supervisor_spawn(&r->host, &spec, &r->supervisor, &err), 0, "%s", err.msg);
}

void rig_boot(struct rig *r)
{
	struct supervisor_call call = rig_call(r->dir, CALL_MS);
	const struct vm_identity id = {.hostname = "one", .metadata = "{\"n\":1}"};
	struct err err = {0};

	rig_spawn(r, r->dir);
	cr_assert_geq(supervisor_start(&call, &r->config, &r->workload, &id, NULL, NULL, &err), 0,
		      "%s", err.msg);
	cr_assert_geq(supervisor_wait(&call, UNTIL_HEALTHY, &err), 0, "%s", err.msg);
}

const char *rig_status(const char *dir, const char *key)
{
	static char text[4096];
	auto_free char *path = path_join(dir, SUPERVISE_STATUS);
	auto_json struct json_object *o = NULL;
	struct json_object *v = NULL;

	text[0] = '\0';
	if (json_load(path, &o, NULL) >= 0 && json_object_object_get_ex(o, key, &v))
		(void)snprintf(text, sizeof(text), "%s", v ? json_object_get_string(v) : "null");
	return text;
}

void rig_await(const char *dir, const char *key, const char *want)
{
	uint64_t deadline_ms = deadline_in(30000);

	while (strcmp(rig_status(dir, key), want) != 0 && now_ms() < deadline_ms)
		(void)usleep(2000);
	cr_assert_str_eq(rig_status(dir, key), want);
}

pid_t rig_vmm_of(const char *dir)
{
	uint64_t pid = 0;

	cr_assert_geq(parse_u64(rig_status(dir, "pid"), 1, INT32_MAX, &pid, NULL), 0);
	return (pid_t)pid;
}

void rig_await_gone(pid_t pid)
{
	uint64_t deadline_ms = deadline_in(10000);

	while (kill(pid, 0) == 0 && now_ms() < deadline_ms)
		(void)usleep(2000);
	cr_assert_neq(kill(pid, 0), 0, "process %d is still there", (int)pid);
}

int rig_exec(const char *dir, const char *words, const char *input, struct buf *out)
{
	auto_tmpdir char *tmp = tmpdir_new("exec");
	auto_free char *in_path = path_join(tmp, "in"), *out_path = path_join(tmp, "out");
	auto_strv struct strv argv = {0};
	struct exec_result result = {0};
	struct err err = {0};

	cr_assert_geq(parse_words(words, &argv, &err), 0);
	cr_assert_geq(
		file_replace(in_path, input ? input : "", input ? strlen(input) : 0, 0600, &err),
		0);
	auto_close int in = open(in_path, O_RDONLY | O_CLOEXEC);
	auto_close int fd = open(out_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	auto_close int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct exec_request req = {.instance_dir = dir,
				   .argv = &argv,
				   .interactive = input != NULL,
				   .in = in,
				   .out = fd,
				   .err = null};
	int r = exec_session_run(&req, &result, &err);

	if (r < 0)
		return r;
	cr_assert_geq(file_read(out_path, out->max - 1, out, &err), 0);
	return result.code;
}

char *rig_snapshot(struct rig *r, bool keep_running, struct json_object **ret_manifest)
{
	char *dir = rig_instance(r, keep_running ? "snap-keep" : "snap");
	struct supervisor_call call = rig_call(r->dir, CALL_MS);
	struct snapshot_request req = {
		.dir = dir, .keep_running = keep_running, .gid = LEDGER_UID_FIRST};
	struct err err = {0};

	cr_assert_geq(supervisor_snapshot(&call, &req, ret_manifest, &err), 0, "%s", err.msg);
	cr_assert_eq(chown(dir, 0, req.gid), 0);
	cr_assert_eq(chmod(dir, 0750), 0);
	return dir;
}

struct proc_id rig_memserver(struct rig *r, const char *snapshot)
{
	auto_free char *dir = rig_instance(r, "memserver"), *memory = path_join(snapshot, "memory");
	const struct memserver_spec spec = {.dir = dir,
					    .memory = memory,
					    .tag = "test/memserver/one",
					    .uid = LEDGER_UID_FIRST + 999,
					    .gid = LEDGER_UID_FIRST,
					    .deadline_ms = deadline_in(memserver_start_ms(0))};
	struct proc_id id = {0};
	struct err err = {0};

	cr_assert_geq(memserver_spawn(&r->host, &spec, &id, &err), 0, "%s", err.msg);
	r->memserver = path_join(dir, "server.sock");
	live.memserver = xstrdup(r->memserver);
	return id;
}

int rig_restore(struct rig *r, const char *snapshot, const char *dir, const char *restart,
		struct json_object **ret_status, struct err *err)
{
	struct supervisor_call call = rig_call(dir, CALL_MS);
	struct restore_request req = {.snapshot_dir = snapshot,
				      .backend = r->memserver ? "uffd" : "file",
				      .memserver = r->memserver,
				      .identity = {.hostname = "clone", .metadata = "{\"n\":2}"},
				      .restart = restart,
				      .gid = LEDGER_UID_FIRST};

	rig_spawn(r, dir);
	return supervisor_restore(&call, &req, ret_status, err);
}
